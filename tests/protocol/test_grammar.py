"""Which heads are taken, and what they say: protocol.md 3.2 for requests, 10.1.3 for answers."""

import pytest

from partitioner.errors import MalformedAnswer
from partitioner.protocol.grammar import Dialect, parse_answer_head, parse_request_head
from partitioner.protocol.messages import AnswerHead, Operation, RequestHead
from tests.protocol.heads import GET, GUARDED, SET, STOCK, every_dialect, is_refused, put
from tests.samples.exchanges import READABLE, REFUSED, Exchange
from tests.tables import each_case

# --- The request line -----------------------------------------------------------------------------


@every_dialect
@each_case(
    ("line", "operation"),
    [
        (b"GET /key HTTP/1.1", Operation.GET),
        (b"HEAD /key HTTP/1.1", Operation.RESET_TIMEOUT),
        (b"DELETE /key HTTP/1.1", Operation.REMOVE),
    ],
)
def test_verb_is_read(line: bytes, operation: Operation, dialect: Dialect) -> None:
    """GET, HEAD and DELETE need nothing but a request line, not even a Host (protocol.md 3.2)."""
    raw = line + b"\r\n\r\n"

    assert RequestHead(raw, operation, b"/key") == parse_request_head(raw, dialect)


@every_dialect
def test_put_is_a_set(dialect: Dialect) -> None:
    """A PUT without ExtraFlags is a set: 1.x clients send none (protocol.md 3.1)."""
    raw = put(b"Content-Length:7")

    assert RequestHead(raw, SET, b"/key", content_length=7) == parse_request_head(raw, dialect)


@every_dialect
@each_case(
    "line",
    [
        b"get /key HTTP/1.1",
        b"Get /key HTTP/1.1",
        b"POST /key HTTP/1.1",
        b"OPTIONS /key HTTP/1.1",
        b"GETS /key HTTP/1.1",
        b" GET /key HTTP/1.1",
        b"\r\nGET /key HTTP/1.1",
        b"GET\t/key HTTP/1.1",
        b"GET",
        b"",
    ],
)
def test_other_verb_is_refused(line: bytes, dialect: Dialect) -> None:
    """The verb is exactly GET, PUT, HEAD or DELETE, in upper case, and a space (protocol.md 3.2)."""
    assert is_refused(line + b"\r\n\r\n", dialect)


@every_dialect
@each_case(
    "line",
    [
        b"GET /key HTTP/1.0",
        b"GET /key HTTP/1.10",
        b"GET /key HTTP/2",
        b"GET /key http/1.1",
        b"GET /key HTTP/1.1 ",
        b"GET /key  HTTP/1.1",
        b"GET /key\tHTTP/1.1",
        b"GET /key ",
        b"GET /key",
    ],
)
def test_other_version_is_refused(line: bytes, dialect: Dialect) -> None:
    """After the target comes exactly ` HTTP/1.1` and the end of the line (protocol.md 3.2)."""
    assert is_refused(line + b"\r\n\r\n", dialect)


@every_dialect
@each_case("line", [b"GET  HTTP/1.1", b"GET  /key HTTP/1.1", b"GET "])
def test_empty_target_is_refused(line: bytes, dialect: Dialect) -> None:
    """The target is what stands before the next space, and not empty (protocol.md 3.2)."""
    assert is_refused(line + b"\r\n\r\n", dialect)


@every_dialect
@each_case(
    "target",
    [
        b"k",
        b"key-without-slash",
        b"%2fLM%2fW3SVC%2f2%2fROOT(oXvp%3d)%2fbpr4",
        b"//LM/W3SVC",
        b"/key?query=1#fragment",
        b"*",
        b"/100%",
        b"/k\xc3\xa9y",
        b"/\xff\xfe",
        b"/" + b"k" * 5000,
    ],
)
def test_any_other_target_is_taken(target: bytes, dialect: Dialect) -> None:
    """A target needs no leading slash, and is kept as it stands (protocol.md 3.2)."""
    raw = b"GET " + target + b" HTTP/1.1\r\n\r\n"

    assert RequestHead(raw, GET, target) == parse_request_head(raw, dialect)


@every_dialect
def test_space_in_target_is_refused(dialect: Dialect) -> None:
    """A target ends at its first space, and what follows is then no version (protocol.md 14, A26)."""
    assert is_refused(b"GET /a key HTTP/1.1\r\n\r\n", dialect)


@every_dialect
@each_case("byte", [b"\x00", b"\x01", b"\t", b"\n", b"\x0b", b"\r", b"\x1f", b"\x7f"])
def test_control_byte_in_target_is_refused(byte: bytes, dialect: Dialect) -> None:
    """No client escapes so badly, and one server's odd byte is another one's end of line."""
    assert is_refused(b"GET /k" + byte + b"ey HTTP/1.1\r\n\r\n", dialect)


@every_dialect
def test_head_of_an_empty_line_only_is_refused(dialect: Dialect) -> None:
    """A head of only CRLFCRLF is refused (protocol.md 3.2)."""
    assert is_refused(b"\r\n\r\n", dialect)


# --- The examples ---------------------------------------------------------------------------------


def says(exchange: Exchange) -> RequestHead:
    """The head that the request of a sample stands for."""
    asked = exchange.asked
    assert asked is not None
    return RequestHead(
        raw=exchange.request.removesuffix(asked.body),
        operation=asked.operation,
        target=asked.target,
        content_length=len(asked.body),
        timeout_minutes=asked.timeout_minutes,
        lock_cookie=asked.lock_cookie,
    )


@each_case("exchange", READABLE, ids=lambda each: each.name)
def test_example_request_is_read(exchange: Exchange) -> None:
    """Every example of protocol.md 13 says to the stock server what it is there for."""
    expected = says(exchange)

    assert expected == parse_request_head(expected.raw, STOCK)


@each_case("dialect", [STOCK, GUARDED])
@each_case("exchange", REFUSED, ids=lambda each: each.name)
def test_example_request_is_refused(exchange: Exchange, dialect: Dialect) -> None:
    """Where the stock server hangs up, router and state server refuse (protocol.md 13, 3.3)."""
    assert is_refused(exchange.request, dialect)


# --- Answers --------------------------------------------------------------------------------------


@each_case(
    "raw",
    [
        b"200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"200\r\nContent-Length: 5\r\n\r\n",
        b"200 \r\nContent-Length: 5\r\n\r\n",
        b"200 Very well indeed\r\nContent-Length:5\r\n\r\n",
        b"200 OK\r\ncontent-length:   5\r\n\r\n",
        b"200 OK\r\nX-Whatever: 1\r\nno colon\r\nContent-Length: 5 \r\n\r\n",
    ],
)
def test_status_line_and_length_are_read(raw: bytes) -> None:
    """Both `200 OK` and `HTTP/1.x 200 OK` are taken, field names in any case (protocol.md 10.1.3)."""
    assert AnswerHead(raw, 200, content_length=5) == parse_answer_head(raw)


@each_case("status", [400, 404, 423, 500, 503])
def test_missing_length_is_0_without_a_200(status: int) -> None:
    """Content-Length missing: take 0 for non-200 (protocol.md 10.1.3)."""
    raw = b"%d Something\r\n\r\n" % status

    assert AnswerHead(raw, status, content_length=0) == parse_answer_head(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-AspNet-Version: 4.0.30319\r\n\r\n",
    ],
)
def test_missing_length_of_a_200_is_malformed(raw: bytes) -> None:
    """Content-Length missing: for 200 treat as backend failure (protocol.md 10.1.3)."""
    with pytest.raises(MalformedAnswer):
        parse_answer_head(raw)


def test_lock_cookie_of_an_answer_is_read() -> None:
    """The cookie of an acquire's 200 is what a compensating release needs (protocol.md 10.1.10)."""
    raw = b"200 OK\r\nActionFlags: 1\r\nLockCookie: 2\r\nTimeout: 20\r\nContent-Length: 7\r\n\r\n"

    assert AnswerHead(raw, 200, content_length=7, lock_cookie=2) == parse_answer_head(raw)


def test_negative_lock_cookie_of_an_answer_is_read() -> None:
    """A stock server's counter wraps negative: that answer is still relayed (protocol.md 6, remarks)."""
    raw = b"423 Locked\r\nLockCookie: -2147483648\r\nContent-Length: 0\r\n\r\n"

    assert parse_answer_head(raw).lock_cookie == -2_147_483_648


def test_two_equal_lengths_of_an_answer_are_taken() -> None:
    """Said twice is said (protocol.md 10.1.3)."""
    raw = b"200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"

    assert parse_answer_head(raw).content_length == 5


@each_case(
    "raw",
    [
        b"\r\n\r\n",
        b"\r\n200 OK\r\nContent-Length: 0\r\n\r\n",
        b"OK\r\nContent-Length: 0\r\n\r\n",
        b"20 OK\r\nContent-Length: 0\r\n\r\n",
        b"2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"099 OK\r\nContent-Length: 0\r\n\r\n",
        b"200OK\r\nContent-Length: 0\r\n\r\n",
        b" 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1200 OK\r\nContent-Length: 0\r\n\r\n",
        b"GET /key HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
def test_garbage_for_a_status_line_is_malformed(raw: bytes) -> None:
    """What does not begin with a status is no answer (protocol.md 5.1)."""
    with pytest.raises(MalformedAnswer):
        parse_answer_head(raw)


@each_case(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 0\r\ncontent-length: 6",
        b"Content-Length: ",
        b"Content-Length: -1",
        b"Content-Length: five",
        b"Content-Length: 5, 5",
        b"Content-Length: 0x5",
        b"Content-Length: 2147483647",
        b"Content-Length: 123456789012345",
        b"Content-Length: 5\r\nLockCookie: ",
        b"Content-Length: 5\r\nLockCookie: two",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    ],
)
def test_answer_that_cannot_be_framed_is_malformed(lines: bytes) -> None:
    """An answer is framed by one Content-Length, of at most 2147483646 (protocol.md 10.1.3, 7)."""
    with pytest.raises(MalformedAnswer):
        parse_answer_head(b"200 OK\r\n" + lines + b"\r\n\r\n")


@each_case(
    ("raw", "sentence"),
    [
        (
            b"200 OK\r\nContent-Length: five and twenty\r\n\r\n",
            "'Content-Length' is 'five and twenty'; expected a number",
        ),
        (b"200 OK\r\nLockCookie: not-a-cookie\r\n\r\n", "'LockCookie' is 'not-a-cookie'; expected a number"),
        (
            b"HTTP/2 200 OK, by a proxy\r\n\r\n",
            "the status line is 'HTTP/2 200 OK, by a proxy'; expected one like",
        ),
        (b"HTTP/1.1 " + b"x" * 500 + b"\r\n\r\n", "the status line is 'HTTP/1.1 x+'\\.\\.\\.; expected"),
    ],
)
def test_what_is_wrong_with_an_answer_is_shown_whole(raw: bytes, sentence: str) -> None:
    """An operator has to find the program that writes so; names, numbers and status lines are no secrets."""
    with pytest.raises(MalformedAnswer, match=sentence) as caught:
        parse_answer_head(raw)
    assert len(str(caught.value)) < 200


@each_case("raw", [b"bpr4mimb2vjnvtn2jc4yp3uo\r\n\r\n", b"\x14\0\0\0secret of a session\r\n\r\n"])
def test_what_may_be_a_piece_of_a_session_is_not_shown(raw: bytes) -> None:
    """Where a status line should be may stand what is left of another answer's body."""
    with pytest.raises(MalformedAnswer) as caught:
        parse_answer_head(raw)
    assert raw[:12].decode("latin-1") not in str(caught.value)
    assert "session" not in str(caught.value)
