"""An XML file of a web server: its elements, and where in the file each of them and their values stand.

These files come from other machines, and whoever wrote one may have meant harm. Everything that makes XML
dangerous (entities that multiply, entities that name files or addresses) is declared in a document type, so
a file that has one is refused where it begins, before anything in it is read; nothing that ASP.NET
or IIS writes has one. Size and depth are bounded, and the parser gets the whole text at once, so no token
is scanned twice. That is what defusedxml does around the same parser; it was not taken because it has no
types, no release since 2021, and hides the parser's position, which is needed here. lxml knows lines and no
columns.

Elements keep their places for two reasons: a finding names the line of the value that it is about, and a
value is changed in the text itself, so that comments, white space and all other bytes stay as they are. No
parser gives the place of an attribute. Where a tag begins is known, and that it is well formed; so the few
rules of what stands in a tag are enough to find the rest.
"""

import codecs
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.parsers import expat

from partitioner.errors import WebConfigUnreadable
from partitioner.units import format_size

LARGEST_FILE = 16 * 1024 * 1024
"""Bytes. An applicationHost.config with a thousand sites has about one million; IIS itself takes a web.config
of 250 KiB at most, unless it is told otherwise."""

DEEPEST = 100
"""Levels of elements. Real files have about ten."""

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BARE_UTF16 = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_DECLARED = re.compile(rb"""<\?xml[^>]{1,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_ENCODINGS = re.compile(
    r"utf-?8|us-ascii|ascii|iso-8859-\d{1,2}|windows-125\d|cp125\d|gb2312|gbk|shift_jis|big5"
)
"""What a file may declare that has no byte order mark; Python knows codecs that are not of text."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_TAG_NAME = re.compile(r"<[^\s/>]+")
_ATTRIBUTE = re.compile(r"""\s+([^\s=/>"']+)\s*=\s*("[^"]*"|'[^']*')""")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, as editors count: both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Element:
    """An element, without its text: configuration files keep nothing there that is compared."""

    name: str  # without a namespace's prefix
    attributes: Mapping[str, str]  # by their names as written
    offset: int  # of its `<` in the text
    children: tuple["Element", ...]

    def all(self, path: str) -> Iterator["Element"]:
        """The elements at this path below, such as `system.web/sessionState`, in their order."""
        name, _, rest = path.partition("/")
        for child in self.children:
            if child.name == name:
                if rest:
                    yield from child.all(rest)
                else:
                    yield child

    def walk(self) -> Iterator["Element"]:
        """This element and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the text: the offsets of its first character and of the one after its last."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was read."""

    root: Element
    text: str  # without the byte order mark
    encoding: str
    bom: bytes
    line_starts: tuple[int, ...]  # offsets

    def encoded(self, text: str) -> bytes:
        """The bytes of a file with this text, as this file is written. Raises UnicodeEncodeError."""
        return self.bom + text.encode(self.encoding)

    def place(self, offset: int) -> Place:
        return _place(self.line_starts, offset)

    def line_of(self, element: Element, attribute: str | None = None) -> int:
        """The line of an element, or of the value of one of its attributes."""
        span = None if attribute is None else self.values(element).get(attribute)
        return self.place(element.offset if span is None else span.start).line

    def values(self, element: Element) -> dict[str, Span]:
        """Where the values of an element's attributes stand, without their quotes."""
        at = self.end_of_name(element)
        found = {}
        while (match := _ATTRIBUTE.match(self.text, at)) is not None:
            found[match[1]] = Span(match.start(2) + 1, match.end(2) - 1)
            at = match.end()
        return found

    def tag(self, element: Element) -> str:
        """The text of an element's start tag, or of all of an element without content."""
        values = self.values(element).values()
        last = max((span.end + 1 for span in values), default=self.end_of_name(element))
        return self.text[element.offset : self.text.index(">", last) + 1]

    def end_of_name(self, element: Element) -> int:
        """The offset behind the name in an element's tag, where its first attribute may stand."""
        match = _TAG_NAME.match(self.text, element.offset)
        assert match is not None, "the parser has found a tag here"
        return match.end()


def _place(line_starts: tuple[int, ...], offset: int) -> Place:
    line = bisect_right(line_starts, offset)
    return Place(line, offset - line_starts[line - 1] + 1)


def read_document(content: bytes) -> Document:
    """Read a file. Raises WebConfigUnreadable."""
    if len(content) > LARGEST_FILE:
        raise WebConfigUnreadable(
            f"has more than {format_size(LARGEST_FILE)}; no configuration is that large"
        )
    bom, encoding = _encoding(content)
    text = _decoded(content, bom, encoding)
    starts = (0, *(match.end() for match in _LINE_END.finditer(text)))
    return Document(_Reader(text, starts).read(), text, encoding, bom, starts)


def _encoding(content: bytes) -> tuple[bytes, str]:
    """The byte order mark and the encoding of a file."""
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return bom, encoding
    for beginning, encoding in _BARE_UTF16:
        if content.startswith(beginning):
            return b"", encoding
    declared = _DECLARED.match(content)
    if declared is None:
        return b"", "utf-8"
    name = declared[1].decode("ascii")
    if not _ENCODINGS.fullmatch(name.lower()):
        place = Place(1, declared.start(1) + 1)
        raise WebConfigUnreadable(
            f"says that it is in the encoding {name!r}, and is not", place.line, place.column
        )
    return b"", name.lower()


def _decoded(content: bytes, bom: bytes, encoding: str) -> str:
    try:
        return content[len(bom) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = _LINE_END.split(error.object[: error.start].decode(encoding, "replace"))
        line, column = len(before), len(before[-1]) + 1
        raise WebConfigUnreadable(f"is not text in {encoding}", line, column) from error
    except LookupError as error:
        raise WebConfigUnreadable(f"is in the encoding {encoding!r}, which is not known", 1, 1) from error


class _Open:
    """An element whose end has not been seen."""

    __slots__ = ("attributes", "children", "name", "offset")

    def __init__(self, name: str, attributes: dict[str, str], offset: int) -> None:
        self.name = name
        self.attributes = attributes
        self.offset = offset
        self.children: list[Element] = []

    def closed(self) -> Element:
        return Element(self.name.rpartition(":")[2], self.attributes, self.offset, tuple(self.children))


class _Reader:
    """Makes elements of what the parser finds. One file each."""

    def __init__(self, text: str, line_starts: tuple[int, ...]) -> None:
        self._text = text
        self._line_starts = line_starts
        self._open: list[_Open] = []
        self._root: Element | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse_document_type
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end

    def read(self) -> Element:
        """The root element. Raises WebConfigUnreadable."""
        try:
            self._parser.Parse(self._text, True)
        except expat.ExpatError as error:
            reason = f"is not well-formed XML: {expat.ErrorString(error.code)}"
            raise WebConfigUnreadable(reason, error.lineno, error.offset + 1) from error
        assert self._root is not None, "XML without an element is not well-formed"
        return self._root

    def _place(self) -> Place:
        return Place(self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1)

    def _offset(self, place: Place) -> int:
        return self._line_starts[place.line - 1] + place.column - 1

    def _refuse_document_type(self, *_declaration: object) -> None:
        # The parser has read its name by now, or all of it.
        begin = self._text.rfind("<!DOCTYPE", 0, self._offset(self._place()))
        place = _place(self._line_starts, begin)
        reason = "has a document type, which no configuration needs; neither it nor its entities are read"
        raise WebConfigUnreadable(reason, place.line, place.column)

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        place = self._place()
        if len(self._open) == DEEPEST:
            raise WebConfigUnreadable(f"has more than {DEEPEST} levels of elements", place.line, place.column)
        self._open.append(_Open(name, attributes, self._offset(place)))

    def _end(self, _name: str) -> None:
        done = self._open.pop().closed()
        if self._open:
            self._open[-1].children.append(done)
        else:
            self._root = done
