"""The README is short, and what it promises is what CI does."""

import re

from partitioner.cli import main
from tests.docs.papers import ROOT, blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = blocks(README, "sh")


def test_it_has_at_most_150_lines() -> None:
    """Whatever is longer belongs into docs/."""
    assert len(README.splitlines()) <= 150


def test_two_commands_set_up_one_runs_and_one_tests() -> None:
    """From a bare clone, with Python and pip alone."""
    set_up, run, test = (block.splitlines() for block in SHELL[:3])

    assert ["python3 -m venv .venv", ".venv/bin/pip install -q -e '.[test]'"] == set_up
    assert ([".venv/bin/partitioner serve"], [".venv/bin/pytest"]) == (run, test)


def test_ci_runs_what_the_readme_says() -> None:
    """What a newcomer pastes is what guards every change: the full run adds the slow tier alone."""
    set_up, _, (test, *_) = (block.splitlines() for block in SHELL[:3])
    full = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")

    assert "\n".join([*set_up, f"{test} -m '' --durations=25"]) in full
    assert [*set_up, test, ".ci/run"] == [
        line for line in re.findall(r"- run: (.+)", workflow) if "nox" not in line
    ]


def test_contributors_set_up_in_the_same_way() -> None:
    """There is one set-up."""
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    assert SHELL[0] == blocks(contributing, "sh")[0]


def test_every_verb_is_listed() -> None:
    """The table of commands has a row for each, or for a few that belong together."""
    cells = re.findall(r"^\| (`partitioner .*?) \|", README, re.MULTILINE)
    listed = re.findall(r"`partitioner ([a-z-]+)", "\n".join(cells))

    assert sorted(main.commands) == sorted(listed)
