"""What is done again and again, in the environment that has nox itself: `.venv/bin/nox -s fast`."""

import sys
from pathlib import Path

import nox

nox.options.sessions = ["fast", "lint", "types"]


@nox.session(python=False)
def fast(session: nox.Session) -> None:
    """The tests of every day. Further arguments go to pytest."""
    session.run(sys.executable, "-m", "pytest", *session.posargs)


@nox.session(python=False)
def full(session: nox.Session) -> None:
    """All tests, with those that take minutes or need a browser and a Prometheus; says what took longest."""
    session.run(sys.executable, "-m", "pytest", "-m", "", "--durations=25", *session.posargs)


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Style."""
    session.run(sys.executable, "-m", "ruff", "check", ".")
    session.run(sys.executable, "-m", "ruff", "format", "--check", ".")


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Types, strictly."""
    session.run(sys.executable, "-m", "mypy")


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """The papers: citations, links, command lines, configurations, lines of the log."""
    session.run(sys.executable, "-m", "pytest", "-n0", "tests/docs", *session.posargs)


@nox.session(python=False)
def dashboards(session: nox.Session) -> None:
    """Write grafana/dashboards and conf/metrics.md anew."""
    session.run(sys.executable, "-m", "tools.dashboards")
    with Path("conf/metrics.md").open("w", encoding="utf-8") as file:
        session.run(sys.executable, "-m", "partitioner.ops.metrics", stdout=file)
