"""From targets to keys: protocol.md 4.1 to 4.3."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from partitioner.protocol.target import (
    Applications,
    Spellings,
    canonical_key,
    encode_target,
    server_key,
    target_of,
)
from tests.samples.exchanges import (
    EXCHANGES,
    FIRST,
    SECOND,
    SECOND_ANTI_XSS,
    SECOND_DOUBLE_SLASH,
    SECOND_LITERAL_SLASHES,
)
from tests.tables import each_case

APPLICATION_KEY = "/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/"
SECOND_KEY = APPLICATION_KEY + "zz45nnecaiiqye55asxwtm5a"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()

# A target, and the key under which a stock server files it.
DECODED: list[tuple[bytes, bytes]] = [
    # Slashes, and their two spellings.
    (b"/LM", b"/LM"),
    (b"%2fLM", b"/LM"),
    (b"%2FLM", b"/LM"),
    (b"LM", b"LM"),
    (b"/LM/W3SVC", b"/LM/W3SVC"),
    (b"%2fLM%2fW3SVC", b"/LM/W3SVC"),
    (b"%2fLM/W3SVC", b"/LM/W3SVC"),
    (b"/a//b", b"/a//b"),
    (b"/a/../b/./c", b"/a/../b/./c"),
    (b"/a?b#c", b"/a?b#c"),
    (b"/a%3fb", b"/a?b"),
    # One of two leading slashes is dropped, if both are literal.
    (b"//LM", b"/LM"),
    (b"///LM", b"//LM"),
    (b"//", b"/"),
    (b"/", b"/"),
    (b"/%2fLM", b"//LM"),
    (b"%2f/LM", b"//LM"),
    (b"%2f%2fLM", b"//LM"),
    # Letter case.
    (b"/Root", b"/Root"),
    (b"/%41%4a%4A%6a", b"/AJJj"),
    (b"/%c3%A9", "/é".encode()),
    (b"/%C3%a9", "/é".encode()),
    # `+` is a space, `%2b` is a plus, and decoding happens once.
    (b"/a+b", b"/a b"),
    (b"/a%20b", b"/a b"),
    (b"/a%2bb", b"/a+b"),
    (b"/a%2Bb+c", b"/a+b c"),
    (b"/%2520", b"/%20"),
    (b"/%252f", b"/%2f"),
    (b"/%25u0041", b"/%u0041"),
    # A `%` without hex after it stays as it is.
    (b"/100%", b"/100%"),
    (b"/%4", b"/%4"),
    (b"/%g1", b"/%g1"),
    (b"/%1g", b"/%1g"),
    (b"/%%41", b"/%A"),
    (b"/%+41", b"/% 41"),
    (b"/%-1", b"/%-1"),
    # UTF-8; what is none is replaced.
    (b"/%e2%82%ac", "/€".encode()),
    (b"/%f0%9f%98%80", "/😀".encode()),
    (b"/\xc3\xa9", "/é".encode()),
    (b"/%ff", b"/" + REPLACEMENT),
    (b"/%c3", b"/" + REPLACEMENT),
    (b"/%c3x", b"/" + REPLACEMENT + b"x"),
    (b"/%c3%28", b"/" + REPLACEMENT + b"("),
    (b"/%00", b"/\x00"),
    # UTF-16 units.
    (b"/%u0041", b"/A"),
    (b"/%u00e9", "/é".encode()),
    (b"/%u20AC", "/€".encode()),
    (b"/%u20ac", "/€".encode()),
    (b"/%u002f", b"//"),
    (b"%u002fLM", b"/LM"),
    (b"/%u00411", b"/A1"),
    (b"/%u0041%42+%u0043", b"/AB C"),
    (b"/%u002b", b"/+"),
    (b"/%u0025u0041", b"/%u0041"),
    (b"/%u004", b"/%u004"),
    (b"/%u004g", b"/%u004g"),
    (b"/%u", b"/%u"),
    (b"/%U0041", b"/%U0041"),
    (b"/%%u0041", b"/%A"),
    (b"/%c3%u0041%a9", b"/" + REPLACEMENT + b"A" + REPLACEMENT),
    # Surrogates: a pair is one character, a lone one stays what it is.
    (b"/%ud83d%ude00", "/😀".encode()),
    (b"/%uD83D%uDE00", "/😀".encode()),
    (b"/%ud83d", b"/\xed\xa0\xbd"),
    (b"/%ude00", b"/\xed\xb8\x80"),
    (b"/%ude00%ud83d", b"/\xed\xb8\x80\xed\xa0\xbd"),
    (b"/%ud83dx%ude00", b"/\xed\xa0\xbdx\xed\xb8\x80"),
    (b"/%ud83d%ud83d%ude00", b"/\xed\xa0\xbd" + "😀".encode()),
]


@each_case(("target", "key"), DECODED)
def test_server_key(target: bytes, key: bytes) -> None:
    """One of two raw leading slashes goes; `+`, %uXXXX and %XX are decoded (protocol.md 4.2)."""
    assert key == server_key(target)


@each_case(("target", "key"), DECODED)
def test_canonical_key(target: bytes, key: bytes) -> None:
    """The same, except that leading slashes collapse to exactly one (protocol.md 4.3)."""
    assert b"/" + key.lstrip(b"/") == canonical_key(target)


@each_case(
    "target",
    [b"LM/x", b"/LM/x", b"//LM/x", b"///LM/x", b"/%2fLM/x", b"%2f%2fLM%2fx", b"%u002fLM/x", b"%2FLM%2Fx"],
)
def test_slashes_do_not_matter_to_routing(target: bytes) -> None:
    """Whatever some server may take for the same session is routed to one place (protocol.md 4.3; A2)."""
    expected = b"/LM/x"

    assert expected == canonical_key(target)


@each_case(
    "target",
    [SECOND, SECOND_LITERAL_SLASHES, SECOND_DOUBLE_SLASH, SECOND_ANTI_XSS],
    ids=["X25", "X30", "X32", "X31"],
)
def test_spellings_of_one_session(target: bytes) -> None:
    """Stock client, specification, ASP.NET 1.1 and AntiXssEncoder mean one key (protocol.md 13)."""
    key = SECOND_KEY.encode()

    assert (key, key) == (server_key(target), canonical_key(target))


@each_case(
    ("one", "other"),
    [
        (b"/%2fLM", b"%2fLM"),
        (b"LM/W3SVC", b"/LM/W3SVC"),
        (b"/LM/ROOT/x", b"/LM/Root/x"),
        (b"/LM/x", b"/LM/x/"),
        (FIRST, SECOND),
    ],
)
def test_different_sessions(one: bytes, other: bytes) -> None:
    """These are different keys to a stock server (protocol.md 4.2)."""
    assert server_key(one) != server_key(other)


ENCODED: list[tuple[str, bytes]] = [
    (SECOND_KEY, SECOND),
    ("azAZ09", b"azAZ09"),
    ("-_.!*()", b"-_.!*()"),
    ("/+=", b"%2f%2b%3d"),
    ("a b", b"a+b"),
    ("~'\"", b"%7e%27%22"),
    ("100%", b"100%25"),
    ("%20", b"%2520"),
    ("%7E", b"%257E"),
    ("é€😀", b"%c3%a9%e2%82%ac%f0%9f%98%80"),
    ("\x00\n\x7f", b"%00%0a%7f"),
    ("?#&:;,@$<>", b"%3f%23%26%3a%3b%2c%40%24%3c%3e"),
]


@each_case(("key", "target"), ENCODED)
def test_encode_target(key: str, target: bytes) -> None:
    """Letters, digits, `-_.!*()` are literal, a space is `+`, the rest lower-case hex (protocol.md 4.1)."""
    assert target == encode_target(key)


PIECES = st.sampled_from([b"/", b"//", b"%2f", b"+", b"%25", b"%u", b"%ud83d", b"%ude00", b"%u00e9", b"%ff"])


@given(st.lists(PIECES | st.binary(min_size=1), min_size=1).map(b"".join))
def test_a_key_is_spelt_so_that_it_is_found(target: bytes) -> None:
    """What a listing says of a key leads a server to that key, and a router to its place (4.2, 4.3)."""
    spelt = target_of(server_key(target))

    assert (server_key(target), canonical_key(target)) == (server_key(spelt), canonical_key(spelt))
    assert spelt.isascii()
    assert b" " not in spelt
    assert spelt == Spellings().target_of(server_key(target))


def test_an_application_is_spelt_once() -> None:
    """And each of its sessions as it would be alone."""
    spell = Spellings().target_of
    keys = [f"{APPLICATION_KEY}session{number:017d}".encode() for number in range(3)]

    assert [target_of(key) for key in keys] == [spell(key) for key in keys]


def test_targets_of_the_examples() -> None:
    """The examples are about two sessions and a probe, in many spellings (protocol.md 13)."""
    keys = {server_key(exchange.asked.target) for exchange in EXCHANGES if exchange.asked is not None}

    assert {server_key(FIRST), SECOND_KEY.encode(), b"/asp-probe"} == keys


pieces = st.sampled_from(
    [
        b"%2f",
        b"%2F",
        b"/",
        b"%",
        b"%2",
        b"%u00",
        b"%ud83d",
        b"%ude00",
        b"%c3",
        b"%a9",
        b"+",
        b"LM",
        b"s1",
        b"(",
        b".",
    ]
)


@pytest.mark.parametrize("key_of", [server_key, canonical_key])
@given(targets=st.lists(st.lists(pieces, max_size=6).map(b"".join), min_size=1, max_size=5))
@example(targets=[b"%2fs1", b"s1"])
def test_applications_are_decoded_once_and_all_the_same(
    key_of: Callable[[bytes], bytes], targets: list[bytes]
) -> None:
    """Whatever was asked before, a key is the one that the function derives from the target alone."""
    applications = Applications(key_of)

    for each in targets * 2:
        assert key_of(each) == applications.key_of(each)


def test_applications_that_somebody_invents_are_not_remembered() -> None:
    """There are 256 places, and a client that comes too late for one is served all the same."""
    decoded = []

    def key_of(target: bytes) -> bytes:
        decoded.append(target)
        return server_key(target)

    applications = Applications(key_of)
    for _ in range(2):
        for number in range(300):
            assert b"/%d/s1" % number == applications.key_of(b"/%d%%2fs1" % number)

    assert len(decoded) == 300 + 44
