"""Numbers in the head of a request, and whether a body goes with it (protocol.md 3.2)."""

from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.protocol.messages import Operation
from tests.protocol.heads import CREATE, GUARDED, LIBERAL, SET, STOCK, every_dialect, is_refused, put
from tests.tables import each_case

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
@each_case("field", [b"LockCookie", b"Timeout"])
@each_case(("value", "number"), NUMBERS)
def test_number_is_read(field: bytes, value: bytes, number: int, dialect: Dialect) -> None:
    """Numbers are read as strtol does: leading blanks, a sign, 0 to 2147483646 (protocol.md 3.2)."""
    assert number == read_number(field, value, dialect)


@every_dialect
@each_case(("value", "number"), [(value, number) for value, number in NUMBERS if number > 0])
def test_content_length_is_read(value: bytes, number: int, dialect: Dialect) -> None:
    """The length of a PUT is such a number too, and at least 1 (protocol.md 3.2)."""
    assert number == read_number(b"Content-Length", value, dialect)


@every_dialect
@each_case("field", FIELDS)
@each_case("value", NO_NUMBERS)
def test_no_number_is_refused(field: bytes, value: bytes, dialect: Dialect) -> None:
    """A numeric field that is empty or holds anything else is refused (protocol.md 3.2, 10.1.2)."""
    assert is_refused(put(b"Content-Length:1", field + b":" + value), dialect)


@every_dialect
@each_case("field", FIELDS)
@each_case("value", OUT_OF_RANGE)
def test_number_out_of_range_is_refused(field: bytes, value: bytes, dialect: Dialect) -> None:
    """Content-Length, Timeout and LockCookie are 0 to 2147483646 (protocol.md 3.2)."""
    assert is_refused(put(b"Content-Length:1", field + b":" + value), dialect)


@each_case("dialect", [STOCK, GUARDED])
@each_case("field", [*FIELDS, b"ExtraFlags"])
@each_case("value", TRAILING_BLANKS)
def test_trailing_blank_is_refused(field: bytes, value: bytes, dialect: Dialect) -> None:
    """A number is followed by the end of its line immediately (protocol.md 3.2)."""
    assert is_refused(put(b"Content-Length:1", field + b":" + value), dialect)


@each_case("dialect", [STOCK, GUARDED])
@each_case("field", [*FIELDS, b"ExtraFlags"])
@each_case("value", LINE_FEEDS)
def test_line_feed_ends_no_number(field: bytes, value: bytes, dialect: Dialect) -> None:
    """Only CRLF ends a line (protocol.md 3.2); a program that takes LF for one would see another request."""
    assert is_refused(put(b"Content-Length:1", field + b":" + value), dialect)


@each_case("field", [b"LockCookie", b"Timeout", b"Content-Length"])
@each_case("value", TRAILING_BLANKS)
def test_trailing_blank_is_taken_liberally(field: bytes, value: bytes) -> None:
    """The liberal dialect takes blanks on both sides of a value (protocol.md 10.2.3)."""
    assert read_number(field, value, LIBERAL) == 7


@every_dialect
def test_numbers_are_absent_where_nothing_was_sent(dialect: Dialect) -> None:
    """A missing LockCookie is not a LockCookie of 0 (protocol.md 6)."""
    head = parse_request_head(put(b"Content-Length:1"), dialect)

    assert (head.lock_cookie, head.timeout_minutes) == (None, None)


@every_dialect
@each_case("value", NO_NUMBERS)
def test_extra_flags_that_are_no_number_are_refused(value: bytes, dialect: Dialect) -> None:
    """ExtraFlags is a numeric field, too (protocol.md 3.2)."""
    assert is_refused(put(b"Content-Length:1", b"ExtraFlags:" + value), dialect)


@every_dialect
@each_case(
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
@each_case("verb", [b"GET", b"HEAD", b"DELETE"])
def test_extra_flags_mean_nothing_without_content(verb: bytes, dialect: Dialect) -> None:
    """ExtraFlags belongs to PUT (protocol.md 3.1)."""
    with_flags = parse_request_head(verb + b" /key HTTP/1.1\r\nExtraFlags:1\r\n\r\n", dialect)
    without = parse_request_head(verb + b" /key HTTP/1.1\r\n\r\n", dialect)

    assert without.operation is with_flags.operation


# --- Content-Length and the verb ------------------------------------------------------------------


@every_dialect
@each_case("lines", [[], [b"Content-Length:0"], [b"Content-Length: 0"], [b"Timeout:20"]])
def test_put_without_content_is_refused(lines: list[bytes], dialect: Dialect) -> None:
    """A PUT needs a Content-Length of at least 1 (protocol.md 3.2)."""
    assert is_refused(put(*lines), dialect)


@every_dialect
@each_case("verb", [b"GET", b"HEAD", b"DELETE"])
def test_content_without_put_is_refused(verb: bytes, dialect: Dialect) -> None:
    """No other verb may have a positive Content-Length (protocol.md 3.2)."""
    assert is_refused(verb + b" /key HTTP/1.1\r\nContent-Length: 1\r\n\r\n", dialect)


@every_dialect
@each_case("verb", [b"GET", b"HEAD", b"DELETE"])
def test_length_of_0_without_put_is_taken(verb: bytes, dialect: Dialect) -> None:
    """Other verbs have a Content-Length of 0, or none (protocol.md 3.2)."""
    head = parse_request_head(verb + b" /key HTTP/1.1\r\nContent-Length:0\r\n\r\n", dialect)

    assert head.content_length == 0
