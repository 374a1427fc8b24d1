"""From what this program says to its bytes: protocol.md 3.1 for requests, 5.1 for answers."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Answer, AnswerHead, Operation, RequestHead, Status
from partitioner.protocol.reader import BodyPiece, Event, Reader, answer_reader, request_reader
from partitioner.protocol.target import encode_target, server_key
from partitioner.protocol.writer import REFUSAL, write_answer, write_request
from tests.samples.exchanges import EXCHANGES, Exchange, SampleRequest
from tests.tables import each_case

WRITTEN = [each for each in EXCHANGES if each.asked is not None and each.is_spelt_as_the_client_does]
SAID = [each for each in EXCHANGES if each.said is not None]

WRITES = {Operation.SET, Operation.CREATE_UNINITIALIZED}


def write(asked: SampleRequest) -> bytes:
    return write_request(
        asked.operation,
        asked.target,
        host=asked.host,
        timeout_minutes=asked.timeout_minutes,
        lock_cookie=asked.lock_cookie,
        body=asked.body,
    )


def read_one(reader: Reader[RequestHead] | Reader[AnswerHead], raw: bytes) -> tuple[object, bytes]:
    """Read exactly one message, and nothing after it."""
    reader.feed(raw)
    head, body = reader.next_event(), b""
    while isinstance(piece := reader.next_event(), BodyPiece):
        body += piece.data
    assert (piece, reader.is_between_messages) == (Event.END_OF_MESSAGE, True)
    return head, body


@each_case("exchange", WRITTEN, ids=lambda each: each.name)
def test_example_request_is_written(exchange: Exchange) -> None:
    """A request is written as the real client spells it, byte for byte (protocol.md 3.1, 13)."""
    assert exchange.asked is not None

    assert exchange.request == write(exchange.asked)


@each_case("exchange", SAID, ids=lambda each: each.name)
def test_example_answer_is_written(exchange: Exchange) -> None:
    """An answer is written as a stock server does, byte for byte (protocol.md 5.1, 13)."""
    assert exchange.said is not None

    assert exchange.answer == write_answer(exchange.said, exchange.local_ticks)


def test_refusal() -> None:
    """A malformed request gets a 400 of the form of protocol.md 5.1 (3.3)."""
    expected = (
        b"400 Bad Request\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n"
    )

    assert expected == REFUSAL


def test_action_flags_come_before_the_lock() -> None:
    """ActionFlags stands before LockDate, LockAge and LockCookie, in this order (protocol.md 5.1)."""
    answer = Answer(Status.LOCKED, action_flags=True, lock_age=2.0, lock_cookie=5)

    expected = (
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"ActionFlags: 1\r\n"
        b"LockDate: 30000000\r\n"
        b"LockAge: 2\r\n"
        b"LockCookie: 5\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n"
    )

    assert expected == write_answer(answer, local_ticks=50_000_000)


@each_case(
    ("age", "written"),
    [
        (0.0, b"0"),
        (0.999, b"0"),
        (1.0, b"1"),
        (109.999, b"109"),
        (31_535_999.0, b"31535999"),
        (31_536_000.0, b"31535999"),
        (1e12, b"31535999"),
    ],
)
def test_lock_age_is_whole_seconds_below_a_year(age: float, written: bytes) -> None:
    """The client takes a year and more for 0, so LockAge stops short of it (protocol.md 14, A13)."""
    lines = write_answer(Answer(Status.LOCKED, lock_age=age, lock_cookie=2)).split(b"\r\n")

    assert b"LockAge: " + written in lines


def test_lock_date_is_when_the_lock_was_taken() -> None:
    """LockDate is in 100 ns, and exact where LockAge is cut to seconds (protocol.md 5.1)."""
    answer = Answer(Status.LOCKED, lock_age=1.5, lock_cookie=2)

    assert b"LockDate: 638456778001234560" in write_answer(answer, 638_456_778_016_234_560).split(b"\r\n")


_targets = st.text(min_size=1, max_size=80).filter(lambda text: text.isprintable()).map(encode_target)
_numbers = st.integers(min_value=0, max_value=2_147_483_646)
_asked = st.builds(
    SampleRequest,
    operation=st.sampled_from(Operation),
    target=_targets,
    timeout_minutes=_numbers,
    lock_cookie=st.none() | _numbers,
    body=st.binary(min_size=1, max_size=100),
)


@given(asked=_asked, dialect=st.sampled_from(Dialect))
def test_request_is_read_back(asked: SampleRequest, dialect: Dialect) -> None:
    """Whatever is written is read back the same, in every dialect."""
    if asked.operation not in WRITES:
        asked = replace(asked, body=b"", timeout_minutes=None)
    raw = write(asked)
    expected = RequestHead(
        raw=raw.removesuffix(asked.body),
        operation=asked.operation,
        target=asked.target,
        content_length=len(asked.body),
        timeout_minutes=asked.timeout_minutes,
        lock_cookie=asked.lock_cookie,
    )

    assert (expected, asked.body) == read_one(request_reader(dialect), raw)


@given(
    status=st.sampled_from(Status),
    body=st.binary(max_size=100),
    action_flags=st.booleans(),
    lock_age=st.none() | st.floats(0, 1e9),
    lock_cookie=st.none() | _numbers,
    timeout_minutes=st.none() | _numbers,
)
def test_answer_is_read_back(
    status: Status,
    body: bytes,
    action_flags: bool,
    lock_age: float | None,
    lock_cookie: int | None,
    timeout_minutes: int | None,
) -> None:
    """Whatever is answered is framed and read back the same."""
    answer = Answer(status, body, action_flags, lock_age, lock_cookie, timeout_minutes)
    raw = write_answer(answer, local_ticks=638_456_778_001_234_560)
    expected = AnswerHead(raw.removesuffix(body) if body else raw, status.code, len(body), lock_cookie)

    assert (expected, body) == read_one(answer_reader(Operation.GET), raw)


@given(key=st.text(max_size=80))
def test_encoded_key_is_decoded_to_itself(key: str) -> None:
    """A target is the encoded key, and no other server's key (protocol.md 4.1, 4.2)."""
    assert key.encode() == server_key(encode_target(key))
