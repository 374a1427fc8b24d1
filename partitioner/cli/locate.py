"""`partitioner locate`: where does a session live, and where does it go when that server is out?"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from os import fsencode
from pathlib import Path

import click

from partitioner.cli.output import (
    Refused,
    config_option,
    json_option,
    print_json,
    print_rich,
    printable,
    settings_of,
    table,
    warn,
)
from partitioner.config import Settings
from partitioner.placement.session_id import HashKey, placement_key, session_id
from partitioner.protocol.target import canonical_key


@dataclass(frozen=True, slots=True)
class Location:
    """A session and its preference list. The names of the fields are those of the JSON."""

    key: str  # as it was given
    session_id: str
    backends: tuple[str, ...]  # names, best first


@click.command()
@config_option
@json_option
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
def locate(config: Path | None, as_json: bool, keys: tuple[str, ...]) -> None:
    """Print the preference lists of sessions.

    A KEY is a session ID, or the target of a request (it has a `/` or `%` in it). `-` reads one key a
    line from stdin.

    The list names every server of the pool, best first: a session is on the first one that is ready
    and up.
    """
    settings = settings_of(config)
    locations = locate_keys(settings, given_keys(keys))
    if as_json:
        for location in locations:  # each as soon as its key has been read: the other end may be a pipe
            print_json(asdict(location))
        return
    found = table("key", "session ID", "preference list")
    for location in locations:
        names = ", ".join(location.backends)
        found.add_row(printable(location.key), printable(location.session_id), names)
    print_rich(found)


def given_keys(arguments: Iterable[str]) -> Iterator[bytes]:
    """The keys that are meant by the command line: as bytes, those of stdin in the place of its `-`."""
    for argument in arguments:
        if argument == "-":
            for line in sys.stdin.buffer:
                yield line.removesuffix(b"\n").removesuffix(b"\r")
        else:
            yield fsencode(argument)


def locate_keys(settings: Settings, keys: Iterable[bytes]) -> Iterator[Location]:
    """Find the preference list of each key.

    Raises Refused at a bare session ID where whole targets are hashed.
    """
    ranking = settings.ranking()
    for key in keys:
        if b"/" in key or b"%" in key:
            canonical = canonical_key(key)
            found_id, hashed = session_id(canonical), placement_key(canonical, settings.hash_key)
            if found_id == canonical and settings.hash_key is HashKey.SESSION_ID:
                warn(f"{_text(key)!r} has no `(hash)/` in it; all of it was taken for the session ID")
        elif settings.hash_key is HashKey.SESSION_ID:
            found_id = hashed = _as_decoded(key)
        else:
            raise Refused(
                f"{_text(key)!r} is a bare session ID, which has no place of its own under "
                f"`hash_key: {settings.hash_key.value}`; expected a target such as "
                f"%2fLM%2fW3SVC%2f2%2fROOT(...)%2f{_text(key)}"
            )
        yield Location(_text(key), _text(found_id), ranking.preference_list(hashed))


def _as_decoded(key: bytes) -> bytes:
    """A bare session ID as the router has it from a target, where what is no UTF-8 has been replaced."""
    return _text(key).encode("utf-8", "surrogatepass")


def _text(key: bytes) -> str:
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return key.decode("utf-8", "replace")
