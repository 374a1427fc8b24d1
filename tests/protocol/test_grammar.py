"""Which heads are taken, and how they are read: protocol.md 3.2 for requests, 10.1.3 for answers."""

import pytest

from partitioner.errors import MalformedAnswer, MalformedRequest
from partitioner.protocol.grammar import Dialect, parse_answer_head, parse_request_head
from partitioner.protocol.messages import AnswerHead, Operation, RequestHead
from tests.samples.exchanges import READABLE, REFUSED, Exchange

STOCK, GUARDED, LIBERAL = Dialect.STOCK, Dialect.GUARDED, Dialect.LIBERAL
GET, ACQUIRE, RELEASE = Operation.GET, Operation.ACQUIRE, Operation.RELEASE
SET, CREATE = Operation.SET, Operation.CREATE_UNINITIALIZED

every_dialect = pytest.mark.parametrize("dialect", list(Dialect))


def get(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET /key HTTP/1.1", *lines, b"", b""])


def put(*lines: bytes) -> bytes:
    return b"\r\n".join([b"PUT /key HTTP/1.1", *lines, b"", b""])


def is_refused(raw: bytes, dialect: Dialect) -> bool:
    try:
        parse_request_head(raw, dialect)
    except MalformedRequest:
        return True
    return False


# --- The request line -----------------------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize(
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
@pytest.mark.parametrize(
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
@pytest.mark.parametrize(
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
@pytest.mark.parametrize("line", [b"GET  HTTP/1.1", b"GET  /key HTTP/1.1", b"GET "])
def test_empty_target_is_refused(line: bytes, dialect: Dialect) -> None:
    """The target is what stands before the next space, and not empty (protocol.md 3.2)."""
    assert is_refused(line + b"\r\n\r\n", dialect)


@every_dialect
@pytest.mark.parametrize(
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
@pytest.mark.parametrize("byte", [b"\x00", b"\x01", b"\t", b"\n", b"\x0b", b"\r", b"\x1f", b"\x7f"])
def test_control_byte_in_target_is_refused(byte: bytes, dialect: Dialect) -> None:
    """No client escapes so badly, and one server's odd byte is another one's end of line."""
    assert is_refused(b"GET /k" + byte + b"ey HTTP/1.1\r\n\r\n", dialect)


@every_dialect
def test_head_of_an_empty_line_only_is_refused(dialect: Dialect) -> None:
    """A head of only CRLFCRLF is refused (protocol.md 3.2)."""
    assert is_refused(b"\r\n\r\n", dialect)


# --- Numeric fields -------------------------------------------------------------------------------

NUMBERS = [
    (b"0", 0),
    (b"7", 7),
    (b" 7", 7),
    (b"    7", 7),
    (b"\t 7", 7),
    (b"007", 7),
    (b"+7", 7),
    (b" +7", 7),
    (b"-0", 0),
    (b"2147483645", 2_147_483_645),
    (b"2147483646", 2_147_483_646),
    (b"000000000000000000000007", 7),
]

NO_NUMBERS = [
    b"",
    b" ",
    b"abc",
    b"7x",
    b"x7",
    b"7 7",
    b"7,7",
    b"7.0",
    b"0x7",
    b"--7",
    b"+-7",
    b"- 7",
    b"+",
    b"\xd9\xa7",  # an Arabic seven
    b"7\x00",
]

LINE_FEEDS = [b"7\n", b"\n7", b"7\nLockCookie:8"]

TRAILING_BLANKS = [b"7 ", b"7\t", b" 7  "]

OUT_OF_RANGE = [b"-1", b"2147483647", b"2147483648", b"4294967303", b"99999999999999999999999", b"9" * 5000]

FIELDS = [b"Content-Length", b"LockCookie", b"Timeout"]


def read_number(field: bytes, value: bytes, dialect: Dialect) -> int | None:
    """What a number says in one of the fields, in a request in which nothing else is wrong."""
    length = [] if field == b"Content-Length" else [b"Content-Length:1"]
    head = parse_request_head(put(*length, field + b":" + value), dialect)
    return {
        b"Content-Length": head.content_length,
        b"LockCookie": head.lock_cookie,
        b"Timeout": head.timeout_minutes,
    }[field]


@every_dialect
@pytest.mark.parametrize("field", [b"LockCookie", b"Timeout"])
@pytest.mark.parametrize(("value", "number"), NUMBERS)
def test_number_is_read(field: bytes, value: bytes, number: int, dialect: Dialect) -> None:
    """Numbers are read as strtol does: leading blanks, a sign, 0 to 2147483646 (protocol.md 3.2)."""
    assert number == read_number(field, value, dialect)


@every_dialect
@pytest.mark.parametrize(("value", "number"), [(value, number) for value, number in NUMBERS if number > 0])
def test_content_length_is_read(value: bytes, number: int, dialect: Dialect) -> None:
    """The length of a PUT is such a number too, and at least 1 (protocol.md 3.2)."""
    assert number == read_number(b"Content-Length", value, dialect)


@every_dialect
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_no_number_is_refused(field: bytes, value: bytes, dialect: Dialect) -> None:
    """A numeric field that is empty or holds anything else is refused (protocol.md 3.2, 10.1.2)."""
    assert is_refused(put(b"Content-Length:1", field + b":" + value), dialect)


@every_dialect
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", OUT_OF_RANGE)
def test_number_out_of_range_is_refused(field: bytes, value: bytes, dialect: Dialect) -> None:
    """Content-Length, Timeout and LockCookie are 0 to 2147483646 (protocol.md 3.2)."""
    assert is_refused(put(b"Content-Length:1", field + b":" + value), dialect)


@pytest.mark.parametrize("dialect", [STOCK, GUARDED])
@pytest.mark.parametrize("field", [*FIELDS, b"ExtraFlags"])
@pytest.mark.parametrize("value", TRAILING_BLANKS)
def test_trailing_blank_is_refused(field: bytes, value: bytes, dialect: Dialect) -> None:
    """A number is followed by the end of its line immediately (protocol.md 3.2)."""
    assert is_refused(put(b"Content-Length:1", field + b":" + value), dialect)


@pytest.mark.parametrize("dialect", [STOCK, GUARDED])
@pytest.mark.parametrize("field", [*FIELDS, b"ExtraFlags"])
@pytest.mark.parametrize("value", LINE_FEEDS)
def test_line_feed_ends_no_number(field: bytes, value: bytes, dialect: Dialect) -> None:
    """Only CRLF ends a line (protocol.md 3.2); whoever takes LF for one would see another request."""
    assert is_refused(put(b"Content-Length:1", field + b":" + value), dialect)


@pytest.mark.parametrize("field", [b"LockCookie", b"Timeout", b"Content-Length"])
@pytest.mark.parametrize("value", TRAILING_BLANKS)
def test_trailing_blank_is_taken_liberally(field: bytes, value: bytes) -> None:
    """The liberal dialect takes blanks on both sides of a value (protocol.md 10.2.3)."""
    assert read_number(field, value, LIBERAL) == 7


@every_dialect
def test_numbers_are_absent_where_nothing_was_sent(dialect: Dialect) -> None:
    """A missing LockCookie is not a LockCookie of 0 (protocol.md 6)."""
    head = parse_request_head(put(b"Content-Length:1"), dialect)

    assert (head.lock_cookie, head.timeout_minutes) == (None, None)


@every_dialect
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_extra_flags_that_are_no_number_are_refused(value: bytes, dialect: Dialect) -> None:
    """ExtraFlags is a numeric field, too (protocol.md 3.2)."""
    assert is_refused(put(b"Content-Length:1", b"ExtraFlags:" + value), dialect)


@every_dialect
@pytest.mark.parametrize(
    ("flags", "operation"),
    [
        (b"0", SET),
        (b"1", CREATE),
        (b" 1", CREATE),
        (b"2", SET),
        (b"3", CREATE),
        (b"-1", SET),  # equals absent
        (b"-2", SET),
        (b"-3", CREATE),
        (b"2147483646", SET),
        (b"2147483647", CREATE),
        (b"4294967296", CREATE),  # strtol of 32 bits answers its greatest number, which is odd
        (b"9" * 5000, CREATE),
        (b"-2147483648", SET),
        (b"-9999999999999", SET),  # and its least, which is even
    ],
)
def test_extra_flags(flags: bytes, operation: Operation, dialect: Dialect) -> None:
    """ExtraFlags is any number of 32 bits; bit 0: insert only, -1: as if absent (protocol.md 3.2)."""
    assert (
        operation is parse_request_head(put(b"Content-Length:1", b"ExtraFlags:" + flags), dialect).operation
    )


@every_dialect
@pytest.mark.parametrize("verb", [b"GET", b"HEAD", b"DELETE"])
def test_extra_flags_mean_nothing_without_content(verb: bytes, dialect: Dialect) -> None:
    """ExtraFlags belongs to PUT (protocol.md 3.1)."""
    with_flags = parse_request_head(verb + b" /key HTTP/1.1\r\nExtraFlags:1\r\n\r\n", dialect)
    without = parse_request_head(verb + b" /key HTTP/1.1\r\n\r\n", dialect)

    assert without.operation is with_flags.operation


# --- Content-Length and the verb ------------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize("lines", [[], [b"Content-Length:0"], [b"Content-Length: 0"], [b"Timeout:20"]])
def test_put_without_content_is_refused(lines: list[bytes], dialect: Dialect) -> None:
    """A PUT needs a Content-Length of at least 1 (protocol.md 3.2)."""
    assert is_refused(put(*lines), dialect)


@every_dialect
@pytest.mark.parametrize("verb", [b"GET", b"HEAD", b"DELETE"])
def test_content_without_put_is_refused(verb: bytes, dialect: Dialect) -> None:
    """No other verb may have a positive Content-Length (protocol.md 3.2)."""
    assert is_refused(verb + b" /key HTTP/1.1\r\nContent-Length: 1\r\n\r\n", dialect)


@every_dialect
@pytest.mark.parametrize("verb", [b"GET", b"HEAD", b"DELETE"])
def test_length_of_0_without_put_is_taken(verb: bytes, dialect: Dialect) -> None:
    """Other verbs have a Content-Length of 0, or none (protocol.md 3.2)."""
    head = parse_request_head(verb + b" /key HTTP/1.1\r\nContent-Length:0\r\n\r\n", dialect)

    assert head.content_length == 0


# --- Exclusive ------------------------------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize(
    ("lines", "operation"),
    [
        ([b"Exclusive: acquire"], ACQUIRE),
        ([b"Exclusive: release"], RELEASE),
        ([], GET),
    ],
)
def test_exclusive(lines: list[bytes], operation: Operation, dialect: Dialect) -> None:
    """A GET with `Exclusive: acquire` locks, one with `Exclusive: release` unlocks (protocol.md 3.1)."""
    assert operation is parse_request_head(get(*lines), dialect).operation


@pytest.mark.parametrize("dialect", [STOCK, GUARDED])
@pytest.mark.parametrize(
    "line",
    [
        b"Exclusive: Acquire",
        b"Exclusive: ACQUIRE",
        b"Exclusive: Release",
        b"Exclusive:  acquire",
        b"Exclusive: acquire ",
        b"Exclusive: acquired",
        b"Exclusive: ",
        b"Exclusive: transfer",
    ],
)
def test_other_exclusive_is_refused(line: bytes, dialect: Dialect) -> None:
    """`Exclusive: ` is followed by exactly `acquire` or `release` (protocol.md 3.2; X35)."""
    assert is_refused(get(line), dialect)


@every_dialect
@pytest.mark.parametrize("line", [b"Exclusive: transfer", b"Exclusive: ", b"Exclusive: acquire release"])
def test_unknown_exclusive_is_refused_by_all(line: bytes, dialect: Dialect) -> None:
    """A value that is neither, in whatever case, is no request in any dialect (protocol.md 3.2)."""
    assert is_refused(get(line), dialect)


@pytest.mark.parametrize("dialect", [STOCK, GUARDED])
def test_bad_exclusive_is_refused_on_put_too(dialect: Dialect) -> None:
    """The value is judged before the verb has a say (protocol.md 3.2)."""
    assert is_refused(put(b"Content-Length:1", b"Exclusive: Acquire"), dialect)


@every_dialect
def test_exclusive_means_nothing_to_a_put(dialect: Dialect) -> None:
    """A set is a set, whatever its Exclusive (protocol.md 3.1)."""
    assert SET is parse_request_head(put(b"Content-Length:1", b"Exclusive: acquire"), dialect).operation


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        (b"Exclusive: Acquire", ACQUIRE),
        (b"Exclusive: RELEASE", RELEASE),
        (b"Exclusive:acquire", ACQUIRE),
        (b"Exclusive:   acquire ", ACQUIRE),
        (b"exclusive: acquire", ACQUIRE),
        (b"EXCLUSIVE:Release", RELEASE),
    ],
)
def test_exclusive_is_read_liberally(line: bytes, operation: Operation) -> None:
    """The liberal dialect takes any case and optional blanks (protocol.md 10.2.3)."""
    assert operation is parse_request_head(get(line), LIBERAL).operation


# --- Oddly spelt fields ---------------------------------------------------------------------------

ODD_SPELLINGS = [
    b"content-length: 5",
    b"Content-length: 5",
    b"CONTENT-LENGTH:5",
    b"Content-Length : 5",
    b" Content-Length: 5",
    b"\tContent-Length: 5",
    b"lockcookie:5",
    b" LockCookie:5",
    b"LockCookie :5",
    b"Exclusive:acquire",
    b"exclusive: acquire",
    b"Exclusive : acquire",
    b"Exclusive:",
    b"timeout:5",
    b"TIMEOUT :5",
    b"extraflags:1",
    b"Extraflags: 1",
    b"Timeout",
]


@pytest.mark.parametrize("line", ODD_SPELLINGS)
def test_odd_spelling_is_ignored_by_stock(line: bytes) -> None:
    """Fields are recognised by their exact prefix, case included (protocol.md 3.2; X36)."""
    raw = get(line)

    assert RequestHead(raw, GET, b"/key") == parse_request_head(raw, STOCK)


@pytest.mark.parametrize("line", ODD_SPELLINGS)
def test_odd_spelling_is_refused_when_guarded(line: bytes) -> None:
    """Router and server must never see two different requests (design.md 6.1; protocol.md 10.1.2)."""
    assert is_refused(get(line), GUARDED)


@pytest.mark.parametrize(
    "line",
    [
        b"content-length: 5",
        b"CONTENT-LENGTH:5",
        b"Content-Length : 5",
        b" Content-Length: 5",
        b"Content-length:5 ",
    ],
)
def test_odd_length_is_read_liberally(line: bytes) -> None:
    """The liberal dialect takes any header-name case, and blanks around it (protocol.md 10.2.3)."""
    assert parse_request_head(put(line), LIBERAL).content_length == 5


HIDDEN_FROM_STOCK = [
    b"X-Unknown: a\nContent-Length: 5",
    b"X-Unknown: a\rExclusive: acquire",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding : chunked",
]


@pytest.mark.parametrize("line", HIDDEN_FROM_STOCK)
def test_what_only_other_parsers_would_see_is_skipped_by_stock(line: bytes) -> None:
    """A line goes to the next CRLF, whatever is in it, and an unknown one means nothing (protocol.md 3.2)."""
    assert parse_request_head(get(line), STOCK).content_length == 0
    assert parse_request_head(get(line), STOCK).operation is Operation.GET


@pytest.mark.parametrize("line", HIDDEN_FROM_STOCK)
def test_what_only_other_parsers_would_see_is_refused_when_guarded(line: bytes) -> None:
    """Router and server must never see two different requests (design.md 6 step 1)."""
    assert is_refused(get(line), GUARDED)


@pytest.mark.parametrize("line", [b"lockcookie:5", b" LockCookie:5", b"Lock-Cookie: 5", b"lock-cookie:5"])
def test_odd_cookie_is_read_liberally(line: bytes) -> None:
    """In the liberal dialect `Lock-Cookie` is an alias (protocol.md 10.2.3)."""
    assert parse_request_head(get(b"Exclusive: release", line), LIBERAL).lock_cookie == 5


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"timeout: 5", (SET, 5)),
        (b"EXTRAFLAGS: 1 ", (CREATE, None)),
    ],
)
def test_other_odd_fields_are_read_liberally(line: bytes, expected: tuple[Operation, int | None]) -> None:
    """The liberal dialect knows all five fields in any case (protocol.md 10.2.3)."""
    head = parse_request_head(put(b"Content-Length:1", line), LIBERAL)

    assert expected == (head.operation, head.timeout_minutes)


@pytest.mark.parametrize("dialect", [STOCK, GUARDED])
@pytest.mark.parametrize("line", [b"Lock-Cookie: 3", b"lock-cookie:3", b"Lock-Cookie: not a number"])
def test_lock_cookie_with_a_hyphen_is_passed_over(line: bytes, dialect: Dialect) -> None:
    """`Lock-Cookie` is unknown to the real server, and no odd spelling of what it knows (X37; A3)."""
    raw = get(b"Exclusive: release", line)

    assert RequestHead(raw, RELEASE, b"/key") == parse_request_head(raw, dialect)


@every_dialect
@pytest.mark.parametrize(
    "line",
    [
        b"Host: localhost:42424",
        b"host: localhost",
        b"User-Agent: test",
        b"Connection: Keep-Alive",
        b"X-Timeout: never",
        b"Timeouts:x",
        b"Content-Length-Hint: x",
        b"no colon at all",
        b": no name",
        b"\xff\xfe: \x00",
        b"Host: Content-Length: 5",
    ],
)
def test_unknown_line_is_skipped(line: bytes, dialect: Dialect) -> None:
    """Everything else, Host included, is skipped up to the next CRLF (protocol.md 3.2)."""
    raw = get(line)

    assert RequestHead(raw, GET, b"/key") == parse_request_head(raw, dialect)


# --- Several fields -------------------------------------------------------------------------------


@every_dialect
def test_fields_come_in_any_order(dialect: Dialect) -> None:
    """Header lines are taken in any order (protocol.md 3.2)."""
    raw = put(b"LockCookie: 2", b"ExtraFlags: 1", b"Host: x", b"Content-Length: 30", b"Timeout: 60")

    assert RequestHead(raw, CREATE, b"/key", 30, timeout_minutes=60, lock_cookie=2) == parse_request_head(
        raw, dialect
    )


@every_dialect
@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (b"LockCookie:2", b"LockCookie:3", (3, None, SET)),
        (b"Timeout:20", b"Timeout:30", (None, 30, SET)),
        (b"ExtraFlags:1", b"ExtraFlags:0", (None, None, SET)),
        (b"ExtraFlags:0", b"ExtraFlags:1", (None, None, CREATE)),
        (b"ExtraFlags:1", b"ExtraFlags:-1", (None, None, SET)),
    ],
)
def test_last_duplicate_wins(
    first: bytes, last: bytes, expected: tuple[int | None, int | None, Operation], dialect: Dialect
) -> None:
    """Of duplicates the last one wins (protocol.md 3.2)."""
    head = parse_request_head(put(b"Content-Length:1", first, last), dialect)

    assert expected == (head.lock_cookie, head.timeout_minutes, head.operation)


@every_dialect
@pytest.mark.parametrize(
    ("first", "last", "operation"),
    [
        (b"Exclusive: acquire", b"Exclusive: release", RELEASE),
        (b"Exclusive: release", b"Exclusive: acquire", ACQUIRE),
    ],
)
def test_last_exclusive_wins(first: bytes, last: bytes, operation: Operation, dialect: Dialect) -> None:
    """Of two Exclusive lines the last one wins, as with numbers (protocol.md 3.2)."""
    assert operation is parse_request_head(get(first, last), dialect).operation


@every_dialect
def test_a_bad_duplicate_is_refused_even_if_a_good_one_follows(dialect: Dialect) -> None:
    """Each line is judged as it is read (protocol.md 3.2)."""
    assert is_refused(put(b"Content-Length:1", b"Timeout:x", b"Timeout:20"), dialect)


def test_last_of_two_lengths_wins_for_stock() -> None:
    """The stock server takes the last of two lengths (protocol.md 3.2)."""
    head = parse_request_head(put(b"Content-Length:5", b"Content-Length:6"), STOCK)

    assert head.content_length == 6


@pytest.mark.parametrize(
    "raw",
    [
        put(b"Content-Length:5", b"Content-Length:6"),
        put(b"Content-Length:6", b"Timeout:20", b"Content-Length: 5"),
        put(b"Content-Length:0", b"Content-Length:6"),
        get(b"Content-Length:6", b"Content-Length:0"),
    ],
)
def test_two_differing_lengths_are_refused_when_guarded(raw: bytes) -> None:
    """Two differing lengths frame two different requests (protocol.md 10.1.2; design.md 6.1)."""
    assert is_refused(raw, GUARDED)


@every_dialect
@pytest.mark.parametrize("again", [b"Content-Length:5", b"Content-Length: 5", b"Content-Length:05"])
def test_two_equal_lengths_are_taken(again: bytes, dialect: Dialect) -> None:
    """Only a length that differs makes a difference (protocol.md 10.1.2)."""
    assert parse_request_head(put(b"Content-Length:5", again), dialect).content_length == 5


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


@pytest.mark.parametrize("exchange", READABLE, ids=lambda each: each.name)
def test_example_request_is_read(exchange: Exchange) -> None:
    """Every example of protocol.md 13 says to the stock server what it is there for."""
    expected = says(exchange)

    assert expected == parse_request_head(expected.raw, STOCK)


@pytest.mark.parametrize("dialect", [STOCK, GUARDED])
@pytest.mark.parametrize("exchange", REFUSED, ids=lambda each: each.name)
def test_example_request_is_refused(exchange: Exchange, dialect: Dialect) -> None:
    """Where the stock server hangs up, router and state server refuse (protocol.md 13, 3.3)."""
    assert is_refused(exchange.request, dialect)


# --- Answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("status", [400, 404, 423, 500, 503])
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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
