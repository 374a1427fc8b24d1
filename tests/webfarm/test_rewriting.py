"""Another connection string in a web server's file, and every other byte as it was."""

import codecs

import pytest

from partitioner.errors import WebConfigUnreadable
from partitioner.webfarm.document import read_document
from partitioner.webfarm.rewriting import Change, is_connection, with_connection
from tests.tables import each_case
from tests.webfarm.gathered import sample

ROUTER = "tcpip=router:42424"


@each_case(
    ("name", "before", "after"),
    [
        ("web-1.1-farm.config", "'tcpip=10.1.0.9:42424'", "'tcpip=router:42424'"),
        ("web-2.0.config", '"tcpip=sessions:42424"', '"tcpip=router:42424"'),
        ("web-4.0.config", 'mode="StateServer"', f'mode="StateServer" stateConnectionString="{ROUTER}"'),
        ("web-4.8.config", '"tcpip=[fd00::5]:42424"', '"tcpip=router:42424"'),
        ("web-utf16.config", "tcpip=sessions:42424", ROUTER),
        ("session.config", "tcpip=sessions.example:42424", ROUTER),
        ("machine-4.0.config", "tcpip=sessions:42424", ROUTER),
        (
            "web-partitions.config",
            'mode="StateServer"',
            f'mode="StateServer" stateConnectionString="{ROUTER}"',
        ),
    ],
)
def test_one_value_is_exchanged(name: str, before: str, after: str) -> None:
    """In any encoding, with byte order mark, ends of lines and quotes; a second time changes nothing."""
    content = sample(name)
    document = read_document(content)
    old, new = (document.encoded(each)[len(document.bom) :] for each in (before, after))
    rewriting = with_connection(document, ROUTER)

    assert content.replace(old, new, 1) == rewriting.content
    assert 1 == len(rewriting.changes)
    assert () == with_connection(read_document(rewriting.content), ROUTER).changes


@each_case(
    ("name", "sentence"),
    [
        ("web-1.1.config", "sessionState in line 35 has the mode InProc; expected StateServer"),
        (
            "web-encrypted.config",
            "sessionState in line 12 is encrypted with DataProtectionConfigurationProvider; "
            "decrypt it on the web server first",
        ),
        (
            "web-sources.config",
            "sessionState in line 7 is in config\\session.config; it is changed there, if that file is given",
        ),
        (
            "root-web-4.0.config",
            "sessionState in line 22 has neither mode nor stateConnectionString: both are inherited",
        ),
        ("web-core.config", None),
        ("host-7.0.config", None),
    ],
)
def test_what_is_left_alone(name: str, sentence: str | None) -> None:
    """Sections in which a connection string does not count, or cannot be written; one sentence says why."""
    content = sample(name)
    rewriting = with_connection(read_document(content), ROUTER)

    assert content == rewriting.content
    assert ((), (sentence,) if sentence else ()) == (rewriting.changes, rewriting.left_alone)


def test_several_sections() -> None:
    """Those of `location` elements count as well; what is longer or shorter before one does not move it."""
    text = (
        "<configuration>\r\n<system.web><sessionState\tmode='StateServer'/></system.web>"
        '<location path="a"><system.web><sessionState mode="Off"/></system.web></location>'
        '<location path="b"><system.web>\r\n<sessionState stateConnectionString = "tcpip=s:1" timeout="5"\r\n'
        ' sqlConnectionString="Password=secret"></sessionState></system.web></location></configuration>'
    )
    rewriting = with_connection(read_document(codecs.BOM_UTF8 + text.encode()), ROUTER)
    expected = text.replace("'StateServer'", f"'StateServer' stateConnectionString=\"{ROUTER}\"")

    assert codecs.BOM_UTF8 + expected.replace("tcpip=s:1", ROUTER).encode() == rewriting.content
    assert (
        Change(
            2,
            "<sessionState\tmode='StateServer'/>",
            f"<sessionState\tmode='StateServer' stateConnectionString=\"{ROUTER}\"/>",
        ),
        Change(
            3,
            '<sessionState stateConnectionString = "tcpip=s:1" timeout="5"\r\n sqlConnectionString="...">',
            f'<sessionState stateConnectionString = "{ROUTER}" timeout="5"\r\n sqlConnectionString="...">',
        ),
    ) == rewriting.changes
    assert ("sessionState in line 2 has the mode Off; expected StateServer",) == rewriting.left_alone


@each_case(
    ("text", "is_one"),
    [
        ("tcpip=router:42424", True),
        ("tcpip=10.0.0.5:65535", True),
        ("tcpip=[fd00::5]:1", True),
        ("tcpip=router", False),
        ("tcpip=router:0", False),
        ("tcpip=router:65536", False),
        ("TCPIP=router:42424", False),
        ("tcpip=router:42424 ", False),
        ('tcpip=a"b:1', False),
        ("tcpip=a<b:1", False),
        ("tcpip=fd00::5:1", False),
        ("", False),
    ],
)
def test_what_is_a_connection_string(text: str, is_one: bool) -> None:
    """What ASP.NET takes, and XML need not escape."""
    assert is_one == is_connection(text)


def test_an_encoding_that_does_not_hold_it() -> None:
    """A file is not written in another encoding than its own."""
    document = read_document(b'<?xml version="1.0" encoding="us-ascii"?>\n<sessionState mode="StateServer"/>')

    with pytest.raises(WebConfigUnreadable, match="could not be written back in its encoding"):
        with_connection(document, "tcpip=r\u00f6uter:1")
