"""Reads the primitives of .NET's BinaryWriter from bytes that may be damaged."""

from struct import Struct

_INT32 = Struct("<i")

_LONGEST_PREFIX = 5
"""Bytes of a length of 31 bits, seven in each."""


class Damaged(Exception):
    """Nothing can be read from here on."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at
        self.why = why


class Cursor:
    """A place in some bytes. Whatever reads there raises Damaged where it cannot, and stays where it was."""

    __slots__ = ("_body", "at", "end", "ending")

    def __init__(
        self, body: bytes, at: int = 0, end: int | None = None, ending: str = "it ends here"
    ) -> None:
        """Read up to `end`, or to the end of the body; `ending` says why there is nothing more."""
        self._body = body
        self.at = at
        self.end = len(body) if end is None else min(end, len(body))
        self.ending = ending

    @property
    def left(self) -> int:
        return self.end - self.at

    def until(self, end: int) -> "Cursor":
        """Another cursor at the same place, which ends sooner."""
        return Cursor(self._body, self.at, min(end, self.end), self.ending)

    def skip(self, length: int) -> int:
        """Pass over so many bytes; return where they begin."""
        if not 0 <= length <= self.left:
            raise Damaged(self.end, self.ending)
        begin, self.at = self.at, self.at + length
        return begin

    def byte(self) -> int:
        return self._body[self.skip(1)]

    def int32(self) -> int:
        number: int = _INT32.unpack_from(self._body, self.skip(4))[0]
        return number

    def flag(self) -> bool:
        """A byte that is 0 or 1."""
        begin, value = self.at, self.byte()
        if value > 1:
            self.at = begin
            raise Damaged(begin, f"a flag is {value}; expected 0 or 1")
        return value == 1

    def text(self) -> str:
        """A string with its length before it, in seven bits a byte."""
        begin = self.at
        length = self._length()
        if length > self.left:
            self.at = begin
            raise Damaged(begin, f"a text of {length} bytes begins, and {self.left} are left; {self.ending}")
        start = self.skip(length)
        return self._body[start : start + length].decode("utf-8", "replace")

    def _length(self) -> int:
        begin, length = self.at, 0
        for index in range(_LONGEST_PREFIX):
            piece = self.byte()
            length |= (piece & 0x7F) << (7 * index)
            if piece < 0x80:
                if length < 2**31:
                    return length
                break
        self.at = begin
        raise Damaged(begin, "a length has more than 31 bits")
