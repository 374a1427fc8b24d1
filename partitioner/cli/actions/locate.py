"""Prints where sessions live, and where they go when that server is out."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from os import fsencode
from pathlib import Path

from partitioner.cli.configuration import settings_of
from partitioner.cli.options import Refused
from partitioner.cli.output import print_json, warn
from partitioner.cli.tables import print_rich, table
from partitioner.config import Settings
from partitioner.ops.printable import printable
from partitioner.placement import location
from partitioner.placement.location import Location
from partitioner.placement.session_id import HashKey


def print_locations(config: Path | None, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Print the preference lists of these keys; `-` stands for those of stdin."""
    settings = settings_of(config)
    locations = locate_keys(settings, given_keys(keys))
    if as_json:
        for each in locations:  # as soon as its key has been read: the other end may be a pipe
            print_json(asdict(each))
        return
    found = table("key", "session ID", "preference list")
    for each in locations:
        found.add_row(printable(each.key), printable(each.session_id), ", ".join(each.backends))
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
        try:
            found = location.locate(key, ranking, settings.hash_key)
        except ValueError as error:
            raise Refused(str(error)) from error
        if settings.hash_key is HashKey.SESSION_ID and location.names_no_session(key):
            warn(f"{location.text_of(key)!r} has no `(hash)/` in it; all of it was taken for the session ID")
        yield found
