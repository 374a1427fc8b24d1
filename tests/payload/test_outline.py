"""The outline of a session's body: names, .NET types and sizes of its items (protocol.md 9)."""

from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from partitioner.payload import MOST_ITEMS, Item, Outline, Unread, outline_of
from partitioner.payload.reader import LONGEST_NAME, MOST_INFLATED
from tests.payload.bodies import (
    Declared,
    class_record,
    compressed,
    content,
    library,
    nrbf,
    string,
    text,
)
from tests.samples.exchanges import EXCHANGES, KEY_VALUE, NEW_SESSION, NEW_SESSION_60
from tests.tables import each_case

LIST_OF_ORDERS = "System.Collections.Generic.List`1[[Shop.Order, Shop, Version=1.0.0.0, Culture=neutral]]"
PAIRS = (
    "System.Collections.Generic.Dictionary`2[[System.String, mscorlib, Version=4.0.0.0],"
    "[System.Int32, mscorlib, Version=4.0.0.0]]"
)
VALUES: list[tuple[bytes, str]] = [
    (string("Ada"), "System.String"),
    (b"\x02" + bytes(4), "System.Int32"),
    (b"\x03\x01", "System.Boolean"),
    (b"\x04" + bytes(8), "System.DateTime"),
    (b"\x05" + bytes(16), "System.Decimal"),
    (b"\x06\x09", "System.Byte"),
    (b"\x07\xe2\x82\xac", "System.Char"),
    (b"\x08" + bytes(4), "System.Single"),
    (b"\x09" + bytes(8), "System.Double"),
    (b"\x0a\x01", "System.SByte"),
    (b"\x0b" + bytes(2), "System.Int16"),
    (b"\x0c" + bytes(8), "System.Int64"),
    (b"\x0d" + bytes(2), "System.UInt16"),
    (b"\x0e" + bytes(4), "System.UInt32"),
    (b"\x0f" + bytes(8), "System.UInt64"),
    (b"\x10" + bytes(8), "System.TimeSpan"),
    (b"\x11" + bytes(16), "System.Guid"),
    (b"\x12" + bytes(8), "System.IntPtr"),
    (b"\x13" + bytes(8), "System.UIntPtr"),
    (b"\x15", "null"),
    (b"\x63" + bytes(3), "unknown type code 99"),
    (nrbf(library(), class_record("Shop.Basket")), "Shop.Basket"),
    (nrbf(class_record("System.Collections.Hashtable", 4)), "System.Collections.Hashtable"),
    (nrbf(library(), library(), class_record("Shop.Old", 3)), "Shop.Old"),
    (
        nrbf(class_record(LIST_OF_ORDERS, 2)),
        "System.Collections.Generic.List`1[[Shop.Order]]",
    ),
    (nrbf(class_record(PAIRS)), "System.Collections.Generic.Dictionary`2[[System.String],[System.Int32]]"),
    (nrbf(class_record("N" * 300)), "N" * 200 + "..."),
    (nrbf(b"\x06" + pack("<i", 1) + text("secret")), "System.String"),
    (nrbf(b"\x0f" + pack("<iiB", 1, 3, 2) + b"abc"), "System.Byte[]"),
    (nrbf(b"\x10" + pack("<ii", 1, 0)), "System.Object[]"),
    (nrbf(b"\x11" + pack("<ii", 1, 0)), "System.String[]"),
    (nrbf(library(), b"\x07" + pack("<iBiiB", 1, 0, 1, 3, 4) + text("Shop.Order")), "Shop.Order[]"),
    (nrbf(b"\x07" + pack("<iBiiiBB", 1, 2, 2, 3, 3, 0, 8)), "System.Int32[,]"),
    (nrbf(b"\x07" + pack("<iBiiiBB", 1, 4, 1, 3, 0, 7, 2)), "System.Byte[][]"),
    (nrbf(b"\x07" + pack("<iBiB", 1, 0, 99, 0)), "System.Object"),
    (nrbf(b"\x09" + pack("<i", 1)), "System.Object"),
    (b"\x14", "System.Object"),
    (b"\x14\x07\x07", "System.Object"),
]
"""Every type code, an unknown one, and objects by the head of their stream."""

NAMED: list[tuple[str | None, bytes]] = [(f"item {index}", value) for index, (value, _) in enumerate(VALUES)]
DECLARED = [
    Declared("never used", None, "ADODB.Recordset"),
    *(Declared(f"declared {index}", VALUES[index][0]) for index in range(20)),
    Declared("basket", nrbf(library(), class_record("Shop.Basket"))),
]
EVERYTHING = content([*NAMED, (None, string("of the null key"))], DECLARED)

SOME = content(
    [*(NAMED[index] for index in (0, 1, 6, 20, 21, 25, 31)), (None, string("of the null key"))],
    [DECLARED[0], DECLARED[1], DECLARED[2], DECLARED[7], DECLARED[-1]],
)
SAMPLES = [
    NEW_SESSION,
    KEY_VALUE,
    SOME,
    content(declared=DECLARED[:5]),
    compressed(KEY_VALUE),
    compressed(SOME),
    compressed(SOME, level=0),
]


def summary(outline: Outline) -> list[tuple[str | None, str | None, int | None]]:
    return [(each.name, each.type, each.size) for each in outline.items]


def stopped(outline: Outline) -> tuple[int, str] | None:
    return None if outline.unread is None else (outline.unread.at, outline.unread.why)


@each_case("pack_body", [lambda body: body, compressed], ["as it is", "compressed"])
@each_case(("value", "type_name"), VALUES)
def test_the_type_and_size_of_a_value(pack_body: type[bytes], value: bytes, type_name: str) -> None:
    """Of each type code; of a serialised object the class that its stream names; compressed or not.

    No value is in an outline.
    """
    body = content([("before", b"\x15"), ("it", value), (None, string("after"))], timeout=60)
    outline = outline_of(pack_body(body))
    at = body.index(value + string("after"))

    assert [
        Item("before", "null", at - 1, 1),
        Item("it", type_name, at, len(value)),
        Item(None, "System.String", at + len(value), 7),
    ] == list(outline.items)
    assert (60, len(body), None) == (outline.timeout_minutes, outline.size, outline.unread)
    assert outline.is_compressed is (pack_body is compressed)
    assert "after" not in repr(outline)
    assert "secret" not in repr(outline)


def test_objects_that_global_asax_declares() -> None:
    """They stand behind the items, and no table tells their sizes: the last one ends where all ends."""
    outline = outline_of(EVERYTHING)
    static = [each for each in outline.items if each.is_static]
    expected = [(f"declared {index}", name, len(value)) for index, (value, name) in enumerate(VALUES[:20])]

    assert None is outline.unread
    assert len(NAMED) + 1 == len(outline.items) - len(static)
    assert [("never used", "ADODB.Recordset", 0), *expected] == [
        (each.name, each.type, each.size) for each in static[:-1]
    ]
    assert ("basket", "Shop.Basket", len(DECLARED[-1].value or b"")) == (
        static[-1].name,
        static[-1].type,
        static[-1].size,
    )


def test_the_recorded_examples() -> None:
    """Every body of protocol.md 13 is read to its end."""
    puts = [each.asked.body for each in EXCHANGES if each.asked is not None]
    told = [each.said.body for each in EXCHANGES if each.said is not None]
    found = {*puts, *told}

    assert {NEW_SESSION, NEW_SESSION_60, KEY_VALUE} <= found
    for body in found - {b""}:
        assert None is outline_of(body).unread
    assert [("key", "System.String", 7)] == summary(outline_of(KEY_VALUE))


BOMB = compressed(content([("bomb", string("0" * (MOST_INFLATED + 100)))]))
MANY = content([(str(index), b"\x15") for index in range(MOST_ITEMS + 1)])
LONG = content([("n" * 1000, b"\x15")])
UNENDING = content(declared=[DECLARED[-1], DECLARED[0]])

DAMAGED: list[tuple[str, bytes, list[tuple[str | None, str | None, int | None]], tuple[int, str] | None]] = [
    ("empty", b"", [], (0, "it ends here")),
    (
        "neither",
        b"<html>no session</html>",
        [],
        (0, "this is neither what ASP.NET writes nor"),
    ),
    ("a year too long", pack("<i", 525_601) + b"\0\0\xff", [], (0, "this is neither")),
    ("no flag", b"\x14\0\0\0\0\2\xff", [], (0, "this is neither")),
    ("no end", NEW_SESSION[:-1] + b"\0", [], (6, "a byte is 00; expected ff")),
    ("more behind", KEY_VALUE + b"abc", [("key", "System.String", 7)], (30, "3 bytes stand behind")),
    ("fewer than none", b"\x14\0\0\0\1\0\xff\xff\xff\xff\xff", [], (6, "there are to be -1 items")),
    ("none", b"\x14\0\0\0\1\0\0\0\0\0\xff", [], None),
    ("too many", MANY, [], (6, f"there are to be {MOST_ITEMS + 1} items; at most {MOST_ITEMS} are read")),
    ("a long name", LONG, [("n" * LONGEST_NAME + "...", "null", 1)], None),
    ("no length", b"\x14\0\0\0\1\0\1\0\0\0\xff\xff\xff\xff" + b"\xff" * 6, [], (14, "more than 31 bits")),
    (
        "values that end backwards",
        KEY_VALUE.replace(b"\x07\0\0\0\x01", b"\xf9\xff\xff\xff\x01"),
        [("key", None, None)],
        (18, "a value ends at -7, and the one before it at 0"),
    ),
    (
        "a value beyond the end",
        KEY_VALUE.replace(b"\x07\0\0\0\x01", b"\x77\0\0\0\x01"),
        [("key", "System.String", 119)],
        (30, "it ends here"),
    ),
    (
        "an object without an end, and one behind it",
        UNENDING,
        [("basket", "Shop.Basket", None)],
        (UNENDING.index(b"\x14\0\1") + 1, "where a serialised object ends is not written"),
    ),
    (
        "no type code",
        content(declared=[Declared("x", b"\x63"), DECLARED[0]]),
        [("x", "unknown type code 99", None)],
        (13, "99 is no type code"),
    ),
    (
        "a bomb",
        BOMB,
        [("bomb", "System.String", MOST_INFLATED + 105)],
        (MOST_INFLATED, "no more than 8388608"),
    ),
    (
        "nothing behind the stream",
        compressed(KEY_VALUE)[:-1],
        [("key", "System.String", 7)],
        (30, "not followed by one byte ff"),
    ),
]


@each_case(("name", "body", "items", "unread"), DAMAGED, [each[0] for each in DAMAGED])
def test_what_is_damaged(
    name: str,
    body: bytes,
    items: list[tuple[str | None, str | None, int | None]],
    unread: tuple[int, str] | None,
) -> None:
    """It is shown as far as it was read, with the byte from which on it is not readable, and why."""
    outline = outline_of(body)

    assert items == summary(outline)
    if unread is None:
        assert None is outline.unread
    else:
        assert outline.unread is not None
        assert unread[0] == outline.unread.at
        assert unread[1] in outline.unread.why
        assert f"not readable from byte {unread[0]}: " in str(outline.unread)


@each_case("sample", SAMPLES, [str(index) for index in range(len(SAMPLES))])
def test_every_truncation(sample: bytes) -> None:
    """A body that is cut off anywhere is read up to there: names come as in the whole one, as do types."""
    whole = outline_of(sample)
    for length in range(len(sample)):
        cut = outline_of(sample[:length])

        assert cut.unread is not None, length
        assert cut.unread.at <= max(cut.size, length)
        assert len(cut.items) <= len(whole.items)
        for seen, told in zip(cut.items, whole.items, strict=False):
            assert seen.name == told.name
            assert seen.size in (None, told.size) or seen.is_static
            assert seen.type in (None, told.type, "System.Object")


@each_case("sample", SAMPLES, [str(index) for index in range(len(SAMPLES))])
def test_every_byte_changed(sample: bytes) -> None:
    """A body with a wrong byte anywhere is read somehow: no exception, nothing unbounded."""
    for at in range(len(sample)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(sample)
            damaged[at] ^= change
            outline = outline_of(bytes(damaged))

            assert len(outline.items) <= MOST_ITEMS
            assert outline.unread is None or 0 <= outline.unread.at <= max(outline.size, len(sample))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ITEMS = st.lists(st.tuples(NAMES, st.sampled_from([value for value, _ in VALUES])), max_size=8)


@given(ITEMS, st.integers(0, 525_600), st.booleans())
def test_whatever_is_written_is_read(items: list[tuple[str, bytes]], timeout: int, squeezes: bool) -> None:
    """Names and sizes of all items, whichever they are."""
    body = content(items, timeout=timeout)
    outline = outline_of(compressed(body) if squeezes else body)

    assert (timeout, squeezes, None) == (outline.timeout_minutes, outline.is_compressed, outline.unread)
    assert [(name, len(value)) for name, value in items] == [(each.name, each.size) for each in outline.items]


@given(st.binary(max_size=200), st.sampled_from([b"", *SAMPLES]), st.integers(0, 400))
def test_nothing_makes_it_raise(noise: bytes, sample: bytes, at: int) -> None:
    """Bytes from anywhere, put anywhere into a body."""
    outline = outline_of(sample[:at] + noise + sample[at:])

    assert len(outline.items) <= MOST_ITEMS
    assert 3 == len(outline.largest(3).items) or len(outline.items) < 3


def test_the_largest_items() -> None:
    """They keep their order; how many were left out is told."""
    items = tuple(Item(str(size), None, None, size) for size in (3, 1, 9, 2))
    outline = Outline(False, 0, 20, items, Unread(0, "why")).largest(2)

    assert [("3", None, 3), ("9", None, 9)] == summary(outline)
    assert (2, Unread(0, "why")) == (outline.left_out, outline.unread)
