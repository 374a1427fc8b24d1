"""All sessions of a state server: the decision table of protocol.md 6, and forgetting in time.

Pure: requests come in with the time, answers go out. Each call is one operation from beginning to
end, which is what makes the table's rows atomic.
"""

from collections.abc import Iterator
from typing import NamedTuple

from partitioner.protocol.messages import Answer, Operation, RequestHead
from partitioner.sessions.session import BAD_REQUEST, NOT_FOUND, OK, Session
from partitioner.sessions.shards import SHARDS, Shards
from partitioner.sessions.wheel import TimerWheel

DEFAULT_TIMEOUT_MINUTES = 20  # protocol.md 7
LONGEST_TIMEOUT_MINUTES = 525_600  # a year; protocol.md 3.4

ITEMS = b"/partitioner/"
"""Where the keys of routers' own items begin (design.md 5.1). They are few and small, and a router must be
able to store them on a server that is full, so they are not held against the memory limit."""

SESSION_OVERHEAD = 280
"""Bytes that a session costs beyond those of its key and body: what is counted against the memory limit.

Measured by tests/benchmarks/session_memory.py, which says 269: the objects, their places in the table
and the wheel, and what the allocator rounds up. Counted a little higher than measured.
"""


# Looking up a member of an Enum takes a fifth of a microsecond, each time, and a match does it case by case.
_GET, _ACQUIRE, _RELEASE = Operation.GET, Operation.ACQUIRE, Operation.RELEASE
_SET, _CREATE_UNINITIALIZED = Operation.SET, Operation.CREATE_UNINITIALIZED
_REMOVE, _RESET_TIMEOUT = Operation.REMOVE, Operation.RESET_TIMEOUT


PAGE_COST = 8 * 1024 * 1024
"""Bytes of content that are digested for one page of an inventory: about a millisecond."""

KEY_COST = 16
"""A byte of a key is sent, and costs as much as so many bytes that are digested."""


class Listed(NamedTuple):  # which is made in a third of the time of a frozen dataclass
    """What an inventory tells of one session."""

    key: bytes
    timeout_minutes: int  # 0: it never expires
    idle: float | None  # seconds since it was last used; None where it never expires
    size: int  # bytes of the content
    is_locked: bool
    digest: int  # Session.digest


class SessionTable:
    """Sessions by key, as protocol.md 4.2 derives it."""

    __slots__ = (
        "_key_bytes",
        "_max_memory",
        "_records",
        "_wheel",
        "body_bytes",
        "expired",
        "items",
        "refused_creations",
    )

    def __init__(self, max_memory: int | None = None) -> None:
        """Hold at most `max_memory` bytes of sessions; new ones beyond that are refused, none is evicted."""
        self._records = Shards()
        self._wheel = TimerWheel()
        self._max_memory = max_memory
        self._key_bytes = 0
        self.body_bytes = 0
        self.items: dict[bytes, None] = {}  # keys that are routers' own
        self.expired = 0  # sessions forgotten since the start because their time-out had passed
        self.refused_creations = 0  # for want of memory, since the start

    def __len__(self) -> int:
        return len(self._records)

    @property
    def sessions_held(self) -> int:
        """How many sessions there are, routers' items apart."""
        return len(self._records) - len(self.items)

    @property
    def max_memory(self) -> int | None:
        """How many bytes of sessions there may be before new ones are refused; None: there is no limit."""
        return self._max_memory

    def limit(self, max_memory: int | None) -> None:
        """From now on hold at most so many bytes of sessions. None of those that are there is evicted."""
        self._max_memory = max_memory

    @property
    def used_memory(self) -> int:
        """Bytes that all sessions cost together: what is held against the limit."""
        return len(self._records) * SESSION_OVERHEAD + self._key_bytes + self.body_bytes

    def page(self, cursor: int, at_least: int) -> tuple[list[bytes], int | None]:
        """So many keys, or a few more, and the cursor of the next page; None behind the last one.

        A walk begins with cursor 0. It finds every key that is there all the time at least once, whatever
        comes and goes between two pages; whose time-out has passed may still be among them.

        Raises ValueError if the cursor is none.
        """
        if not 0 <= cursor < SHARDS:
            raise ValueError(f"{cursor} is no cursor; expected what the page before said, or 0")
        return self._records.keys_from(cursor, at_least)

    def inventory(self, first: bytes, at_most: int, now: float) -> tuple[list["Listed"], bytes | None]:
        """Sessions from the key `first` on, in the order of listing_place; and the key that comes next.

        None says that there is none any more. Routers' items and expired sessions are left out. A page ends
        early where much had to be read for it, so that it is made in a few milliseconds.
        """
        listed: list[Listed] = []
        budget = PAGE_COST
        for key, record in self._records.sorted_from(first):
            if key in self.items:
                continue
            if len(listed) >= at_most or budget <= 0:
                return listed, key
            session = Session(record)
            if session.expires_at >= now:
                listed.append(_listed(key, session, now))
                budget -= len(record) + KEY_COST * len(key)
        return listed, None

    def apply(self, head: RequestHead, key: bytes, body: bytes, now: float) -> Answer:
        """Carry out one request and answer it; `now` is monotonic seconds.

        Source: protocol.md 6, row by row.
        """
        operation = head.operation
        is_write = operation is _SET or operation is _CREATE_UNINITIALIZED
        if is_write and _timeout_minutes(head) > LONGEST_TIMEOUT_MINUTES:
            return BAD_REQUEST  # row 12: checked before the lookup
        session = self._maybe_find(key, now)
        if session is None:
            return self._create(head, key, body, now) if is_write else NOT_FOUND  # rows 1, 4, 7, 20, 24
        answer = self._apply_to(session, key, head, body, now)
        if operation is _REMOVE and answer is OK:
            self._forget(key, session)
        else:
            self._keep(key, session, now)
        return answer

    def maybe_content(self, key: bytes, now: float) -> bytes | None:
        """What is stored under a key, locked or not; None if nothing is. Nothing changes by it."""
        session = self.maybe_session(key, now)
        return None if session is None else session.body

    def maybe_session(self, key: bytes, now: float) -> Session | None:
        """The session of this key as it is, locked or not; None if there is none. Nothing changes by it."""
        record = self._records.maybe_record(key)
        session = None if record is None else Session(record)
        return None if session is None or session.expires_at < now else session

    def sweep(self, now: float, at_most: int) -> int:
        """Forget sessions whose time-out has passed, looking at no more than `at_most` of them.

        Returns how many were looked at. Only memory hangs on it: an expired session is not found anyway.
        """
        seen = 0
        for key in self._wheel.due(now):
            session = Session(self._records[key])
            session.slot = None
            if session.expires_at < now:
                self._forget(key, session)
                self.expired += 1
            else:
                self._file(key, session)
            seen += 1
            if seen >= at_most:
                break
        return seen

    def sessions(self) -> Iterator[tuple[bytes, Session]]:
        """All sessions by key, expired ones among them; the table must not change meanwhile."""
        return ((key, Session(record)) for key, record in self._records.items())

    def put_back(self, key: bytes, session: Session) -> None:
        """Take in a session that another table held, as it is; the limit of memory is for new ones."""
        self._key_bytes += len(key)
        self.body_bytes += session.size
        if key.startswith(ITEMS):
            self.items[key] = None
        self._records[key] = session.record
        self._file(key, session)

    def _apply_to(self, session: Session, key: bytes, head: RequestHead, body: bytes, now: float) -> Answer:
        operation = head.operation
        if operation is _ACQUIRE:
            return session.acquire(now)
        if operation is _SET:
            self.body_bytes -= session.size
            answer = session.set(head, body, _timeout_minutes(head), now)
            self.body_bytes += session.size
            self._records[key] = session.record
            return answer
        if operation is _RELEASE:
            return session.release(head.lock_cookie, now)
        if operation is _GET:
            return session.get(now)
        if operation is _REMOVE:
            return session.remove(head.lock_cookie, now)
        assert operation is _CREATE_UNINITIALIZED or operation is _RESET_TIMEOUT
        return OK  # rows 15 and 25: insert only, and nothing but the time-out

    def _create(self, head: RequestHead, key: bytes, body: bytes, now: float) -> Answer:
        """Rows 13 and 14; or 400 for want of memory, never 404 (protocol.md 10.2.9)."""
        cost = SESSION_OVERHEAD + len(key) + len(body)
        is_item = key.startswith(ITEMS)
        if self._max_memory is not None and not is_item and self.used_memory + cost > self._max_memory:
            self.refused_creations += 1
            return BAD_REQUEST
        is_uninitialized = head.operation is _CREATE_UNINITIALIZED
        session = Session.create(body, _timeout_minutes(head), is_uninitialized=is_uninitialized)
        self._key_bytes += len(key)
        self.body_bytes += len(body)
        if is_item:
            self.items[key] = None
        self._records[key] = session.record
        self._keep(key, session, now)
        return OK

    def _maybe_find(self, key: bytes, now: float) -> Session | None:
        record = self._records.maybe_record(key)
        if record is None:
            return None
        session = Session(record)
        if session.expires_at < now:
            self._forget(key, session)
            self.expired += 1
            return None
        return session

    def _keep(self, key: bytes, session: Session, now: float) -> None:
        """Write a session down after an operation, its time-out started anew."""
        session.slide(now)
        self._file(key, session)

    def _file(self, key: bytes, session: Session) -> None:
        """Write a session to its record, and see to it that the wheel knows it if it can expire."""
        if session.timeout_minutes:
            session.slot = self._wheel.file(key, session.expires_at, session.slot)
        session.pack()

    def _forget(self, key: bytes, session: Session) -> None:
        del self._records[key]
        if session.slot is not None:
            self._wheel.forget(key, session.slot)
        self._key_bytes -= len(key)
        self.body_bytes -= session.size
        self.items.pop(key, None)


def _timeout_minutes(head: RequestHead) -> int:
    return DEFAULT_TIMEOUT_MINUTES if head.timeout_minutes is None else head.timeout_minutes


def _listed(key: bytes, session: Session, now: float) -> Listed:
    minutes = session.timeout_minutes
    idle = max(0.0, now - (session.expires_at - minutes * 60.0)) if minutes else None
    return Listed(key, minutes, idle, session.size, session.locked_since is not None, session.digest)
