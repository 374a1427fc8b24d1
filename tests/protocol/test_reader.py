"""From bytes in any pieces to the events of their messages."""

from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.errors import MalformedAnswer, MalformedRequest
from partitioner.protocol.grammar import Dialect, parse_answer_head, parse_request_head
from partitioner.protocol.messages import AnswerHead, Operation, RequestHead
from partitioner.protocol.reader import BodyPiece, Event, Reader, answer_reader, request_reader
from tests.samples.exchanges import ANSWERED, EXCHANGES, READABLE, REFUSED, Exchange
from tests.tables import each_case

Message = tuple[RequestHead | AnswerHead, bytes]
AnyReader = Reader[RequestHead] | Reader[AnswerHead]

MAX_HEAD = 10_240

STOCK_READER: Callable[[], AnyReader] = lambda: request_reader(Dialect.STOCK)  # noqa: E731


def read(reader: AnyReader, pieces: Iterable[bytes]) -> list[Message]:
    """Feed the pieces one by one, asking for all events after each; the messages that came out whole."""
    messages: list[Message] = []
    head: RequestHead | AnswerHead | None = None
    body = b""
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next_event()) is not Event.NEED_DATA:
            match event:
                case BodyPiece(data):
                    assert data, "a piece of a body is never empty"
                    body += data
                case Event():
                    assert head is not None
                    messages.append((head, body))
                    head, body = None, b""
                case _:
                    assert head is None, "a message ends before the next one begins"
                    head = event
    return messages


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def in_two(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    return ((data[:index], data[index:]) for index in range(len(data) + 1))


def request_of(exchange: Exchange) -> Message:
    """The message that the request of an exchange is to be read as."""
    assert exchange.asked is not None
    body = exchange.asked.body
    return parse_request_head(exchange.request.removesuffix(body), Dialect.STOCK), body


def answer_of(exchange: Exchange) -> Message:
    """The message that the answer of an exchange is to be read as."""
    body = exchange.said.body if exchange.said is not None else b""
    return parse_answer_head(exchange.answer.removesuffix(body)), body


def reader_for_answer(exchange: Exchange) -> AnyReader:
    return answer_reader(exchange.asked.operation if exchange.asked is not None else Operation.GET)


each_request = each_case("exchange", READABLE, ids=lambda each: each.name)
each_answer = each_case("exchange", ANSWERED, ids=lambda each: each.name)


# --- In whatever pieces -----------------------------------------------------------------------------


@each_request
def test_request_fed_whole(exchange: Exchange) -> None:
    """A request that arrives in one piece is one message (protocol.md 13)."""
    assert [request_of(exchange)] == read(STOCK_READER(), [exchange.request])


@each_request
def test_request_fed_byte_by_byte(exchange: Exchange) -> None:
    """A request that arrives byte by byte is the same message (protocol.md 13)."""
    assert [request_of(exchange)] == read(STOCK_READER(), byte_by_byte(exchange.request))


@each_request
def test_request_fed_at_every_split(exchange: Exchange) -> None:
    """Where a request is cut in two makes no difference (protocol.md 13)."""
    for pieces in in_two(exchange.request):
        assert [request_of(exchange)] == read(STOCK_READER(), pieces)


@each_answer
def test_answer_fed_whole(exchange: Exchange) -> None:
    """An answer that arrives in one piece is one message (protocol.md 13)."""
    assert [answer_of(exchange)] == read(reader_for_answer(exchange), [exchange.answer])


@each_answer
def test_answer_fed_byte_by_byte(exchange: Exchange) -> None:
    """An answer that arrives byte by byte is the same message (protocol.md 13)."""
    assert [answer_of(exchange)] == read(reader_for_answer(exchange), byte_by_byte(exchange.answer))


@each_answer
def test_answer_fed_at_every_split(exchange: Exchange) -> None:
    """Where an answer is cut in two makes no difference (protocol.md 13)."""
    for pieces in in_two(exchange.answer):
        assert [answer_of(exchange)] == read(reader_for_answer(exchange), pieces)


@each_case("exchange", REFUSED, ids=lambda each: each.name)
def test_refused_request_is_refused_at_every_split(exchange: Exchange) -> None:
    """What is refused whole is refused in pieces, and nothing is said of it before (protocol.md 13)."""
    for pieces in in_two(exchange.request):
        with pytest.raises(MalformedRequest):
            read(STOCK_READER(), pieces)


def test_pipelined_requests_fed_whole() -> None:
    """Bytes that follow a complete request are the next request (protocol.md 2; X34)."""
    expected = [request_of(exchange) for exchange in READABLE]

    assert expected == read(STOCK_READER(), [b"".join(exchange.request for exchange in READABLE)])


def test_pipelined_requests_fed_byte_by_byte() -> None:
    """So it is in whatever pieces they arrive (protocol.md 2)."""
    expected = [request_of(exchange) for exchange in READABLE]

    assert expected == read(STOCK_READER(), byte_by_byte(b"".join(each.request for each in READABLE)))


def test_pipelined_requests_fed_at_every_split() -> None:
    """And wherever the stream is cut (protocol.md 2): here two with content and two without."""
    story = [exchange for exchange in EXCHANGES if exchange.name in {"X2", "X5", "X25", "X34a"}]
    expected = [request_of(exchange) for exchange in story]

    for pieces in in_two(b"".join(exchange.request for exchange in story)):
        assert expected == read(STOCK_READER(), pieces)


def test_pipelined_answers_fed_byte_by_byte() -> None:
    """Answers are told from each other by their lengths alone (protocol.md 10.1.3)."""
    expected = [answer_of(exchange) for exchange in ANSWERED]
    stream = b"".join(exchange.answer for exchange in ANSWERED)

    assert expected == read(answer_reader(Operation.GET), byte_by_byte(stream))


def test_content_may_look_like_a_request() -> None:
    """Content is opaque: nothing in it is looked for (protocol.md 9)."""
    content = b"\r\n\r\nGET /key HTTP/1.1\r\n\r\n"
    head = b"PUT /key HTTP/1.1\r\nContent-Length:%d\r\n\r\n" % len(content)
    expected = [(parse_request_head(head, Dialect.STOCK), content)]

    for pieces in in_two(head + content):
        assert expected == read(STOCK_READER(), pieces)


# --- The events themselves --------------------------------------------------------------------------


def test_events_of_a_request_with_content() -> None:
    """A message is its head, pieces of its body as they are there, and its end."""
    head = b"PUT /key HTTP/1.1\r\nContent-Length:4\r\n\r\n"
    reader = request_reader(Dialect.STOCK)
    reader.feed(head + b"ti")
    events = [reader.next_event() for _ in range(3)]
    reader.feed(b"ny")
    events += [reader.next_event() for _ in range(3)]

    assert [
        parse_request_head(head, Dialect.STOCK),
        BodyPiece(b"ti"),
        Event.NEED_DATA,
        BodyPiece(b"ny"),
        Event.END_OF_MESSAGE,
        Event.NEED_DATA,
    ] == events


def test_events_of_a_request_without_content() -> None:
    """A message without content ends with its head."""
    raw = b"GET /key HTTP/1.1\r\n\r\n"
    reader = request_reader(Dialect.STOCK)
    reader.feed(raw)
    events = [reader.next_event() for _ in range(3)]

    assert [parse_request_head(raw, Dialect.STOCK), Event.END_OF_MESSAGE, Event.NEED_DATA] == events


def test_content_is_not_mixed_with_the_next_request() -> None:
    """The last piece of a body stops where the body does."""
    head = b"PUT /key HTTP/1.1\r\nContent-Length:4\r\n\r\n"
    reader = request_reader(Dialect.STOCK)
    reader.feed(head + b"tinyGET /key HTTP/1.1\r\n\r\n")
    reader.next_event()

    assert BodyPiece(b"tiny") == reader.next_event()


def test_answer_to_a_head_has_no_body() -> None:
    """HEAD answers have no body, whatever length they claim (protocol.md 10.1.3)."""
    reader = answer_reader(Operation.RESET_TIMEOUT)

    messages = read(reader, [b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"])

    assert [
        (head.status, head.content_length, body) for head, body in messages if isinstance(head, AnswerHead)
    ] == [(200, 0, b"")]


@pytest.mark.parametrize("dialect", [Dialect.STOCK, Dialect.LIBERAL])
def test_reader_speaks_its_dialect(dialect: Dialect) -> None:
    """A reader refuses by the rules of the dialect that it was made for."""
    raw = b"GET /key HTTP/1.1\r\nexclusive: acquire\r\n\r\n"

    assert [(parse_request_head(raw, dialect), b"")] == read(request_reader(dialect), [raw])


def test_guarded_reader_refuses_more() -> None:
    """The router's reader refuses a known field in an odd spelling (design.md 6.1)."""
    with pytest.raises(MalformedRequest):
        read(request_reader(Dialect.GUARDED), [b"GET /key HTTP/1.1\r\nexclusive: acquire\r\n\r\n"])


def test_malformed_answer_is_refused() -> None:
    """What a backend sends that is no answer is its fault, and named so."""
    with pytest.raises(MalformedAnswer):
        read(answer_reader(Operation.GET), [b"garbage\r\n\r\n"])


# --- Where a connection may end ---------------------------------------------------------------------


def test_a_connection_may_end_between_messages_only() -> None:
    """Before the first byte of a message and after its last one, and nowhere between."""
    raw = b"PUT /key HTTP/1.1\r\nContent-Length:4\r\n\r\ntiny"
    reader = request_reader(Dialect.STOCK)
    seen = [reader.is_between_messages]
    for byte in byte_by_byte(raw):
        reader.feed(byte)
        while reader.next_event() is not Event.NEED_DATA:
            pass
        seen.append(reader.is_between_messages)

    assert [True] + [False] * (len(raw) - 1) + [True] == seen


def test_a_message_is_not_over_before_its_end_was_told() -> None:
    """A head without content is followed by the end of its message, which the caller has yet to hear of."""
    reader = request_reader(Dialect.STOCK)
    reader.feed(b"GET /key HTTP/1.1\r\n\r\n")
    reader.next_event()
    before = reader.is_between_messages
    reader.next_event()

    assert (before, reader.is_between_messages) == (False, True)


def test_a_pipelined_byte_begins_the_next_message() -> None:
    """With a byte of the next request in the buffer, the connection is not between messages."""
    reader = request_reader(Dialect.STOCK)
    read(reader, [b"GET /key HTTP/1.1\r\n\r\nG"])

    assert not reader.is_between_messages


# --- How long a head may be -------------------------------------------------------------------------

READERS: list[tuple[Callable[[], AnyReader], bytes, type[Exception]]] = [
    (STOCK_READER, b"GET /key HTTP/1.1", MalformedRequest),
    (lambda: answer_reader(Operation.GET), b"200 OK\r\nContent-Length: 0", MalformedAnswer),
]

each_role = pytest.mark.parametrize(("make", "start", "malformed"), READERS, ids=["request", "answer"])


def head_of(start: bytes, length: int) -> bytes:
    """A head of exactly this many bytes, its empty line included."""
    filled = start + b"\r\nX-Filler: "
    return filled + b"x" * (length - len(filled) - 4) + b"\r\n\r\n"


def cuts(length: int) -> list[int]:
    """Where to cut a long head in two: near its ends, near the limit, and in the middle."""
    return [*range(1, 6), 1024, length // 2, *range(MAX_HEAD - 6, length)]


def thirds(data: bytes) -> Iterator[list[bytes]]:
    """A head in three pieces, both cuts near its end."""
    near_end = range(len(data) - 6, len(data))
    return ([data[:a], data[a:b], data[b:]] for a in near_end for b in near_end if a < b)


@each_role
def test_longest_head_passes(make: Callable[[], AnyReader], start: bytes, malformed: type[Exception]) -> None:
    """A head of 10,240 bytes is taken, however it arrives (protocol.md 3.2)."""
    head = head_of(start, MAX_HEAD)
    ways = [
        [head],
        list(byte_by_byte(head)),
        *([head[:cut], head[cut:]] for cut in cuts(MAX_HEAD)),
        *thirds(head),
    ]

    assert [1] * len(ways) == [len(read(make(), pieces)) for pieces in ways]


@each_role
def test_longer_head_is_refused(
    make: Callable[[], AnyReader], start: bytes, malformed: type[Exception]
) -> None:
    """A head of 10,241 bytes is refused, however it arrives (protocol.md 3.2)."""
    head = head_of(start, MAX_HEAD + 1)
    ways = [
        [head],
        list(byte_by_byte(head)),
        *([head[:cut], head[cut:]] for cut in cuts(MAX_HEAD + 1)),
        *thirds(head),
    ]

    for pieces in ways:
        with pytest.raises(malformed):
            read(make(), pieces)


@each_role
def test_endless_head_is_refused_at_the_limit(
    make: Callable[[], AnyReader], start: bytes, malformed: type[Exception]
) -> None:
    """A head that does not end is given up once it cannot be short enough (protocol.md 3.2)."""
    endless = start + b"\r\nX-Filler: " + b"x" * MAX_HEAD
    reader = make()
    reader.feed(endless[: MAX_HEAD - 1])
    before = reader.next_event()
    reader.feed(endless[MAX_HEAD - 1 : MAX_HEAD])

    assert before is Event.NEED_DATA
    with pytest.raises(malformed):
        reader.next_event()


def test_a_short_head_with_long_content_passes() -> None:
    """The limit is the head's: content that arrives with it does not count (protocol.md 3.2)."""
    content = b"x" * (3 * MAX_HEAD)
    raw = b"PUT /key HTTP/1.1\r\nContent-Length:%d\r\n\r\n" % len(content)

    assert [content] == [body for _, body in read(STOCK_READER(), [raw + content])]


def test_longest_head_passes_after_another_message() -> None:
    """Each head of a connection has the whole limit to itself (protocol.md 3.2)."""
    first = b"PUT /key HTTP/1.1\r\nContent-Length:4\r\n\r\ntiny"
    longest = head_of(b"GET /key HTTP/1.1", MAX_HEAD)

    assert [
        len(read(STOCK_READER(), pieces))
        for pieces in ([first + longest], [first, longest], [first + longest[:5000], longest[5000:]])
    ] == [2] * 3


# --- At random --------------------------------------------------------------------------------------

_targets = st.binary(min_size=1, max_size=40).map(lambda raw: bytes(33 + byte % 94 for byte in raw))
_numbers = st.integers(min_value=0, max_value=2_147_483_646).map(lambda number: b"%d" % number)
_blanks = st.sampled_from([b"", b" ", b"   "])
_line_bytes = st.binary(max_size=30).map(lambda raw: raw.replace(b"\r", b".").replace(b"\n", b"."))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that a stock server takes: verb, known fields in any order, lines unknown to it, content."""
    verb = draw(st.sampled_from([b"GET", b"PUT", b"DELETE", b"HEAD"]))
    lines = [b"X-" + draw(_line_bytes) for _ in range(draw(st.integers(0, 3)))]
    for name in sorted(draw(st.sets(st.sampled_from([b"Timeout", b"LockCookie", b"ExtraFlags"])))):
        lines.append(name + b":" + draw(_blanks) + draw(_numbers))
    if draw(st.booleans()):
        lines.append(b"Exclusive: " + draw(st.sampled_from([b"acquire", b"release"])))
    content = draw(st.binary(min_size=1, max_size=200)) if verb == b"PUT" else b""
    if content:
        lines.append(b"Content-Length:" + draw(_blanks) + b"%d" % len(content))
    lines = draw(st.permutations(lines))
    return b"\r\n".join([verb + b" " + draw(_targets) + b" HTTP/1.1", *lines, b"", content])


@given(stream=st.lists(requests(), min_size=1, max_size=4), data=st.data())
def test_any_chunking_reads_the_same(stream: list[bytes], data: st.DataObject) -> None:
    """Random valid requests, cut at random, are the messages that they are when fed whole."""
    whole = b"".join(stream)
    cut_at = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cut_at], [*cut_at, len(whole)], strict=True)]
    expected = [message for raw in stream for message in read(STOCK_READER(), [raw])]

    assert len(stream) == len(expected)
    assert expected == read(STOCK_READER(), pieces)
    assert stream == [message.raw + body for message, body in expected]


@given(garbage=st.binary(max_size=300), data=st.data())
def test_garbage_is_refused_or_awaited(garbage: bytes, data: st.DataObject) -> None:
    """Whatever arrives is read, waited for or refused; nothing else escapes, in whatever pieces."""
    cut = data.draw(st.integers(0, len(garbage)))
    outcomes = []
    for pieces in ([garbage], [garbage[:cut], garbage[cut:]]):
        try:
            outcomes.append(len(read(STOCK_READER(), pieces)))
        except MalformedRequest:
            outcomes.append(-1)

    assert outcomes[0] == outcomes[1]
