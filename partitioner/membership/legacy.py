"""The ledger as bytes: what a router that stops in order leaves to the next one on its machine.

Locks and marks whole, so that the next router need not doubt anybody. It counts only together with the
record that was written last, which it names (design.md 5.2). Times are seconds ago.
"""

import re
import zlib
from math import isinf

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from xxhash import xxh3_64_hexdigest

from partitioner.errors import MalformedFile
from partitioner.membership.backend import BackendId
from partitioner.membership.entry import Entry, Lock, Mark
from partitioner.membership.items import Term
from partitioner.membership.ledger import Ledger
from partitioner.membership.numbers import check_numbers

VERSION = 1
_HEADLINE = re.compile(rb"partitioner ledger, format ([0-9]{1,9}), checksum ([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class _Lock:
    cookie: int
    server: BackendId
    incarnation: str | None
    since: float
    expires: float


@dataclass(frozen=True, slots=True)
class _Mark:
    server: BackendId
    is_stale: bool
    reason: str
    is_lost: bool
    taken: int | None


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    target: str
    timeout: float
    alive: float | None  # None: never
    served: float | None
    is_unsettled: bool
    lock: _Lock | None
    marks: tuple[_Mark, ...]


@dataclass(frozen=True, slots=True)
class Legacy:
    """All locks and marks, and the record that they go with."""

    term: int
    word: str
    serial: int
    entries: tuple[_Entry, ...]

    @property
    def order(self) -> tuple[Term, int]:
        return Term(self.term, self.word), self.serial


_JSON = TypeAdapter(Legacy)


def write_legacy(ledger: Ledger, order: tuple[Term, int], now: float) -> bytes:
    """Write all locks and marks of a ledger, as a headline with a checksum and packed JSON."""
    term, serial = order
    entries = tuple(_written(key, entry, now) for key, entry in ledger.entries())
    packed = zlib.compress(_JSON.dump_json(Legacy(term.number, term.word, serial, entries)))
    checksum = xxh3_64_hexdigest(packed).encode()
    return b"partitioner ledger, format %d, checksum %b\n" % (VERSION, checksum) + packed


def read_legacy(written: bytes) -> Legacy:
    """Read what write_legacy wrote.

    Raises MalformedFile.
    """
    headline, _, packed = written.partition(b"\n")
    match = _HEADLINE.fullmatch(headline)
    if match is None:
        raise MalformedFile("does not begin with the headline of a ledger; it is foreign or damaged")
    if int(match[1]) != VERSION:
        raise MalformedFile(f"has the format {int(match[1])}; this program reads format {VERSION}")
    if match[2].decode() != xxh3_64_hexdigest(packed):
        raise MalformedFile("has a wrong checksum; it is damaged")
    try:
        legacy = _JSON.validate_json(zlib.decompress(packed))
        _check(legacy)
    except ValidationError as error:
        (first, *_) = error.errors(include_input=False, include_url=False)
        place = ".".join(map(str, first["loc"]))
        raise MalformedFile(f"does not say what a ledger says: {place}: {first['msg']}") from error
    except (zlib.error, ValueError) as error:
        raise MalformedFile(f"does not say what a ledger says: {error}") from error
    return legacy


def restore_ledger(ledger: Ledger, legacy: Legacy, now: float) -> None:
    """Put all locks and marks into an empty ledger.

    What lay in connections of the router before is gone with it; the time of its marks begins anew.
    """
    locks = {each.key: 0.0 if each.lock is None else each.lock.since for each in legacy.entries}
    for each in sorted(legacy.entries, key=lambda each: locks[each.key], reverse=True):  # the oldest first
        lock = each.lock
        entry = Entry(
            each.target.encode("latin-1"),
            each.timeout,
            None
            if lock is None
            else Lock(lock.cookie, lock.server, _bytes(lock.incarnation), now - lock.since),
            float("-inf") if lock is None else now + lock.expires,
            {
                mark.server: Mark(now, 0, mark.is_stale, mark.reason, mark.is_lost, mark.taken)
                for mark in each.marks
            },
            each.is_unsettled,
            _moment(each.alive, now),
            _moment(each.served, now),
        )
        ledger.put_back(each.key.encode("latin-1"), entry)


def _written(key: bytes, entry: Entry, now: float) -> _Entry:
    lock = entry.lock
    return _Entry(
        key.decode("latin-1"),
        entry.target.decode("latin-1"),
        entry.timeout,
        _ago(entry.alive_at, now),
        _ago(entry.served_at, now),
        entry.is_unsettled,
        None
        if lock is None
        else _Lock(
            lock.cookie, lock.server, _text(lock.incarnation), now - lock.since, entry.lock_expires_at - now
        ),
        tuple(
            _Mark(server, mark.is_stale, mark.reason, mark.is_lost, mark.taken)
            for server, mark in entry.marks.items()
        ),
    )


def _check(legacy: Legacy) -> None:
    """Raises ValueError where texts do not stand for bytes, or numbers for times; its types are right."""
    check_numbers(legacy)
    if len({each.key for each in legacy.entries}) < len(legacy.entries):
        raise ValueError("a key is in it twice")
    for each in legacy.entries:
        incarnation = None if each.lock is None else each.lock.incarnation
        for text in (each.key, each.target, incarnation or ""):
            text.encode("latin-1")


def _ago(moment: float, now: float) -> float | None:
    return None if isinf(moment) else now - moment  # JSON knows no infinity


def _moment(ago: float | None, now: float) -> float:
    return float("-inf") if ago is None else now - ago


def _text(incarnation: bytes | None) -> str | None:
    return None if incarnation is None else incarnation.decode("latin-1")


def _bytes(incarnation: str | None) -> bytes | None:
    return None if incarnation is None else incarnation.encode("latin-1")
