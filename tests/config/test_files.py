"""Files: what is no configuration at all, or cannot be read (design.md 9.2)."""

import re
from pathlib import Path

import pytest

from partitioner.config import Settings, load
from partitioner.errors import ConfigurationInvalid
from tests.config.problems import problems
from tests.tables import each_case

NO_CONFIGURATIONS = [
    ("", "the file is empty; expected at least a list of backends"),
    ("# nothing yet\n", "the file is empty; expected at least a list of backends"),
    ("- a\n- b", "the file is a list; expected keys and values"),
    ("hello", "the file is a single value; expected keys and values"),
    (
        "  name: x\nlisten: y",
        "not YAML: expected '<document start>', but found '<block mapping start>'; "
        "is it indented like its neighbours? (line 2, column 1)",
    ),
    (
        "a: b: c",
        "not YAML: mapping values are not allowed here; is it indented like its neighbours?"
        " (line 1, column 5)",
    ),
    (
        "name: x\n\tlisten: y",
        "not YAML: while scanning for the next token, found character '\\t' that cannot start any token"
        " (line 2, column 1)",
    ),
    ("name: x\nlisten: \x01", "not YAML: the character '\\x01' (line 2, column 9)"),
    (
        "a: 1\n---\nb: 1",
        "not YAML: expected a single document in the stream, but found another document (line 2, column 1)",
    ),
    ("[" * 5000, "not a configuration: nested hundreds of levels deep"),
    (
        "name: x\n{{ listen }}: y",
        "a key that is itself a list or a mapping; expected plain text (line 2, column 1)",
    ),
    ("? [a]\n: b", "a key that is itself a list or a mapping; expected plain text (line 1, column 3)"),
]


@each_case(("text", "message"), NO_CONFIGURATIONS)
def test_what_is_no_configuration_is_said_in_a_sentence(text: str, message: str) -> None:
    """A file that cannot be read as keys and values has one problem, with the place where reading stopped."""
    assert [("", message)] == problems(text)


@each_case(
    ("text", "path", "message"),
    [
        (
            "name: &n a\nlisten: *n",
            "listen",
            "an alias (`*name`) is not supported; expected the value itself",
        ),
        ("&top {health: *top}", "health", "an alias (`*name`) is not supported; expected the value itself"),
        ("name: !!int 7", "name", "the tag 'tag:yaml.org,2002:int' is not supported"),
        (
            "name: !env X",
            "name",
            "the tag '!env' is not supported; expected a plain value (line 1, column 7)",
        ),
        ("!x {name: a}", "", "the tag '!x' is not supported; expected a plain value"),
    ],
)
def test_the_clever_parts_of_yaml_are_refused(text: str, path: str, message: str) -> None:
    """Aliases and tags are refused, because a file with them need not mean what it shows."""
    ((found_path, found_message),) = problems(text)

    assert path == found_path
    assert found_message.startswith(message)


def test_a_key_that_is_written_twice_is_refused() -> None:
    """Of two equal keys none is silently preferred, on any level; the first one's line is named."""
    text = "embedded: 3\nhealth: {fall: 3}\nembedded: 2\nhealth:\n  fall: 1\n"

    expected = [
        ("embedded", "written twice; the first time on line 1 (line 3)"),
        ("health", "written twice; the first time on line 2 (line 4)"),
    ]
    assert expected == problems(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    """A file is UTF-8, with or without the mark that Windows editors put in front."""
    file = tmp_path / "partitioner.yml"
    file.write_bytes(b"\xef\xbb\xbfname: night  # Z\xc3\xbcrich\r\nembedded: 1\r\n")

    assert Settings(name="night", embedded=1) == load(file)


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    """A file that is not there is not taken for one that says nothing."""
    file = tmp_path / "nowhere.yml"

    with pytest.raises(ConfigurationInvalid, match=re.escape(f"there is no file {str(file)!r}")):
        load(file)


def test_an_unreadable_file_is_one_problem(tmp_path: Path) -> None:
    """The reason of the operating system is passed on."""
    with pytest.raises(ConfigurationInvalid, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_file_in_another_encoding_is_one_problem(tmp_path: Path) -> None:
    """What is not UTF-8 is refused, with the first offending byte, rather than guessed at."""
    file = tmp_path / "partitioner.yml"
    file.write_bytes("name: zürich".encode("latin-1"))

    with pytest.raises(ConfigurationInvalid, match="not UTF-8: the byte 0xfc at offset 7"):
        load(file)
