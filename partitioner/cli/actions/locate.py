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
from partitioner.protocol.target import server_key
from partitioner.store.records import record_name


def print_locations(config: Path | None, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Print the preference lists of these keys; `-` stands for those of stdin."""
    settings = settings_of(config)
    if settings.store is not None:
        _print_items(settings, keys, as_json=as_json)
        return
    locations = locate_keys(settings, given_keys(keys))
    if as_json:
        for each in locations:  # as soon as its key has been read: the other end may be a pipe
            print_json(asdict(each))
        return
    found = table("key", "session ID", "preference list")
    for each in locations:
        found.add_row(printable(each.key), printable(each.session_id), ", ".join(each.backends))
    print_rich(found)


def _print_items(settings: Settings, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Print what the engine of a store calls the sessions of these targets."""
    policy = settings.store_policy()
    assert policy is not None
    found = table("target", "item of the engine")
    for key in given_keys(keys):
        item = record_name(policy.prefix, server_key(key)).decode()
        text = location.text_of(key)
        if b"%2f" not in key.lower() and b"/" not in key:
            warn(f"{text!r} is no target, but a session ID; expected all that web servers send, with its `/`")
        if as_json:
            print_json({"key": text, "item": item})
        else:
            found.add_row(printable(text), item)
    if not as_json:
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
