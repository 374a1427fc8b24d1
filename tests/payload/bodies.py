"""Writes bodies of sessions as ASP.NET does (protocol.md 9), for the reader to be tried on."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack


def text(characters: str) -> bytes:
    """A string as BinaryWriter writes it: its length in seven bits a byte, then UTF-8."""
    encoded = characters.encode()
    length, prefix = len(encoded), b""
    while length >= 0x80:
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return prefix + bytes([length]) + encoded


def string(characters: str) -> bytes:
    """A string as the value of an item."""
    return b"\x01" + text(characters)


def nrbf(*records: bytes) -> bytes:
    """An object as BinaryFormatter writes it, as the value of an item."""
    return b"\x14\x00" + pack("<iiii", 1, -1, 1, 0) + b"".join(records) + b"\x0b"


def library(name: str = "Shop, Version=1.0.0.0, Culture=neutral, PublicKeyToken=null") -> bytes:
    return b"\x0c" + pack("<i", 2) + text(name)


def class_record(name: str, record: int = 5) -> bytes:
    """A class with one member, in one of the four ways of writing it."""
    return bytes([record]) + pack("<i", 1) + text(name) + pack("<i", 1) + text("secret member")


@dataclass(frozen=True, slots=True)
class Declared:
    """An object that global.asax declares: its value, or where it was never used the name of its type."""

    name: str
    value: bytes | None
    type: str = ""


def content(
    items: Sequence[tuple[str | None, bytes]] = (),
    declared: Sequence[Declared] = (),
    timeout: int = 20,
) -> bytes:
    """A body that is not compressed."""
    body = pack("<i??", timeout, bool(items), bool(declared))
    if items:
        names = [name for name, _ in items]
        body += pack("<ii", len(items), names.index(None) if None in names else -1)
        body += b"".join(text(name) for name in names if name is not None)
        end = 0
        for _, value in items:
            end += len(value)
            body += pack("<i", end)
        body += b"".join(value for _, value in items)
    if declared:
        body += pack("<i", len(declared)) + b"".join(_declared(each) for each in declared)
    return body + b"\xff"


def _declared(each: Declared) -> bytes:
    if each.value is not None:
        return text(each.name) + b"\x01" + each.value
    return text(each.name) + b"\x00" + text(each.type) + b"\x00"


def compressed(body: bytes, level: int = 6) -> bytes:
    """The same body with compressionEnabled="true"."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush() + b"\xff"
