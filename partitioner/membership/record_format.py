"""The record as bytes: a headline with a checksum, then packed JSON.

A record of another format is set aside like a damaged one, and so is one that says what no router writes.
"""

import re
import zlib
from dataclasses import replace
from math import isfinite

from pydantic import TypeAdapter, ValidationError
from xxhash import xxh3_64_hexdigest

from partitioner.errors import MalformedFile
from partitioner.membership.health import Health
from partitioner.membership.items import MOST_RECORD_BYTES
from partitioner.membership.numbers import check_numbers
from partitioner.membership.record import Record, maybe_token_of

VERSION = 2
"""1 did not say who served under a map, nor which sessions may lack copies. A record of another format is set
aside, as one that is damaged."""
_HEADLINE = re.compile(rb"partitioner record, format ([0-9]{1,9}), checksum ([0-9a-f]{16})")
MOST_PLAIN_BYTES = 4 * 1024 * 1024
"""Of a record that is unpacked: a damaged or hostile one must not fill our memory."""

FAR_AHEAD = 366 * 86_400_000
"""Milliseconds by which a record may be ahead of our own clock; one that is more is set aside."""

_JSON = TypeAdapter(Record)


def write_record(record: Record) -> bytes:
    """Write it as a headline with a checksum, and packed JSON, in at most MOST_RECORD_BYTES.

    What would make it larger is left out. A memory that is not named in it is in doubt when it is found, so
    tokens go first, and then the maps that ended first: a record that is too large could not be read at all.
    """
    while True:
        plain = _JSON.dump_json(record)
        packed = zlib.compress(plain)
        checksum = xxh3_64_hexdigest(packed).encode()
        written = b"partitioner record, format %d, checksum %b\n" % (VERSION, checksum) + packed
        fits = len(written) <= MOST_RECORD_BYTES and len(plain) <= MOST_PLAIN_BYTES
        if fits or not (record.empty or record.former or record.maps):
            return written
        record = _shortened(record)


def _shortened(record: Record) -> Record:
    """The same record without a part of what may be left out."""
    if record.empty or record.former:
        return replace(record, empty=(), former=())
    by_age = sorted(record.maps, key=lambda each: each.ended_at)
    left_out = len(record.maps) // 8 + 1
    known_since = max(record.known_since, by_age[left_out - 1].ended_at)
    return replace(record, maps=tuple(by_age[left_out:]), known_since=known_since)


def read_record(written: bytes, farm: str, now: int) -> Record:
    """Read what write_record wrote; `now` is milliseconds by this machine's clock.

    Raises MalformedFile where it is damaged, of another format, of another farm, or of the far future.
    """
    headline, _, packed = written.partition(b"\n")
    match = _HEADLINE.fullmatch(headline)
    if match is None:
        raise MalformedFile("does not begin with the headline of a record; it is foreign or damaged")
    if int(match[1]) != VERSION:
        raise MalformedFile(f"has the format {int(match[1])}; this program reads format {VERSION}")
    if match[2].decode() != xxh3_64_hexdigest(packed):
        raise MalformedFile("has a wrong checksum; it is damaged")
    try:
        unpacking = zlib.decompressobj()
        plain = unpacking.decompress(packed, MOST_PLAIN_BYTES)
        if not unpacking.eof:
            raise MalformedFile(f"has more than {MOST_PLAIN_BYTES} bytes, or is cut off")
        record = _JSON.validate_json(plain)
        _check(record)
    except ValidationError as error:
        (first, *_) = error.errors(include_input=False, include_url=False)
        place = ".".join(map(str, first["loc"]))
        raise MalformedFile(f"does not say what a record says: {place}: {first['msg']}") from error
    except (zlib.error, ValueError) as error:
        raise MalformedFile(f"does not say what a record says: {error}") from error
    if record.farm != farm:
        raise MalformedFile(f"belongs to the farm {record.farm!r}; expected {farm!r}")
    if record.written_at > now + FAR_AHEAD:
        raise MalformedFile("was written by a clock that is more than a year ahead")
    return record


def _check(record: Record) -> None:
    """Raises ValueError where the parts of a record do not go together; its types are right."""
    shown = [entry.token for entry in record.members]
    served = [token for each in record.maps for token in (*each.served.values(), *each.recovering.values())]
    lacking = [each.token for each in record.gaps]
    for token in (*shown, *served, *lacking, *(each.token for each in record.former), *record.empty):
        maybe_token_of(token)
    for entry in record.members:
        Health(entry.health)
        _check_weight(entry.backend.weight)
    for each in record.maps:
        if each.weights.keys() != each.places.keys():
            raise ValueError("a map has other names in its weights than in its places")
        for weight in each.weights.values():
            _check_weight(weight)
    if not isfinite(record.longest_life):
        raise ValueError("the longest timeout of a session is not a number of seconds")
    check_numbers(record)


def _check_weight(weight: float) -> None:
    if not (isfinite(weight) and weight > 0):
        raise ValueError(f"{weight} is not a weight; expected a number above 0")
