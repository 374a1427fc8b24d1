"""The names under which sessions are kept, and what a record says besides its body.

A session ID is a bearer secret. A plain one would stand in the engine's MONITOR and SLOWLOG, in its backups
and on its replication links, so the name is a hash. It is shorter than an ID with its application, too.
"""

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import NamedTuple

from partitioner.store.scripts import HEADER, LOCKED, UNINITIALIZED

_HASH_BYTES = 20  # 160 bits: nobody finds two sessions with one name


def record_name(prefix: bytes, key: bytes) -> bytes:
    """The engine's name of the session with this server key (protocol.md 4.2): prefix and 27 characters."""
    return prefix + urlsafe_b64encode(blake2b(key, digest_size=_HASH_BYTES).digest()).rstrip(b"=")


class RecordHeader(NamedTuple):
    """What a record says of its session."""

    is_uninitialized: bool
    is_locked: bool
    minutes: int
    cookie: int
    locked_at: float  # Unix time by the engine's clock; 0 if it was never locked


def read_header(record: bytes) -> RecordHeader | None:
    """Read the first bytes of a record; None if it is no session."""
    if len(record) < HEADER.size:
        return None
    flags, minutes, cookie, locked_at, _, _, _ = HEADER.unpack_from(record)
    if flags > LOCKED:
        return None
    return RecordHeader(bool(flags & UNINITIALIZED), bool(flags & LOCKED), minutes, cookie, locked_at / 1000)
