"""What the ledger remembers of one key: its lock, its marks, and when its session was last heard of."""

from dataclasses import dataclass, field
from typing import NamedTuple

from partitioner.membership.backend import BackendId

LONGEST_PAGE = 110.0
"""Seconds for which a page may hold a lock before web servers break it (protocol.md 8)."""

LOCK, MISSING, WRITE, REMOVE = "lock", "missing", "write", "remove"
"""What a marked server may lack. MISSING is the session, all of it, or the time-out that others give it: what
it has is current, and what it does not have may exist all the same."""

LESSER_REASONS = (LOCK, MISSING)
"""What lacks a write or a remove lacks these as well."""


class Lock(NamedTuple):  # which is made in a third of the time of a frozen dataclass
    """A lock that a client holds, as far as is known."""

    cookie: int
    server: BackendId  # its identity
    incarnation: bytes | None
    since: float


@dataclass(slots=True)
class Mark:
    """Why a server is not read for a key."""

    since: float  # when it was made, or the last of its connections ended
    open: int = 0  # connections on which something of the key may still lie
    is_stale: bool = False  # an acknowledged change has passed the server by
    reason: str = WRITE  # what the server may lack: a lock, a write or a remove
    is_lost: bool = False  # the session was declared lost, and nothing was acknowledged since
    taken: int | None = None  # fingerprint of the acknowledged content that it took while it was marked
    is_doubtful: bool = False  # its server was read while in doubt, so what is stale there lives on; no more

    @property
    def had_nothing(self) -> bool:
        """Whether the server lacked the whole session when it was marked."""
        return self.is_stale and self.reason == MISSING

    def is_what_was_taken(self, fingerprint: int) -> bool:
        """Whether the server holds the acknowledged content that it took while marked, if that is known.

        `fingerprint` is the xxh3_64 of what it holds.
        """
        return self.taken in (None, fingerprint)


@dataclass(slots=True)
class Entry:
    """What is remembered of one key."""

    target: bytes  # as some client has spelt it
    timeout: float  # of the session, as far as is known
    lock: Lock | None = None
    lock_expires_at: float = float("-inf")
    marks: dict[BackendId, Mark] = field(default_factory=dict)
    is_unsettled: bool = False  # since its first mark, until a write leaves it without one
    alive_at: float = float("-inf")  # when the session was last touched, as far as is known
    served_at: float = float("-inf")  # when a client was last told that there is the session

    @property
    def is_empty(self) -> bool:
        return self.lock is None and not self.marks and not self.is_unsettled

    @property
    def tells_of_a_session(self) -> bool:
        """Whether something was acknowledged of the session: not only asked, without an answer."""
        was_served = self.served_at > float("-inf")
        return was_served or self.lock is not None or any(mark.is_stale for mark in self.marks.values())

    def mark_has_expired(self, mark: Mark, now: float) -> bool:
        """Whether a mark has nothing to say any more, because what its server held has expired.

        While the session is served from elsewhere, a server that is marked still lacks its copy, though what
        it held is gone: the session would be lost with the others, unnoticed.
        """
        return not mark.open and max(mark.since, self.served_at) + self.timeout < now


def may_hold_stale(reasons: frozenset[str]) -> bool:
    """Whether what a server holds that may lack these things may be out of date."""
    return not reasons <= {LOCK, MISSING}
