"""Sessions in each state of the decision table (protocol.md 6), and what a request makes of them."""

from dataclasses import dataclass, replace

from partitioner.protocol.messages import Answer, Operation, RequestHead, Status
from partitioner.sessions.table import SessionTable

KEY = b"/key"
OLD, NEW = b"old content", b"new"

GET, ACQUIRE, RELEASE = Operation.GET, Operation.ACQUIRE, Operation.RELEASE
SET, CREATE = Operation.SET, Operation.CREATE_UNINITIALIZED
REMOVE, HEAD = Operation.REMOVE, Operation.RESET_TIMEOUT

OK = Answer(Status.OK)
BAD_REQUEST = Answer(Status.BAD_REQUEST)
NOT_FOUND = Answer(Status.NOT_FOUND)

MINUTE = 60.0
AFTER = 100.0
"""When the operation of a row is carried out: this long after the session was made, or locked."""


def ask(
    table: SessionTable,
    now: float,
    operation: Operation,
    *,
    cookie: int | None = None,
    body: bytes = b"",
    timeout: int | None = None,
) -> Answer:
    head = RequestHead(b"", operation, KEY, len(body), timeout_minutes=timeout, lock_cookie=cookie)
    return table.apply(head, KEY, body, now)


@dataclass(frozen=True, slots=True)
class State:
    """What a table can be seen to hold of a session, without changing what is asked here."""

    body: bytes
    timeout_minutes: int
    is_locked: bool
    lock_cookie: int  # the one that the lock has, or that the last lock had
    is_flagged: bool
    expires_at: float


def look(make: "Maker", at: float) -> State | None:
    """Observe a session through its answers, each time on a table made anew; None if there is none.

    Expiry is found exactly: one more instant, and it is gone.
    """
    plain = ask(make(), at, GET)
    if plain.status is Status.NOT_FOUND:
        return None
    is_locked = plain.status is Status.LOCKED
    table = make()
    if is_locked:
        assert plain.lock_cookie is not None
        cookie = plain.lock_cookie
        assert ask(table, at, RELEASE, cookie=cookie).status is Status.OK
        unlocked = ask(table, at, GET)
    else:
        next_cookie = ask(table, at, ACQUIRE).lock_cookie
        assert next_cookie is not None
        cookie = next_cookie - 1
        unlocked = plain
    assert unlocked.timeout_minutes is not None
    return State(
        body=unlocked.body,
        timeout_minutes=unlocked.timeout_minutes,
        is_locked=is_locked,
        lock_cookie=cookie,
        is_flagged=plain.action_flags,
        expires_at=expiry(make, at),
    )


def expiry(make: "Maker", at: float) -> float:
    """The last whole second at which the session is there."""
    for seconds in (
        *(at + minutes * MINUTE for minutes in (20, 30)),
        *(at - AFTER + minutes * MINUTE for minutes in (20, 30)),
    ):
        there = ask(make(), seconds, HEAD).status is Status.OK
        gone = ask(make(), seconds + 0.001, HEAD).status is Status.NOT_FOUND
        if there and gone:
            return seconds
    raise AssertionError("the session does not expire when it should")


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, to be repeated on a table made anew."""

    now: float
    operation: Operation
    cookie: int | None = None
    body: bytes = b""
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Maker:
    """A recipe for a table: what was done to it, from the beginning."""

    steps: tuple[Step, ...] = ()

    def then(
        self,
        now: float,
        operation: Operation,
        *,
        cookie: int | None = None,
        body: bytes = b"",
        timeout: int | None = None,
    ) -> "Maker":
        return Maker((*self.steps, Step(now, operation, cookie, body, timeout)))

    def __call__(self) -> SessionTable:
        table = SessionTable()
        for step in self.steps:
            ask(
                table,
                step.now,
                step.operation,
                cookie=step.cookie,
                body=step.body,
                timeout=step.timeout,
            )
        return table


ABSENT = Maker()
EXPIRED = Maker().then(-1201.0, SET, body=OLD, timeout=20)
UNLOCKED = Maker().then(0.0, SET, body=OLD, timeout=20)
FLAGGED = Maker().then(0.0, CREATE, body=OLD, timeout=20)
LOCKED = UNLOCKED.then(0.0, ACQUIRE)  # with cookie 2

IS_UNLOCKED = State(OLD, 20, is_locked=False, lock_cookie=1, is_flagged=False, expires_at=20 * MINUTE)
IS_FLAGGED = replace(IS_UNLOCKED, is_flagged=True)
IS_LOCKED = replace(IS_UNLOCKED, is_locked=True, lock_cookie=2)

SAYS_LOCKED = Answer(Status.LOCKED, lock_age=AFTER, lock_cookie=2)


def slid(state: State, timeout: int = 20) -> State:
    """The same state with its expiry begun anew."""
    return replace(state, expires_at=AFTER + timeout * MINUTE)


def carry_out(
    before: Maker,
    operation: Operation,
    *,
    cookie: int | None = None,
    body: bytes = b"",
    timeout: int | None = None,
) -> tuple[Answer, State | None]:
    """Carry out one operation; the answer, and what can be seen afterwards."""
    answer = ask(before(), AFTER, operation, cookie=cookie, body=body, timeout=timeout)
    after = before.then(AFTER, operation, cookie=cookie, body=body, timeout=timeout)
    return answer, look(after, AFTER)
