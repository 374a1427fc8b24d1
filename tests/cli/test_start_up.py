"""What a start imports: what is not needed is not waited for, and takes no memory."""

import subprocess
import sys

from partitioner.cli import main
from tests.tables import each_case

HEAVY = {
    *("anyio", "asyncio", "h11", "http", "httpx", "jinja2", "prometheus_client", "pydantic"),
    *("rich", "ssl", "starlette", "structlog", "trio", "urllib.request", "yaml"),
}
"""What takes long to import."""

HTTP = {"h11", "httpx", "jinja2", "prometheus_client", "pydantic", "starlette", "yaml"}
"""What only a router needs, or an admin port."""

ALLOWED = {
    "partitioner.cli.actions.status": {"http", "pydantic", "rich", "ssl"},
    "partitioner.cli.actions.top": {"http", "pydantic", "rich", "ssl"},
    "partitioner.cli.actions.scripted": {"http", "pydantic", "ssl"},
    "partitioner.cli.actions.steer": {"http", "pydantic", "ssl"},
    "partitioner.cli.actions.roll": {"http", "pydantic", "ssl"},
    "partitioner.cli.actions.claim": {"http", "pydantic", "ssl"},
    "partitioner.cli.actions.farm": {"rich"},
    "partitioner.cli.actions.verify": {"http", "pydantic", "rich", "ssl"},
    "partitioner.cli.actions.session": {"http", "pydantic", "rich", "ssl"},
    "partitioner.cli.actions.sessions": {"http", "pydantic", "rich", "ssl"},
    "partitioner.cli.actions.state_server": HEAVY - HTTP,
}
"""What the verbs that have to start fast may import, by the module that does their work."""


def imported_by(statement: str) -> set[str]:
    """Which heavy packages are there after a statement, in a process of its own."""
    script = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return HEAVY.intersection(ended.stdout.split())


@each_case("verb", ["", *main.commands])
def test_help_imports_nothing_heavy(verb: str) -> None:
    """Of the program and of every verb."""
    arguments = ["partitioner", *([verb] if verb else []), "--help"]

    assert set() == imported_by(f"sys.argv = {arguments}; from partitioner.__main__ import run; run()")


@each_case("module", ALLOWED)
def test_a_verb_imports_what_it_needs(module: str) -> None:
    """And not what others need."""
    assert set() == imported_by(f"import {module}") - ALLOWED[module]


def test_signals_are_taken_care_of_before_anything_is_imported() -> None:
    """Not even the library of the command line is there yet."""
    script = "import sys, partitioner.__main__, partitioner.signals; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    ours = {name for name in ended.stdout.split() if name.startswith("partitioner")}

    assert {"partitioner", "partitioner.__main__", "partitioner.signals"} == ours
    assert "click" not in ended.stdout.split()


def test_to_import_the_status_page_compiles_no_template() -> None:
    """A router does so when it is built."""
    script = "import partitioner.ops.admin.page as page; print(page.template.cache_info().currsize)"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )

    assert "0" == ended.stdout.strip()
