"""Writes a connection string into a web server's file, and leaves every other byte of it as it is.

The value is exchanged in the text of the file, where it stands between its quotes; nothing is parsed and
written anew, so comments, white space, ends of lines, encoding and byte order mark stay. Only what counts
is touched: elements of sessionState that name a connection string or say StateServer, in `location`
elements as well, and not those that say another mode.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from partitioner.errors import WebConfigUnreadable
from partitioner.webfarm.document import Document, Element, read_document
from partitioner.webfarm.settings import STATE_SERVER

CONNECTION = re.compile(r"tcpip=([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")
"""What is written: the form of protocol.md 8.3, with no character that XML would have to escape."""

_NAME = "stateConnectionString"
_SECRET = "sqlConnectionString"
_SECRET_VALUE = "..."


@dataclass(frozen=True, slots=True)
class Change:
    """One tag that is written anew. What may be a password in it is left out of both texts."""

    line: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What becomes of a file."""

    content: bytes  # all of it
    changes: tuple[Change, ...]  # none: it is as it was
    left_alone: tuple[str, ...]  # sentences about elements that were not touched


def is_connection(text: str) -> bool:
    """Whether this is a connection string for a state server."""
    match = CONNECTION.fullmatch(text)
    return match is not None and 0 < int(match[2]) <= 65535


def with_connection(document: Document, connection: str) -> Rewriting:
    """The file with another connection string.

    Raises WebConfigUnreadable if it could not be written back with all other bytes as they are.
    """
    changes: list[Change] = []
    left_alone: list[str] = []
    text = document.text
    for element in sorted(_session_states(document.root), key=lambda each: each.offset, reverse=True):
        reason = _reason_against(document, element)
        if reason is not None:
            left_alone.insert(0, reason)
            continue
        start, end, inserted = _edit(document, element, connection)
        if text[start:end] != inserted:
            text = text[:start] + inserted + text[end:]
            tag = document.tag(element)
            new_tag = tag[: start - element.offset] + inserted + tag[end - element.offset :]
            line = document.place(element.offset).line
            changes.insert(0, Change(line, _without_secrets(tag), _without_secrets(new_tag)))
    content = _encoded(document, text)
    if changes:
        _check(content, connection, len(changes))
    return Rewriting(content, tuple(changes), tuple(left_alone))


def _session_states(root: Element) -> Iterator[Element]:
    """All elements of sessionState that count somewhere."""
    if root.name == "sessionState":
        yield root
    yield from root.all("system.web/sessionState")
    yield from root.all("location/system.web/sessionState")


def _reason_against(document: Document, element: Element) -> str | None:
    """Why an element is left alone, if it is."""
    line = document.place(element.offset).line
    provider = element.attributes.get("configProtectionProvider")
    if provider is not None:
        return f"sessionState in line {line} is encrypted with {provider}; decrypt it on the web server first"
    source = element.attributes.get("configSource")
    if source is not None:
        return f"sessionState in line {line} is in {source}; it is changed there, if that file is given"
    mode = element.attributes.get("mode")
    if mode not in (None, STATE_SERVER):
        return f"sessionState in line {line} has the mode {mode}; expected {STATE_SERVER}"
    if mode is None and _NAME not in element.attributes:
        return f"sessionState in line {line} has neither mode nor {_NAME}: both are inherited"
    return None


def _edit(document: Document, element: Element, connection: str) -> tuple[int, int, str]:
    """What to put in place of which part of the text."""
    values = document.values(element)
    present = values.get(_NAME)
    if present is not None:
        return present.start, present.end, connection
    behind = values["mode"].end + 1
    return behind, behind, f' {_NAME}="{connection}"'


def _encoded(document: Document, text: str) -> bytes:
    try:
        return document.encoded(text)
    except UnicodeEncodeError as error:
        raise WebConfigUnreadable(
            f"could not be written back in its encoding, {document.encoding}"
        ) from error


def _check(content: bytes, connection: str, count: int) -> None:
    """Read what would be written as ASP.NET will."""
    written = [each.attributes.get(_NAME) for each in _session_states(read_document(content).root)]
    assert written.count(connection) >= count, "what was exchanged is not what was meant"


def _without_secrets(tag: str) -> str:
    return re.sub(rf"""({_SECRET}\s*=\s*)("[^"]*"|'[^']*')""", rf'\1"{_SECRET_VALUE}"', tag)
