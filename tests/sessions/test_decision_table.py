"""The decision table of protocol.md 6, row by row, and the remarks below it.

Every test puts one session into the state of its row, carries out one operation, and looks at all the
columns: status and fields in the answer; bytes, lock, cookie, flag and expiry in what is left behind.
"""

from dataclasses import dataclass, replace

import pytest

from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Answer, Operation, RequestHead, Status
from partitioner.protocol.reader import BodyPiece, request_reader
from partitioner.protocol.target import server_key
from partitioner.protocol.writer import write_answer
from partitioner.sessions.table import SessionTable
from tests.samples.exchanges import EXCHANGES, Exchange

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


@pytest.mark.parametrize(
    ("made", "state"), [(UNLOCKED, IS_UNLOCKED), (FLAGGED, IS_FLAGGED), (LOCKED, IS_LOCKED)]
)
def test_the_states_to_begin_with(made: Maker, state: State) -> None:
    """The recipes make the states that the rows begin with."""
    assert replace(state, expires_at=20 * MINUTE) == look(made, 0.0)


# --- GET --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [ABSENT, EXPIRED])
def test_row_1_get_absent(absent: Maker) -> None:
    """404, and nothing else; an expired session is an absent one."""
    assert carry_out(absent, GET) == (NOT_FOUND, None)


def test_row_2_get_unlocked() -> None:
    """200 with the content and Timeout; the expiry slides."""
    answer = Answer(Status.OK, OLD, timeout_minutes=20)

    assert (answer, slid(IS_UNLOCKED)) == carry_out(UNLOCKED, GET)


def test_row_2_get_flagged() -> None:
    """The first get is told of the flag, and clears it."""
    answer = Answer(Status.OK, OLD, action_flags=True, timeout_minutes=20)

    assert (answer, slid(IS_UNLOCKED)) == carry_out(FLAGGED, GET)


def test_row_3_get_locked() -> None:
    """423 with the lock's age and cookie and no content; only the expiry slides."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, GET)


# --- acquire ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [ABSENT, EXPIRED])
def test_row_4_acquire_absent(absent: Maker) -> None:
    """404; no lock is left behind."""
    assert carry_out(absent, ACQUIRE) == (NOT_FOUND, None)


def test_row_5_acquire_unlocked() -> None:
    """200 with content, the next cookie and Timeout; locked from now on."""
    answer = Answer(Status.OK, OLD, lock_cookie=2, timeout_minutes=20)

    assert (answer, slid(IS_LOCKED)) == carry_out(UNLOCKED, ACQUIRE)


def test_row_5_acquire_flagged() -> None:
    """Flag and cookie come together, and the flag is cleared."""
    answer = Answer(Status.OK, OLD, action_flags=True, lock_cookie=2, timeout_minutes=20)

    assert (answer, slid(IS_LOCKED)) == carry_out(FLAGGED, ACQUIRE)


def test_row_5_lock_date_is_now() -> None:
    """The lock's age counts from the acquire, not from the session's beginning."""
    table = UNLOCKED()
    ask(table, 30.0, ACQUIRE)

    assert ask(table, 37.5, GET).lock_age == 7.5


def test_row_6_acquire_locked() -> None:
    """423 to everybody, its owner included, because the request carries no cookie."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, ACQUIRE)


def test_row_6_lock_date_stays() -> None:
    """Being asked for does not make a lock younger."""
    table = LOCKED()
    ask(table, 5.0, ACQUIRE)

    assert ask(table, 9.0, ACQUIRE).lock_age == 9.0


# --- release ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [ABSENT, EXPIRED])
@pytest.mark.parametrize("cookie", [None, 2])
def test_row_7_release_absent(absent: Maker, cookie: int | None) -> None:
    """404, with a cookie and without."""
    assert carry_out(absent, RELEASE, cookie=cookie) == (NOT_FOUND, None)


@pytest.mark.parametrize(("made", "state"), [(UNLOCKED, IS_UNLOCKED), (LOCKED, IS_LOCKED)])
def test_row_8_release_without_cookie(made: Maker, state: State) -> None:
    """400, and the lock stays; the expiry slides nevertheless."""
    assert (BAD_REQUEST, slid(state)) == carry_out(made, RELEASE)


def test_row_8_release_without_cookie_flagged() -> None:
    """The flag has been consumed before the request is found to be bad."""
    answer = Answer(Status.BAD_REQUEST, action_flags=True)

    assert (answer, slid(IS_UNLOCKED)) == carry_out(FLAGGED, RELEASE)


@pytest.mark.parametrize("cookie", [0, 1, 2, 999])
def test_row_9_release_unlocked(cookie: int) -> None:
    """200 whatever the cookie: it is not compared."""
    assert (OK, slid(IS_UNLOCKED)) == carry_out(UNLOCKED, RELEASE, cookie=cookie)


def test_row_9_release_flagged() -> None:
    """The one-shot signal is lost on a release."""
    answer = Answer(Status.OK, action_flags=True)

    assert (answer, slid(IS_UNLOCKED)) == carry_out(FLAGGED, RELEASE, cookie=1)


def test_row_10_release_with_the_locks_cookie() -> None:
    """200, unlocked, and the counter stays where it is."""
    assert (OK, slid(replace(IS_LOCKED, is_locked=False))) == carry_out(LOCKED, RELEASE, cookie=2)


@pytest.mark.parametrize("cookie", [0, 1, 3])
def test_row_11_release_with_another_cookie(cookie: int) -> None:
    """423 with the lock's age and cookie; the lock stays."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, RELEASE, cookie=cookie)


# --- PUT --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [SET, CREATE])
@pytest.mark.parametrize("cookie", [None, 2])
@pytest.mark.parametrize(
    ("made", "state"),
    [(ABSENT, None), (UNLOCKED, IS_UNLOCKED), (FLAGGED, IS_FLAGGED), (LOCKED, IS_LOCKED)],
)
def test_row_12_put_above_a_year(
    made: Maker, state: State | None, cookie: int | None, operation: Operation
) -> None:
    """400 before the lookup: nothing is stored, nothing changes, and the expiry does not slide."""
    assert (BAD_REQUEST, state) == carry_out(made, operation, cookie=cookie, body=NEW, timeout=525_601)


def test_row_12_a_year_is_not_above_a_year() -> None:
    """525600 minutes are the longest time-out (protocol.md 7)."""
    table = SessionTable()

    assert (
        ask(table, 0.0, SET, body=NEW, timeout=525_600),
        ask(table, 0.0, GET).timeout_minutes,
    ) == (OK, 525_600)


@pytest.mark.parametrize("absent", [ABSENT, EXPIRED])
@pytest.mark.parametrize("cookie", [None, 0, 12345])
def test_row_13_set_absent(absent: Maker, cookie: int | None) -> None:
    """200, stored and unlocked with the cookie 1, whatever the request's cookie."""
    made = slid(State(NEW, 30, is_locked=False, lock_cookie=1, is_flagged=False, expires_at=0.0), 30)

    assert (OK, made) == carry_out(absent, SET, cookie=cookie, body=NEW, timeout=30)


@pytest.mark.parametrize("absent", [ABSENT, EXPIRED])
@pytest.mark.parametrize("cookie", [None, 0, 12345])
def test_row_14_create_absent(absent: Maker, cookie: int | None) -> None:
    """The same with the flag set, to be told of once."""
    made = slid(State(NEW, 30, is_locked=False, lock_cookie=1, is_flagged=True, expires_at=0.0), 30)

    assert (OK, made) == carry_out(absent, CREATE, cookie=cookie, body=NEW, timeout=30)


@pytest.mark.parametrize("timeout", [None, 20, 30])
@pytest.mark.parametrize("cookie", [None, 0, 2])
@pytest.mark.parametrize(
    ("made", "state"), [(UNLOCKED, IS_UNLOCKED), (FLAGGED, IS_FLAGGED), (LOCKED, IS_LOCKED)]
)
def test_row_15_create_present(made: Maker, state: State, cookie: int | None, timeout: int | None) -> None:
    """200 and a no-op in any lock state, with any cookie; the expiry slides by the session's time-out."""
    assert (OK, slid(state)) == carry_out(made, CREATE, cookie=cookie, body=NEW, timeout=timeout)


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("cookie", [None, 0, 1, 12345])
@pytest.mark.parametrize(("made", "state"), [(UNLOCKED, IS_UNLOCKED), (FLAGGED, IS_FLAGGED)])
def test_row_16_set_unlocked(made: Maker, state: State, cookie: int | None, timeout: int | None) -> None:
    """200 and replaced, with any cookie or none; counter and flag stay. No Timeout means 20 minutes."""
    after = slid(replace(state, body=NEW))

    assert (OK, after) == carry_out(made, SET, cookie=cookie, body=NEW, timeout=timeout)


def test_row_17_set_with_the_locks_cookie() -> None:
    """200, replaced and unlocked; the counter stays."""
    after = slid(replace(IS_LOCKED, body=NEW, is_locked=False))

    assert (OK, after) == carry_out(LOCKED, SET, cookie=2, body=NEW, timeout=20)


@pytest.mark.parametrize(("made", "cookie"), [(UNLOCKED, 0), (UNLOCKED, 7), (FLAGGED, 7), (LOCKED, 2)])
def test_row_18_set_with_another_timeout(made: Maker, cookie: int) -> None:
    """200 and created anew: the counter becomes the request's cookie, the flag the request's flag."""
    after = slid(State(NEW, 30, is_locked=False, lock_cookie=cookie, is_flagged=False, expires_at=0.0), 30)

    assert (OK, after) == carry_out(made, SET, cookie=cookie, body=NEW, timeout=30)


@pytest.mark.parametrize("made", [UNLOCKED, FLAGGED])
def test_row_18_set_with_another_timeout_and_no_cookie(made: Maker) -> None:
    """Without a cookie the counter becomes -1, so that the next lock has 0 (protocol.md 14, A20)."""
    after = slid(State(NEW, 30, is_locked=False, lock_cookie=-1, is_flagged=False, expires_at=0.0), 30)

    assert (OK, after) == carry_out(made, SET, body=NEW, timeout=30)


def test_row_18_set_without_timeout_on_a_longer_session() -> None:
    """No Timeout means 20 minutes, and that is another one than 30 (protocol.md 7)."""
    thirty = Maker().then(0.0, SET, body=OLD, timeout=30)
    after = slid(State(NEW, 20, is_locked=False, lock_cookie=5, is_flagged=False, expires_at=0.0))

    assert (OK, after) == carry_out(thirty, SET, cookie=5, body=NEW)


@pytest.mark.parametrize("timeout", [None, 20, 30])
@pytest.mark.parametrize("cookie", [None, 0, 1, 3])
def test_row_19_set_with_another_cookie(cookie: int | None, timeout: int | None) -> None:
    """423, and everything stays but the expiry, which slides by its own time-out."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, SET, cookie=cookie, body=NEW, timeout=timeout)


# --- DELETE -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [ABSENT, EXPIRED])
@pytest.mark.parametrize("cookie", [None, 2])
def test_row_20_delete_absent(absent: Maker, cookie: int | None) -> None:
    """404, with a cookie and without."""
    assert carry_out(absent, REMOVE, cookie=cookie) == (NOT_FOUND, None)


@pytest.mark.parametrize("cookie", [None, 0, 1, 999])
@pytest.mark.parametrize("made", [UNLOCKED, FLAGGED])
def test_row_21_delete_unlocked(made: Maker, cookie: int | None) -> None:
    """200 and gone, with any cookie or none; ActionFlags is for gets."""
    assert carry_out(made, REMOVE, cookie=cookie) == (OK, None)


def test_row_22_delete_with_the_locks_cookie() -> None:
    """200 and gone."""
    assert carry_out(LOCKED, REMOVE, cookie=2) == (OK, None)


@pytest.mark.parametrize("cookie", [None, 0, 1, 3])
def test_row_23_delete_with_another_cookie(cookie: int | None) -> None:
    """423, and everything stays but the expiry."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, REMOVE, cookie=cookie)


# --- HEAD -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [ABSENT, EXPIRED])
def test_row_24_head_absent(absent: Maker) -> None:
    """404."""
    assert carry_out(absent, HEAD) == (NOT_FOUND, None)


@pytest.mark.parametrize(
    ("made", "state"), [(UNLOCKED, IS_UNLOCKED), (FLAGGED, IS_FLAGGED), (LOCKED, IS_LOCKED)]
)
def test_row_25_head_present(made: Maker, state: State) -> None:
    """200 in any lock state, without content and without touching the flag; the expiry slides."""
    assert (OK, slid(state)) == carry_out(made, HEAD)


# --- Remarks ----------------------------------------------------------------------------------------


def test_first_lock_of_a_new_session_has_2() -> None:
    """The counter starts at 1 and is increased first (protocol.md 1, fact 7)."""
    assert ask(UNLOCKED(), 0.0, ACQUIRE).lock_cookie == 2


def test_every_lock_has_the_next_cookie() -> None:
    """The counter survives release and a PUT with the same time-out (protocol.md 6, remarks)."""
    table = UNLOCKED()
    cookies = []
    for _ in range(3):
        cookies.append(ask(table, 0.0, ACQUIRE).lock_cookie)
        ask(table, 0.0, RELEASE, cookie=cookies[-1])
        cookies.append(ask(table, 0.0, ACQUIRE).lock_cookie)
        ask(table, 0.0, SET, cookie=cookies[-1], body=NEW, timeout=20)

    assert cookies == [2, 3, 4, 5, 6, 7]


def test_counter_begins_anew_with_a_new_session() -> None:
    """The counter is reset when the session is created again (protocol.md 6, remarks)."""
    table = LOCKED()
    ask(table, 0.0, REMOVE, cookie=2)
    ask(table, 0.0, SET, body=NEW, timeout=20)

    assert ask(table, 0.0, ACQUIRE).lock_cookie == 2


def test_flag_is_told_once() -> None:
    """Rows 2 and 5 answer with ActionFlags once (protocol.md 6, remarks)."""
    table = FLAGGED()

    assert [ask(table, 0.0, GET).action_flags for _ in range(2)] == [True, False]


@pytest.mark.parametrize("last", [2_147_483_645, 2_147_483_646])
def test_cookie_wraps_to_2(last: int) -> None:
    """Before the counter outgrows what can be read back, it goes on from 2 (protocol.md 6, remarks)."""
    table = UNLOCKED()
    ask(table, 0.0, SET, cookie=last, body=NEW, timeout=30)

    assert ask(table, 0.0, ACQUIRE).lock_cookie == 2


def test_wrapped_cookie_goes_on_counting() -> None:
    """After the wrap it is a counter as before (protocol.md 6, remarks)."""
    table = UNLOCKED()
    ask(table, 0.0, SET, cookie=2_147_483_645, body=NEW, timeout=30)
    ask(table, 0.0, ACQUIRE)
    ask(table, 0.0, RELEASE, cookie=2)

    assert ask(table, 0.0, ACQUIRE).lock_cookie == 3


def test_every_cookie_can_be_read_back() -> None:
    """No cookie is handed out that a request could not carry: 0 to 2147483646 (protocol.md 3.2)."""
    table = UNLOCKED()
    ask(table, 0.0, SET, cookie=2_147_483_640, body=NEW, timeout=30)
    cookies = []
    for _ in range(8):
        cookies.append(ask(table, 0.0, ACQUIRE).lock_cookie or 0)
        ask(table, 0.0, RELEASE, cookie=cookies[-1])

    assert all(0 <= cookie <= 2_147_483_646 for cookie in cookies)
    assert len(set(cookies)) == 8


@pytest.mark.parametrize("operation", [SET, CREATE])
def test_timeout_0_never_expires(operation: Operation) -> None:
    """A time-out of 0 means never, as in the stock server (protocol.md 6, remarks)."""
    table = SessionTable()
    ask(table, 0.0, operation, body=NEW, timeout=0)

    assert ask(table, 1e9, GET).status is Status.OK


def test_timeout_0_is_told_as_it_is() -> None:
    """Timeout in an answer is the time-out as stored (protocol.md 5.1)."""
    table = SessionTable()
    ask(table, 0.0, SET, body=NEW, timeout=0)

    assert ask(table, 1.0, GET).timeout_minutes == 0


def test_lock_does_not_expire() -> None:
    """A lock ends with a release or with its session, never by itself (protocol.md 6, remarks)."""
    table = Maker().then(0.0, SET, body=OLD, timeout=525_600).then(0.0, ACQUIRE)()

    assert ask(table, 1_000_000.0, ACQUIRE) == Answer(Status.LOCKED, lock_age=1_000_000.0, lock_cookie=2)


def test_a_locked_session_expires_like_any_other() -> None:
    """A lock keeps nothing alive (protocol.md 6, row 1)."""
    assert ask(LOCKED(), 1_200.5, GET) == NOT_FOUND


def test_lock_age_is_never_negative() -> None:
    """LockAge is at least 0, whatever the clock does (protocol.md 10.2.6)."""
    table = LOCKED()

    assert ask(table, -3.0, GET).lock_age == 0.0


def test_keys_are_independent() -> None:
    """What is done to one session is done to no other (protocol.md 4.2)."""
    table = LOCKED()
    head = RequestHead(b"", GET, b"/other")

    assert table.apply(head, b"/other", b"", 0.0) == NOT_FOUND


def test_keys_compare_with_regard_to_case() -> None:
    """The decoded key is compared case-sensitively (protocol.md 4.2)."""
    assert UNLOCKED().apply(RequestHead(b"", GET, b"/Key"), b"/Key", b"", 0.0) == NOT_FOUND


# --- The examples, as one story ---------------------------------------------------------------------

LOCKED_AT = 638_456_778_001_234_560
"""When the first lock of the story was taken, in local ticks."""

SECONDS_INTO_THE_STORY = {
    "X4": 3.0,
    "X5": 4.0,
    "X9": 9.0,
    "X17": 10.0,
    "X18": 12.0,
    "X22": 14.0,
}
"""When each step happens, as their lock dates and ages tell; those between happen with the one before."""

STORY = [
    exchange
    for exchange in EXCHANGES
    if exchange.asked is not None and exchange.name not in {"X41", "X42", "X43", "X44", "X45"}
]


def replay(story: list[Exchange]) -> list[bytes]:
    """Read the requests of a story and answer each from one table, all in bytes."""
    table = SessionTable()
    answers = []
    now = 0.0
    for exchange in story:
        now = SECONDS_INTO_THE_STORY.get(exchange.name, now)
        reader = request_reader(Dialect.STOCK)
        reader.feed(exchange.request)
        head = reader.next_event()
        assert isinstance(head, RequestHead)
        piece = reader.next_event()
        body = piece.data if isinstance(piece, BodyPiece) else b""
        answer = table.apply(head, server_key(head.target), body, now)
        answers.append(write_answer(answer, LOCKED_AT + int(now) * 10_000_000))
    return answers


def test_the_story_of_the_examples() -> None:
    """Replayed from X1 to X40, the examples of protocol.md 13 are answered byte for byte."""
    expected = {exchange.name: exchange.answer for exchange in STORY}

    assert expected == dict(zip(expected, replay(STORY), strict=True))
