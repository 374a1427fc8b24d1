"""Reads the outline of a session's body, damaged or not.

Items come with a table of where each one's value ends, so that a value of an unknown type is passed over.
Objects that global.asax declares come without one: behind a serialised object, whose length is nowhere
written, nothing more can be found.

Whether a body is compressed is nowhere written either. One that is not begins with a time-out of a year at
most and two flags; that a compressed one looks like this is an accident of one in a hundred million.
"""

from dataclasses import dataclass, field

from partitioner.payload.cursor import Cursor, Damaged
from partitioner.payload.inflate import ENDS, inflate
from partitioner.payload.outline import Item, Outline, Unread
from partitioner.payload.types import (
    CHARACTER,
    END_OF_OBJECT,
    NAMES,
    OBJECT,
    SIZES,
    STRING,
    object_type,
    shown,
)

MOST_INFLATED = 8 * 1024 * 1024
"""Bytes that are inflated of one body: a kilobyte can inflate to a megabyte."""

MOST_ITEMS = 10_000
"""Of one body. A real one has some ten."""

LONGEST_NAME = 200
"""Characters of an item's name that are told."""

QUICK = 16 * 1024
"""Bytes of a body that is not compressed: no more than two thousand items."""

QUICK_TO_INFLATE = 1024
"""Bytes of one that may be: a megabyte at most comes out of it."""

LONGEST_TIMEOUT_MINUTES = 525_600  # a year; protocol.md 3.4

_HEAD = 6  # the time-out and two flags
_TERMINATOR = 0xFF


def outline_of(body: bytes, most_inflated: int = MOST_INFLATED) -> Outline:
    """Read what a body holds. Never raises: what cannot be read is said in the outline."""
    if _begins_as_content(body):
        return _read(body, ENDS, is_compressed=False)
    content, ending = inflate(body, most_inflated)
    if _begins_as_content(content):
        return _read(content, ending, is_compressed=True)
    if len(body) < _HEAD:
        return Outline(False, len(body), None, (), Unread(len(body), ENDS))
    why = "this is neither what ASP.NET writes nor that compressed"
    return Outline(False, len(body), None, (), Unread(0, why))


def is_quick(body: bytes) -> bool:
    """Whether the outline of a body takes a few milliseconds at most."""
    return len(body) <= (QUICK if _begins_as_content(body) else QUICK_TO_INFLATE)


def _begins_as_content(body: bytes) -> bool:
    """Whether a body begins with a time-out and two flags."""
    if len(body) < _HEAD:
        return False
    minutes = int.from_bytes(body[:4], "little")
    return minutes <= LONGEST_TIMEOUT_MINUTES and body[4] <= 1 and body[5] <= 1


def _read(content: bytes, ending: str, *, is_compressed: bool) -> Outline:
    cursor = Cursor(content, ending=ending)
    minutes = cursor.int32()
    has_items, has_static_objects = cursor.flag(), cursor.flag()
    found, static, unread = _Found(), list[Item](), None
    try:
        if has_items:
            _read_items(cursor, found)
        if has_static_objects:
            _read_static_objects(cursor, static)
        _read_end(cursor)
    except Damaged as damage:
        unread = Unread(damage.at, damage.why)
    return Outline(is_compressed, len(content), minutes, (*found.items(), *static), unread)


def _read_end(cursor: Cursor) -> None:
    begin, last = cursor.at, cursor.byte()
    if last != _TERMINATOR:
        raise Damaged(begin, f"a byte is {last:02x}; expected ff, the last one")
    if cursor.left:
        raise Damaged(cursor.at, f"{cursor.left} bytes stand behind the last one")
    if cursor.ending != ENDS:
        raise Damaged(cursor.at, cursor.ending)


# --- the items of the collection: names, then where values end, then the values ---


@dataclass(slots=True)
class _Found:
    """What has been read of them up to now."""

    names: list[str | None] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # of the values, counted from where they begin
    types: list[str] = field(default_factory=list)
    values_at: int = 0

    def items(self) -> list[Item]:
        """As much of each item as is known."""
        return [self._item(index, name) for index, name in enumerate(self.names)]

    def _item(self, index: int, name: str | None) -> Item:
        if index >= len(self.ends):
            return Item(name, None, None, None)
        type_ = self.types[index] if index < len(self.types) else None
        begin = self.begin(index)
        at = self.values_at + begin if len(self.ends) == len(self.names) else None
        return Item(name, type_, at, self.ends[index] - begin)

    def begin(self, index: int) -> int:
        return self.ends[index - 1] if index else 0


def _read_items(cursor: Cursor, found: _Found) -> None:
    count = _count(cursor)
    if not count:
        return
    null_at = cursor.int32()
    for index in range(count):
        found.names.append(None if index == null_at else _name(cursor))
    for index in range(count):
        found.ends.append(_end(cursor, found.begin(index)))
    found.values_at = cursor.at
    for end in found.ends:
        _read_value(cursor, found, found.values_at + end)


def _count(cursor: Cursor) -> int:
    """How many there are."""
    begin, count = cursor.at, cursor.int32()
    if not 0 <= count <= MOST_ITEMS:
        raise Damaged(begin, f"there are to be {count} items; at most {MOST_ITEMS} are read")
    return count


def _end(cursor: Cursor, last: int) -> int:
    """Where a value ends; each of them has a byte at least."""
    begin, end = cursor.at, cursor.int32()
    if end <= last:
        raise Damaged(begin, f"a value ends at {end}, and the one before it at {last}")
    return end


def _read_value(cursor: Cursor, found: _Found, end: int) -> None:
    """The type of the value that begins here; then go on behind it."""
    begin, code = cursor.at, cursor.byte()
    found.types.append(_type(cursor, code, end))
    cursor.at = begin
    cursor.skip(end - begin)


def _type(cursor: Cursor, code: int, end: int) -> str:
    """The .NET type of a value whose type code was read."""
    if code == OBJECT:
        return object_type(cursor.until(end))
    return NAMES.get(code, f"unknown type code {code}")


def _name(cursor: Cursor) -> str:
    name = cursor.text()
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."


# --- objects that global.asax declares ---


def _read_static_objects(cursor: Cursor, static: list[Item]) -> None:
    count = _count(cursor)
    for index in range(count):
        name = _name(cursor)
        if not cursor.flag():  # it was never used, and only its type is there
            begin = cursor.at
            static.append(Item(name, shown(cursor.text()), begin, 0, is_static=True))
            cursor.flag()
            continue
        begin, code = cursor.at, cursor.byte()
        type_ = _type(cursor, code, cursor.end)
        try:
            if code == OBJECT and index == count - 1:
                _skip_last_object(cursor)
            else:
                _skip_value(cursor, code)
        except Damaged:
            static.append(Item(name, type_, begin, None, is_static=True))
            raise
        static.append(Item(name, type_, begin, cursor.at - begin, is_static=True))


def _skip_last_object(cursor: Cursor) -> None:
    """Pass over a serialised object that ends where all ends: with its own last byte and that of the body."""
    begin = cursor.skip(max(0, cursor.left - 2))
    if cursor.left != 2 or cursor.byte() != END_OF_OBJECT:
        cursor.at = begin
        raise Damaged(cursor.end, cursor.ending)


def _skip_value(cursor: Cursor, code: int) -> None:
    """Pass over a value whose end is not written down."""
    if code in SIZES:
        cursor.skip(SIZES[code])
    elif code == STRING:
        cursor.text()
    elif code == CHARACTER:
        cursor.skip(_length_of_character(cursor))
    elif code == OBJECT:
        raise Damaged(cursor.at, "where a serialised object ends is not written")
    else:
        raise Damaged(cursor.at - 1, f"{code} is no type code")


def _length_of_character(cursor: Cursor) -> int:
    """Of UTF-8, by its first byte."""
    first = cursor.byte()
    cursor.at -= 1
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3
