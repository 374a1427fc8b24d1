"""Other fields of a request: Exclusive, odd spellings, and several fields of one name (protocol.md 3.2)."""

import pytest

from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.protocol.messages import Operation, RequestHead
from tests.protocol.heads import (
    ACQUIRE,
    CREATE,
    GET,
    GUARDED,
    LIBERAL,
    RELEASE,
    SET,
    STOCK,
    every_dialect,
    is_refused,
    put,
)
from tests.tables import each_case


def get(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET /key HTTP/1.1", *lines, b"", b""])


# --- Exclusive ------------------------------------------------------------------------------------


@every_dialect
@each_case(
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


@each_case("dialect", [STOCK, GUARDED])
@each_case(
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
@each_case("line", [b"Exclusive: transfer", b"Exclusive: ", b"Exclusive: acquire release"])
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


@each_case(
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


@each_case("line", ODD_SPELLINGS)
def test_odd_spelling_is_ignored_by_stock(line: bytes) -> None:
    """Fields are recognised by their exact prefix, case included (protocol.md 3.2; X36)."""
    raw = get(line)

    assert RequestHead(raw, GET, b"/key") == parse_request_head(raw, STOCK)


@each_case("line", ODD_SPELLINGS)
def test_odd_spelling_is_refused_when_guarded(line: bytes) -> None:
    """Router and server must never see two different requests (design.md 6.1; protocol.md 10.1.2)."""
    assert is_refused(get(line), GUARDED)


@each_case(
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


@each_case("line", HIDDEN_FROM_STOCK)
def test_what_only_other_parsers_would_see_is_skipped_by_stock(line: bytes) -> None:
    """A line goes to the next CRLF, whatever is in it, and an unknown one means nothing (protocol.md 3.2)."""
    assert parse_request_head(get(line), STOCK).content_length == 0
    assert parse_request_head(get(line), STOCK).operation is Operation.GET


@each_case("line", HIDDEN_FROM_STOCK)
def test_what_only_other_parsers_would_see_is_refused_when_guarded(line: bytes) -> None:
    """Router and server must never see two different requests (design.md 6 step 1)."""
    assert is_refused(get(line), GUARDED)


@each_case("line", [b"lockcookie:5", b" LockCookie:5", b"Lock-Cookie: 5", b"lock-cookie:5"])
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


LOCK_COOKIES = [b"Lock-Cookie: 3", b"lock-cookie:3", b" Lock-Cookie:3", b"Lock-Cookie: not a number"]


@each_case("line", LOCK_COOKIES)
def test_lock_cookie_with_a_hyphen_is_unknown_to_stock(line: bytes) -> None:
    """The real server passes over `Lock-Cookie`, as the specification's examples spell it (X37; A3)."""
    raw = get(b"Exclusive: release", line)

    assert RequestHead(raw, RELEASE, b"/key") == parse_request_head(raw, STOCK)


@each_case("line", LOCK_COOKIES)
def test_lock_cookie_with_a_hyphen_is_refused_when_guarded(line: bytes) -> None:
    """A server that takes it for an alias would see a cookie where the router sees none (A3)."""
    assert is_refused(get(b"Exclusive: release", line), GUARDED)


@every_dialect
@each_case(
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
@each_case(
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
@each_case(
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


@each_case(
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
@each_case("again", [b"Content-Length:5", b"Content-Length: 5", b"Content-Length:05"])
def test_two_equal_lengths_are_taken(again: bytes, dialect: Dialect) -> None:
    """Only a length that differs makes a difference (protocol.md 10.1.2)."""
    assert parse_request_head(put(b"Content-Length:5", again), dialect).content_length == 5
