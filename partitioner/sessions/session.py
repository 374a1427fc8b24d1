"""One session and its lock: the rows of protocol.md 6 that concern an item that exists.

Each method is one operation on an unexpired session and answers what a stock server would. Sliding
the expiry is the table's job, since every one of these slides it.
"""

from partitioner.protocol.messages import Answer, RequestHead, Status

FIRST_COOKIE = 1  # counts up before it is handed out, so the first lock has 2 (protocol.md 1, fact 7)
LAST_COOKIE = 2_147_483_645  # a stock server refuses to read greater ones back
NO_COOKIE = -1  # what a request without LockCookie leaves behind in row 18

OK = Answer(Status.OK)
BAD_REQUEST = Answer(Status.BAD_REQUEST)
NOT_FOUND = Answer(Status.NOT_FOUND)


class Session:
    """A session's content, its lock, and when it is forgotten. Kept small: there may be millions."""

    __slots__ = (
        "body",
        "expires_at",
        "is_uninitialized",
        "lock_cookie",
        "locked_since",
        "slot",
        "timeout_minutes",
    )

    def __init__(self, body: bytes, timeout_minutes: int, *, is_uninitialized: bool) -> None:
        self.body = body
        self.timeout_minutes = timeout_minutes
        self.is_uninitialized = is_uninitialized
        self.lock_cookie = FIRST_COOKIE
        self.locked_since: float | None = None
        self.expires_at = 0.0
        self.slot: int | None = None  # where the timer wheel has filed it; nowhere if it never expires

    def get(self, now: float) -> Answer:
        """Rows 2 and 3."""
        is_first_reader = self._consume_flag()
        if self.locked_since is not None:
            return self._locked(now, action_flags=is_first_reader)
        return Answer(
            Status.OK, self.body, action_flags=is_first_reader, timeout_minutes=self.timeout_minutes
        )

    def acquire(self, now: float) -> Answer:
        """Rows 5 and 6."""
        is_first_reader = self._consume_flag()
        if self.locked_since is not None:
            return self._locked(now, action_flags=is_first_reader)
        self.lock_cookie = self.lock_cookie + 1 if self.lock_cookie < LAST_COOKIE else FIRST_COOKIE + 1
        self.locked_since = now
        return Answer(
            Status.OK,
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
        return Answer(Status.OK, action_flags=is_first_reader)

    def set(self, head: RequestHead, body: bytes, timeout_minutes: int, now: float) -> Answer:
        """Rows 16 to 19."""
        if self._is_locked_against(head.lock_cookie):
            return self._locked(now)
        if timeout_minutes != self.timeout_minutes:
            # Row 18: the stock server re-creates the item, and its counter becomes what the request carried.
            self.timeout_minutes = timeout_minutes
            self.lock_cookie = NO_COOKIE if head.lock_cookie is None else head.lock_cookie
            self.is_uninitialized = False
        self.body = body
        self.locked_since = None
        return OK

    def refuse_removal(self, cookie: int | None, now: float) -> Answer | None:
        """Row 23, or None where rows 21 and 22 apply and the table may remove the session."""
        return self._locked(now) if self._is_locked_against(cookie) else None

    def _is_locked_against(self, cookie: int | None) -> bool:
        return self.locked_since is not None and cookie != self.lock_cookie

    def _consume_flag(self) -> bool:
        """The first get of any kind learns that the session is uninitialized; nobody after it."""
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
