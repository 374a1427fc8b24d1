"""One session and its lock: the rows of protocol.md 6 that concern an item that exists.

Each method is one operation on an unexpired session and answers what a stock server would. Sliding
the expiry is the table's job, since every one of these slides it.

Between operations a session is packed into one block of bytes, its record: a fixed header, then its
body. A million objects would cost twice the memory beyond their bodies, and, what is worse, Python's
garbage collector would walk over all of them again and again and stop the server for more than a
second each time. It does not look into byte arrays.

    expires_at  locked_since  timeout_minutes  lock_cookie  slot   flags  body ...
    double      double        int32            int32        int32  byte
"""

from struct import Struct

from xxhash import xxh3_64_intdigest

from partitioner.protocol.messages import Answer, RequestHead, Status

FIRST_COOKIE = 1  # counts up before it is handed out, so the first lock has 2 (protocol.md 1, fact 7)
LAST_COOKIE = 2_147_483_645  # a stock server refuses to read greater ones back
NO_COOKIE = -1  # what a request without LockCookie leaves behind in row 18

_OK = Status.OK
OK = Answer(_OK)
BAD_REQUEST = Answer(Status.BAD_REQUEST)
NOT_FOUND = Answer(Status.NOT_FOUND)

_HEADER = Struct("<ddiiiB")
_UNINITIALIZED, _LOCKED = 1, 2
_NO_SLOT = -(2**31)


class Session:
    """A session unpacked from its record for the time of one operation."""

    __slots__ = (
        "expires_at",
        "is_uninitialized",
        "lock_cookie",
        "locked_since",
        "record",
        "slot",
        "timeout_minutes",
    )

    def __init__(self, record: bytearray) -> None:
        """Unpack a record."""
        self.record = record
        expires_at, locked_since, timeout_minutes, lock_cookie, slot, flags = _HEADER.unpack_from(record)
        self.expires_at: float = expires_at
        self.timeout_minutes: int = timeout_minutes
        self.lock_cookie: int = lock_cookie
        self.is_uninitialized: bool = flags & _UNINITIALIZED != 0
        self.locked_since: float | None = locked_since if flags & _LOCKED else None
        self.slot: int | None = None if slot == _NO_SLOT else slot  # of the timer wheel; none: never expires

    @classmethod
    def create(cls, body: bytes, timeout_minutes: int, *, is_uninitialized: bool) -> "Session":
        """A session that has not been locked yet."""
        flags = _UNINITIALIZED if is_uninitialized else 0
        header = _HEADER.pack(0.0, 0.0, timeout_minutes, FIRST_COOKIE, _NO_SLOT, flags)
        return cls(bytearray(header + body))

    def pack(self) -> None:
        """Write all fields to the record."""
        is_locked = self.locked_since is not None
        _HEADER.pack_into(
            self.record,
            0,
            self.expires_at,
            self.locked_since or 0.0,
            self.timeout_minutes,
            self.lock_cookie,
            _NO_SLOT if self.slot is None else self.slot,
            _UNINITIALIZED * self.is_uninitialized | _LOCKED * is_locked,
        )

    def slide(self, now: float) -> None:
        """Start the time-out anew. A time-out of 0 never passes, as in the stock server."""
        self.expires_at = now + self.timeout_minutes * 60.0 if self.timeout_minutes else float("inf")

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.record) - _HEADER.size

    @property
    def body(self) -> bytes:
        """What was saved last."""
        return bytes(memoryview(self.record)[_HEADER.size :])

    @property
    def digest(self) -> int:
        """What two servers compare to see whether they hold the same: xxh3_64 of the content.

        Its seed is 1 while the one-shot flag of a new session is set, else 0. Lock and expiry do not count.
        """
        return xxh3_64_intdigest(memoryview(self.record)[_HEADER.size :], seed=self.is_uninitialized)

    def get(self, now: float) -> Answer:
        """Rows 2 and 3."""
        is_first_reader = self._consume_flag()
        if self.locked_since is not None:
            return self._locked(now, action_flags=is_first_reader)
        return Answer(_OK, self.body, action_flags=is_first_reader, timeout_minutes=self.timeout_minutes)

    def acquire(self, now: float) -> Answer:
        """Rows 5 and 6."""
        is_first_reader = self._consume_flag()
        if self.locked_since is not None:
            return self._locked(now, action_flags=is_first_reader)
        self.lock_cookie = self.lock_cookie + 1 if self.lock_cookie < LAST_COOKIE else FIRST_COOKIE + 1
        self.locked_since = now
        return Answer(
            _OK,
            self.body,
            action_flags=is_first_reader,
            lock_cookie=self.lock_cookie,
            timeout_minutes=self.timeout_minutes,
        )

    def release(self, cookie: int | None, now: float) -> Answer:
        """Rows 8 to 11."""
        is_first_reader = self._consume_flag()
        if cookie is None:
            return Answer(Status.BAD_REQUEST, action_flags=is_first_reader)
        if self._is_locked_against(cookie):
            return self._locked(now, action_flags=is_first_reader)
        self.locked_since = None
        return Answer(_OK, action_flags=True) if is_first_reader else OK

    def set(self, head: RequestHead, body: bytes, timeout_minutes: int, now: float) -> Answer:
        """Rows 16 to 19. A new body makes a new record."""
        if self._is_locked_against(head.lock_cookie):
            return self._locked(now)
        if timeout_minutes != self.timeout_minutes:
            # Row 18: the stock server re-creates the item, and its counter becomes what the request carried.
            self.timeout_minutes = timeout_minutes
            self.lock_cookie = NO_COOKIE if head.lock_cookie is None else head.lock_cookie
            self.is_uninitialized = False
        self.record = bytearray(_HEADER.size) + body
        self.locked_since = None
        return OK

    def remove(self, cookie: int | None, now: float) -> Answer:
        """Rows 21 to 23: OK where the table may forget the session."""
        return self._locked(now) if self._is_locked_against(cookie) else OK

    def _is_locked_against(self, cookie: int | None) -> bool:
        return self.locked_since is not None and cookie != self.lock_cookie

    def _consume_flag(self) -> bool:
        """The first get of any kind learns that the session is uninitialized; no later request does."""
        was_uninitialized = self.is_uninitialized
        self.is_uninitialized = False
        return was_uninitialized

    def _locked(self, now: float, *, action_flags: bool = False) -> Answer:
        assert self.locked_since is not None
        return Answer(
            Status.LOCKED,
            action_flags=action_flags,
            lock_age=max(0.0, now - self.locked_since),
            lock_cookie=self.lock_cookie,
        )
