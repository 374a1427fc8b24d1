"""The command lines, configurations and programs that the papers show work as they are shown."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

import noxfile
from partitioner.cli import main
from partitioner.config import Settings, parse
from partitioner.ops.metrics.catalog import HOLDING, ROUTER, SERVING
from tests.docs.papers import NOT_BUILT, PAPERS, ROOT, blocks, code_spans, shown_commands
from tests.simulation.__main__ import main as simulation
from tests.tables import each_case

DESIGN = ROOT / "docs" / "design.md"
TEXTS = {paper: paper.read_text(encoding="utf-8") for paper in PAPERS}
ALL = "\n".join(TEXTS.values())

EXAMPLES = {
    "HOST:PORT": "127.0.0.1:42424",
    "H:P": "127.0.0.1:42424",
    "NET": "10.0.0.0/8",
    "SIZE": "1GiB",
    "DURATION": "2h",
    "N": "20",
}
"""What may stand in place of the placeholders that are not taken as they are."""


def parse_only(command: click.Command, arguments: list[str]) -> None:
    """Have click parse the arguments of a command, and run nothing. Raises click.UsageError."""
    command.make_context(str(command.name), arguments)


def words_of(synopsis: str) -> list[str]:
    """Return the words of a command line with all that is optional in it, and the first of alternatives."""
    for mark in ("[=WEIGHT]", "=WEIGHT", "[", "]", "..."):
        synopsis = synopsis.replace(mark, "=1" if mark == "=WEIGHT" else " ")
    words = [word.partition("|")[0] for word in shlex.split(synopsis)]
    return [EXAMPLES.get(word, word) for word in words]


def command_lines(text: str) -> list[list[str]]:
    """Return the command lines of `partitioner` that a text shows, in blocks and in sentences."""
    spans = [span.partition(" > ")[0] for span in code_spans(text)]
    shown = [words_of(span) for span in spans if re.match(r"(\.venv/bin/)?partitioner [a-z]", span)]
    shown += [[EXAMPLES.get(word, word) for word in words] for words in shown_commands(text)]
    return [words[1:] for words in shown if words[0].rpartition("/")[2] == "partitioner"]


def synopses() -> list[list[str]]:
    """Return the command lines of section 9.1 of the design that are not marked; one for each verb."""
    section = TEXTS[DESIGN].partition("### 9.1")[2].partition("### 9.2")[0].partition(f"`{NOT_BUILT}`")[0]
    found = []
    for line in re.findall(r"^    partitioner (.+?)(?:   .*)?$", section, re.MULTILINE):
        verbs, _, rest = line.partition(" ")
        found += [[verb, *words_of(rest)] for verb in verbs.split("|")]
    return found


SHOWN = [(paper, words) for paper, text in TEXTS.items() if paper != DESIGN for words in command_lines(text)]


@each_case(("paper", "words"), SHOWN)
def test_a_command_line_is_accepted(paper: Path, words: list[str]) -> None:
    """Verb, options and their values are those of the program; a verb alone is just named."""
    command = main.commands[words[0]]
    if words[1:]:
        parse_only(command, words[1:])


@each_case("words", synopses())
def test_a_command_line_of_the_design_is_accepted(words: list[str]) -> None:
    """Others script against section 9.1: what is not marked there is built."""
    parse_only(main.commands[words[0]], words[1:])


def test_the_design_has_every_verb() -> None:
    """And marks those that the program does not have."""
    assert {words[0] for words in synopses()} == set(main.commands)


@each_case("arguments", [["--safe"], ["--listen", "nowhere"], ["NAME"]])
def test_a_wrong_command_line_is_not_accepted(arguments: list[str]) -> None:
    """The tests above can fail: options, their values and arguments are looked at."""
    with pytest.raises(click.UsageError):
        parse_only(main.commands["serve"], arguments)


def test_the_design_names_metrics_that_exist() -> None:
    """Section 9.4, but for what is marked there."""
    section = TEXTS[DESIGN].partition("### 9.4")[2].partition("`conf/metrics.md`")[0]
    listed = "\n".join(line for line in section.splitlines() if line.startswith("    "))
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", re.sub(r"\{.*?\}|\(.*?\)", "", listed)))

    assert named
    assert set() == named - {metric.name for metric in (*ROUTER, *HOLDING, *SERVING)}


def test_the_design_names_keys_that_exist() -> None:
    """Section 9.2: every key of the configuration, and no other."""
    section = TEXTS[DESIGN].partition("### 9.2")[2].partition("### 9.3")[0]
    listed = "\n".join(re.sub(r"#.*", "", line) for line in section.splitlines() if line.startswith("    "))
    top_level = set(re.findall(r"(?:^|  )([a-z_]+):", re.sub(r"\{.*?\}", "", listed), re.MULTILINE))

    assert top_level | {"embedded"} == set(Settings.model_fields)


@each_case("text", [text for page in TEXTS.values() for text in blocks(page, "yaml")])
def test_a_configuration_is_valid(text: str, tmp_path: Path) -> None:
    """A reader may copy it, and has made the token that it names."""
    token = tmp_path / "listing-token"
    token.write_text("f81c1d33a8fe1f4ea4f19f2b5a5b1d2c")
    settings = parse(text.replace("/etc/partitioner/listing-token", str(token)))

    assert settings.pool_backends() != () or settings.store is not None


@each_case("module", sorted(set(re.findall(r"-m ((?:partitioner|tests)(?:\.[a-z_]+)*)", ALL))))
def test_a_module_that_is_run_exists(module: str) -> None:
    """`python -m MODULE` finds something to run."""
    assert importlib.util.find_spec(module) is not None


@each_case("words", [words for words in shown_commands(ALL) if "tests.simulation" in words])
def test_a_command_line_of_the_simulation_is_accepted(words: list[str]) -> None:
    """Such as those that replay a seed."""
    parse_only(simulation, words[words.index("tests.simulation") + 1 :])


@each_case("names", re.findall(r"nox -s ([a-z ]*[a-z])", ALL))
def test_a_session_of_nox_exists(names: str) -> None:
    """The task runner knows each task that a paper names."""
    assert [] == [name for name in names.split() if not callable(getattr(noxfile, name, None))]
