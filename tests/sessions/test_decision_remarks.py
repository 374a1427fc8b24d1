"""The remarks below the decision table of protocol.md 6, and the examples as one story."""

import pytest

from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Answer, Operation, RequestHead, Status
from partitioner.protocol.reader import BodyPiece, request_reader
from partitioner.protocol.target import server_key
from partitioner.protocol.writer import write_answer
from partitioner.sessions.table import SessionTable
from tests.samples.exchanges import EXCHANGES, Exchange
from tests.sessions.states import (
    ACQUIRE,
    CREATE,
    FLAGGED,
    GET,
    LOCKED,
    NEW,
    NOT_FOUND,
    OLD,
    RELEASE,
    REMOVE,
    SET,
    UNLOCKED,
    Maker,
    ask,
)

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
