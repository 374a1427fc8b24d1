"""XML files of web servers: elements with their places, and what is refused."""

import codecs

import pytest

from partitioner.errors import WebConfigUnreadable
from partitioner.webfarm.document import DEEPEST, LARGEST_FILE, Place, read_document
from tests.tables import each_case

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE configuration [
  <!ENTITY a "ha">
  <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
  <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
]>
<configuration>&c;</configuration>
"""
FOREIGN_FILE = b'<!DOCTYPE c [<!ENTITY e SYSTEM "file:///etc/passwd">]><c>&e;</c>'
FOREIGN_TYPE = b'<!DOCTYPE c SYSTEM "http://127.0.0.1:1/c.dtd"><c/>'
NO_TYPE = "has a document type, which no configuration needs; neither it nor its entities are read"


@each_case(
    ("content", "line", "column", "reason"),
    [
        (b"", 1, 1, "is not well-formed XML: no element found"),
        (b"<configuration>\n  <a>\n", 3, 1, "is not well-formed XML: no element found"),
        (b"<configuration>\r\n\t<a></b></configuration>", 2, 7, "is not well-formed XML: mismatched tag"),
        (b'<a b="1" b="2"/>', 1, 10, "is not well-formed XML: duplicate attribute"),
        (b"<a>&nbsp;</a>", 1, 4, "is not well-formed XML: undefined entity"),
        (b"Rows affected: 1", 1, 1, "is not well-formed XML: syntax error"),
        (b"<a/>\n<b/>", 2, 1, "is not well-formed XML: junk after document element"),
        (b"\0" * 100, 1, 1, "is not well-formed XML: not well-formed (invalid token)"),
        (b"<a>" * (DEEPEST + 1), 1, 3 * DEEPEST + 1, "has more than 100 levels of elements"),
        (b" " * (LARGEST_FILE + 1), None, None, "has more than 16MiB; no configuration is that large"),
        (BOMB, 2, 1, NO_TYPE),
        (FOREIGN_FILE, 1, 1, NO_TYPE),
        (b"<!-- <!DOCTYPE a> --> " + FOREIGN_TYPE, 1, 23, NO_TYPE),
        (b"<a>\n<!-- \xe9 --></a>", 2, 6, "is not text in utf-8"),
        (
            b'<?xml version="1.0" encoding="utf-16"?><a/>',
            *(1, 31, "says that it is in the encoding 'utf-16', and is not"),
        ),
        (
            b'<?xml version="1.0" encoding="zip"?><a/>',
            *(1, 31, "says that it is in the encoding 'zip', and is not"),
        ),
    ],
)
def test_what_is_refused(content: bytes, line: int | None, column: int | None, reason: str) -> None:
    """Broken, huge, deep and dangerous files: one sentence, and the place."""
    with pytest.raises(WebConfigUnreadable) as refusal:
        read_document(content)

    assert (line, column, reason) == (refusal.value.line, refusal.value.column, str(refusal.value))


TEXT = (
    '<?xml version="1.0"{}?>\r\n'
    '<c>\r\n  <!-- \u00fc <s mode="x"/> -->\r\n'
    '\t<s\r\n mode = "St\u00e4te"   cookie=\'a"&gt;\'/>\r</c>'
)


@each_case(
    ("encoding", "bom", "declared"),
    [
        ("utf-8", b"", ""),
        ("utf-8", b"", ' encoding="UTF-8"'),
        ("utf-8", codecs.BOM_UTF8, ' encoding="utf-8"'),
        ("utf-16-le", codecs.BOM_UTF16_LE, ' encoding="utf-16"'),
        ("utf-16-be", codecs.BOM_UTF16_BE, ' encoding="UTF-16"'),
        ("utf-16-le", b"", ""),
        ("utf-16-be", b"", ' encoding="utf-16"'),
        ("windows-1252", b"", ' encoding="Windows-1252"'),
        ("iso-8859-1", b"", " encoding='iso-8859-1'"),
    ],
)
def test_places_and_bytes_are_kept(encoding: str, bom: bytes, declared: str) -> None:
    """In each encoding: where elements and values stand, and the text gives the very bytes of the file."""
    content = bom + TEXT.format(declared).encode(encoding)
    read = read_document(content)
    (found,) = read.root.all("s")
    values = {name: read.text[span.start : span.end] for name, span in read.values(found).items()}

    assert {"mode": "St\u00e4te", "cookie": 'a">'} == found.attributes
    assert {"mode": "St\u00e4te", "cookie": 'a"&gt;'} == values
    assert Place(4, 2) == read.place(found.offset)
    assert (4, 5) == (read.line_of(found), read.line_of(found, "mode"))
    assert content == read.encoded(read.text)
