"""A table of sessions as bytes, to outlive a planned restart of its process.

Monotonic clocks begin anew with every boot, so the file holds lengths of time, how long each session
still has and how old its lock is, and one point of time on the wall. Its reader lets the time
between go on: what expired meanwhile is left out, and locks have aged. A wall clock that went backwards
counts as no time; to give a session a little too long is better than to forget it.

A table of gigabytes must not need its memory twice. So both ways go block by block, and each part is
believed only when its seal, a checksum that is right in one place of the file only, fits: nothing damaged
is ever made sense of.

    head      magic, version, wall clock when written, number of sessions; seal
    length    of the first block, in bytes; seal
    block     whole entries; seal
    ...       more blocks, each after its length
    entry     lengths of key and body, time-out, cookie, flags, seconds left, age of the lock; key, body
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from struct import Struct

from xxhash import xxh3_64_intdigest

from partitioner.errors import MalformedFile
from partitioner.protocol.grammar import MAX_NUMBER
from partitioner.sessions.session import NO_COOKIE, Session
from partitioner.sessions.table import SessionTable

MAGIC = b"partitioner sessions\n"
VERSION = 1
BLOCK_BYTES = 1024 * 1024
"""A block ends with the entry that makes it so long: large enough to be fast, and not to be noticed."""

A_SECOND = 1.0
"""By which a session may have longer to live than its time-out: differences of times are rounded."""

_HEAD = Struct(f"<{len(MAGIC)}sIdQ")
_LENGTH = Struct("<I")  # 4 GiB suffice: a body has at most 2 GiB (protocol.md 7)
_SEAL = Struct("<Q")
_ENTRY = Struct("<IIiiBdd")
_UNINITIALIZED, _LOCKED = 1, 2

Read = Callable[[int], bytes]
"""Returns the next so many bytes; fewer only where the file ends."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of the sessions of a snapshot."""

    sessions: int  # that are in the table now
    expired: int  # whose time-out had passed meanwhile
    downtime: float


def write_snapshot(table: SessionTable, wall: float, now: float) -> Iterator[bytes]:
    """Write all sessions, piece by piece; the table must not change meanwhile.

    `wall` is seconds since 1970, `now` the monotonic time by which the table lives.
    """
    head = _HEAD.pack(MAGIC, VERSION, wall, len(table))
    yield head + _seal(head, 0)
    for number, block in enumerate(_blocks(table, now)):
        length = _LENGTH.pack(len(block))
        yield length + _seal(length, 2 * number + 1)
        yield block
        yield _seal(block, 2 * number + 2)


def read_snapshot(read: Read, table: SessionTable, wall: float, now: float) -> Restored:
    """Put all sessions that still live back into a table, even beyond its limit of memory.

    `wall` and `now` are the times of reading, as in write_snapshot.

    Raises MalformedFile; the table holds some of the sessions then, and is of no use.
    """
    written_at, count = _read_head(read)
    downtime = max(0.0, wall - written_at)
    seen = expired = number = 0
    while seen < count:
        for key, session in _entries(_read_block(read, number), downtime, now):
            if session.expires_at < now:
                expired += 1
            else:
                table.put_back(key, session)
            seen += 1
        number += 1
    if seen > count or read(1):
        raise MalformedFile(f"holds more than the {count} sessions that it announces")
    if len(table) != seen - expired:
        raise MalformedFile("holds a session twice")
    return Restored(seen - expired, expired, downtime)


def _blocks(table: SessionTable, now: float) -> Iterator[bytes]:
    pieces: list[bytes] = []
    size = 0
    for key, session in table.sessions():
        entry = _entry(key, session, now)
        pieces += entry
        size += sum(map(len, entry))
        if size >= BLOCK_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def _entry(key: bytes, session: Session, now: float) -> tuple[bytes, bytes, bytes]:
    is_locked = session.locked_since is not None
    head = _ENTRY.pack(
        len(key),
        session.size,
        session.timeout_minutes,
        session.lock_cookie,
        _UNINITIALIZED * session.is_uninitialized | _LOCKED * is_locked,
        session.expires_at - now,
        0.0 if session.locked_since is None else now - session.locked_since,
    )
    return head, key, session.body


def _read_head(read: Read) -> tuple[float, int]:
    """When it was written by the clock on the wall, and how many sessions it holds."""
    sealed = read(_HEAD.size + _SEAL.size)
    if not sealed.startswith(MAGIC):
        raise MalformedFile(f"does not begin with {MAGIC!r}; it is not a file of sessions")
    if len(sealed) >= _HEAD.size:  # looked at before the seal, which other versions may have elsewhere
        _, version, _, _ = _HEAD.unpack_from(sealed)
        if version != VERSION:
            raise MalformedFile(f"has the format {version}; this program reads format {VERSION}")
    _, _, written_at, count = _HEAD.unpack(_unsealed(sealed, _HEAD.size, 0))
    return written_at, count


def _read_block(read: Read, number: int) -> bytes:
    (length,) = _LENGTH.unpack(_unsealed(read(_LENGTH.size + _SEAL.size), _LENGTH.size, 2 * number + 1))
    return _unsealed(read(length + _SEAL.size), length, 2 * number + 2)


def _unsealed(sealed: bytes, length: int, place: int) -> bytes:
    """The bytes before a seal that fits."""
    if len(sealed) < length + _SEAL.size:
        raise MalformedFile(f"ends in its part {place}; it is not whole")
    part, seal = sealed[:length], sealed[length:]
    if seal != _seal(part, place):
        raise MalformedFile(f"has a wrong checksum in its part {place}; it is damaged")
    return part


def _seal(part: bytes, place: int) -> bytes:
    return _SEAL.pack(xxh3_64_intdigest(part, place))


def _check_entry(
    block: bytes,
    key_length: int,
    end: int,
    timeout: int,
    cookie: int,
    seconds_left: float,
    lock_age: float,
) -> None:
    """A seal tells that a block is as it was written, and not by whom. Raises MalformedFile."""
    fits = key_length > 0 and end <= len(block)
    is_sensible = 0 <= timeout <= MAX_NUMBER and NO_COOKIE <= cookie <= MAX_NUMBER
    longest = timeout * 60.0 if timeout else inf
    # A comparison with what is not a number is false.
    if not (fits and is_sensible and -inf < seconds_left <= longest + A_SECOND and -inf < lock_age < inf):
        raise MalformedFile("has an entry that makes no sense; it was not written by this program")


def _entries(block: bytes, downtime: float, now: float) -> Iterator[tuple[bytes, Session]]:
    """The sessions of a block by key, as they are `downtime` seconds after they were written."""
    offset = 0
    while offset < len(block):
        if len(block) - offset < _ENTRY.size:
            raise MalformedFile("has an entry that is cut off; it was not written by this program")
        key_length, size, timeout, cookie, flags, seconds_left, lock_age = _ENTRY.unpack_from(block, offset)
        key_at = offset + _ENTRY.size
        body_at = key_at + key_length
        offset = body_at + size
        _check_entry(block, key_length, offset, timeout, cookie, seconds_left, lock_age)
        is_uninitialized = flags & _UNINITIALIZED != 0
        session = Session.create(block[body_at:offset], timeout, is_uninitialized=is_uninitialized)
        session.lock_cookie = cookie
        session.expires_at = now + seconds_left - downtime
        session.locked_since = now - lock_age - downtime if flags & _LOCKED else None
        yield block[key_at:body_at], session
