"""Writes what the verbs say of themselves as a manual page."""

import re
from collections.abc import Iterator

import click

from partitioner import __version__
from partitioner.cli.options import ADMIN, TOKEN

_LEADING = re.compile(r"^([.\'])", re.MULTILINE)


def manual(root: click.Context) -> str:
    """The page of a program and all its verbs, in roff (man(7))."""
    return "\n".join(_lines(root)) + "\n"


def _lines(root: click.Context) -> Iterator[str]:
    program = root.command
    assert isinstance(program, click.Group)
    yield f'.TH PARTITIONER 1 "" "partitioner {__version__}"'
    yield ".SH NAME"
    yield f"partitioner {_text('-')} {_text(program.help or '')}"
    yield ".SH SYNOPSIS"
    yield ".B partitioner"
    yield ".I verb"
    yield "[options]"
    yield ".SH VERBS"
    for name, verb in program.commands.items():
        if not verb.hidden:
            yield from _verb(click.Context(verb, parent=root, info_name=name), name, verb)
    yield ".SH EXIT STATUS"
    for code, meaning in _EXIT_CODES.items():
        yield from _item(code, meaning)
    yield ".SH ENVIRONMENT"
    for variable, meaning in _ENVIRONMENT.items():
        yield from _item(variable, meaning)


_EXIT_CODES = {
    "0": "Done.",
    "1": "Could not be done.",
    "2": "The command line or the configuration is wrong.",
    "3": "No router answers.",
}
_ENVIRONMENT = {
    ADMIN: "Where the router is steered, for the verbs that ask a running one.",
    TOKEN: "The token of that port, if it has one.",
    "NO_COLOR": "If set to anything, the log has no colours.",
}


def _verb(context: click.Context, name: str, verb: click.Command) -> Iterator[str]:
    yield f".SS {_text(' '.join([name, *verb.collect_usage_pieces(context)]))}"
    for paragraph in (verb.help or "").split("\n\n"):
        yield ".PP"
        yield _text(" ".join(paragraph.split()))
    for parameter in verb.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from _item(*record)


def _item(term: str, meaning: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {_text(term)}"
    yield _text(meaning)


def _text(plain: str) -> str:
    """Text that roff prints as it is."""
    escaped = plain.replace(chr(92), r"\e").replace("-", r"\-")
    return _LEADING.sub(r"\\&\1", escaped)
