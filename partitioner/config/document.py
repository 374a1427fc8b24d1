"""A YAML file as a plain tree that remembers where everything was written.

PyYAML's own loading is not used beyond its parser, because it makes three guesses that have taken
down other people's services: of two equal keys it silently keeps the last, it reads the word `no` as
false, and `42:30` as a number to the base 60. Here a plain scalar is null, true, false or a decimal
number, and whatever else it looks like is text; a key that is written twice is a problem.

Aliases and tags are refused. A file of this size does not need them, and without them a file
cannot refer to itself or unfold into something larger than it is.
"""

import re
from dataclasses import dataclass

import yaml

from partitioner.config.findings import Finding, KeyPath, spell
from partitioner.errors import ConfigurationInvalid, Problem

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")  # longer ones are read as floats: nothing here counts so far
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")

_OWN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, where it says so, and what it says twice."""

    content: dict[str, object]
    marks: dict[KeyPath, tuple[int, int]]  # line and column, from 1, of each key and each item of a list
    findings: tuple[Finding, ...]


def read_document(text: str) -> Document:
    """Parse the text of a configuration file.

    Raises ConfigurationInvalid if it is no YAML, or no mapping at its top.
    """
    reading = _Reading()
    content = reading.value(_root(text), ())
    assert isinstance(content, dict)
    return Document(content, reading.marks, tuple(reading.findings))


def _root(text: str) -> yaml.MappingNode:
    try:
        # BaseLoader leaves every scalar as it is written; tags appear only where the file has them.
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise _invalid(f"not YAML: {what}", _maybe_place(error.problem_mark)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise _invalid(f"not YAML: the character {chr(error.character)!r}", (line, column)) from error
    except RecursionError:
        raise _invalid("not a configuration: nested hundreds of levels deep") from None
    if isinstance(root, yaml.MappingNode):
        return root
    if root is None or root.value == "":
        raise _invalid("the file is empty; expected at least a list of backends")
    what = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
    raise _invalid(f"the file is {what}; expected keys and values")


class _Reading:
    """One walk over the parser's nodes."""

    def __init__(self) -> None:
        self.marks: dict[KeyPath, tuple[int, int]] = {}
        self.findings: list[Finding] = []
        self._visited: set[int] = set()  # identities; the tree keeps its nodes alive meanwhile

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self._refuse_cleverness(node, path)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path)
        assert isinstance(node, yaml.ScalarNode)
        is_plain = node.style is None  # neither quoted nor a block of text
        return _plain_value(node.value) if is_plain else node.value

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        content: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                message = "a key that is itself a list or a mapping; expected plain text"
                raise _invalid(message, _place(key_node), path)
            key = key_node.value
            here = (*path, key)
            if key in content:
                first_line, _ = self.marks[here]
                message = f"written twice; the first time on line {first_line}"
                self.findings.append(Finding(here, message, line=_place(key_node)[0]))
            else:
                self.marks[here] = _place(key_node)
                content[key] = self.value(value_node, here)
        return content

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> list[object]:
        content = []
        for position, item in enumerate(node.value):
            here = (*path, position)
            self.marks[here] = _place(item)
            content.append(self.value(item, here))
        return content

    def _refuse_cleverness(self, node: yaml.Node, path: KeyPath) -> None:
        if id(node) in self._visited:  # only an alias leads to a node for a second time
            message = "an alias (`*name`) is not supported; expected the value itself, written out"
            raise _invalid(message, self.marks[path], path)
        self._visited.add(id(node))
        if node.tag not in _OWN_TAGS:
            message = f"the tag {node.tag!r} is not supported; expected a plain value"
            raise _invalid(message, _place(node), path)


def _plain_value(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _invalid(message: str, place: tuple[int, int] | None = None, path: KeyPath = ()) -> ConfigurationInvalid:
    where = "" if place is None else f" (line {place[0]}, column {place[1]})"
    return ConfigurationInvalid([Problem(spell(path), message + where)])


def _place(node: yaml.Node) -> tuple[int, int]:
    """Line and column, from 1, as editors count."""
    return node.start_mark.line + 1, node.start_mark.column + 1


def _maybe_place(mark: yaml.Mark | None) -> tuple[int, int] | None:
    return None if mark is None else (mark.line + 1, mark.column + 1)
