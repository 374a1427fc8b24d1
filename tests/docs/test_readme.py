"""The README tells the truth: what can be checked of it without a reader."""

import re
from pathlib import Path

import pytest

from partitioner.cli import main
from partitioner.config import parse
from tests.tables import each_case

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_ci_runs_the_readme_s_test_command() -> None:
    """What a newcomer pastes is what guards every change."""
    (command,) = [block.strip() for block in blocks("sh") if "pytest" in block]

    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [f"{command} -m '' --durations=25"] == [line for line in lines if line.startswith(command)]


def test_the_main_job_and_the_tests_are_one_line_each() -> None:
    """Each starts from a bare clone with Python and pip alone."""
    from_a_bare_clone = [block for block in blocks("sh") if block.startswith("python3 -m venv")]

    assert [1, 1] == [len(block.splitlines()) for block in from_a_bare_clone]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_configurations_shown_are_valid(text: str) -> None:
    """A reader may copy them."""
    assert parse(text).pool_backends() != ()


@each_case("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_what_is_pointed_to_is_there(target: str) -> None:
    """Links lead to files and folders of this repository."""
    assert (ROOT / target).exists()


@each_case("line", re.findall(r"^(?:\.venv/bin/)?partitioner (.*)$", "".join(blocks("sh")), re.MULTILINE))
def test_the_command_lines_shown_are_understood(line: str) -> None:
    """Each verb that is shown has the options that it is shown with."""
    verb, *arguments = line.partition(" #")[0].partition(" && ")[0].split()
    known = {name for parameter in main.commands[verb].params for name in parameter.opts}

    assert set() == {each for each in arguments if each.startswith("-")} - known


def test_every_verb_is_listed() -> None:
    """The table of commands has a row for each."""
    listed = re.findall(r"^\| `partitioner ([a-z-]+)", README, re.MULTILINE)

    assert sorted(main.commands) == sorted(listed)
