"""What routers keep on state servers under their own name: canary and term, as bytes (design.md 5.1)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.errors import MalformedAnswer
from partitioner.membership.items import (
    MOST_CANARY_BYTES,
    MOST_EARLIER,
    MOST_OTHERS,
    MOST_TERM_BYTES,
    CanaryItem,
    Term,
    TermItem,
    read_canary,
    read_term,
)
from tests.tables import each_case

CANARIES = [
    (b"0a1b", CanaryItem(b"0a1b")),  # as it is planted
    (b"0a1b beat=0 used=0", CanaryItem(b"0a1b")),
    (b"0a1b beat=17 used=0", CanaryItem(b"0a1b", 17)),
    (b"0a1b beat=17 used=1", CanaryItem(b"0a1b", 17, is_used=True)),
    (b"0a1b beat=17 used=-", CanaryItem(b"0a1b", 17, is_last=True)),
    (b"0a1b beat=17 used=0 others=01234567-5", CanaryItem(b"0a1b", 17, others=(("01234567", 5),))),
    (
        b"0a1b beat=17 used=1 others=01234567-5,89abcdef-999999999999999",
        CanaryItem(b"0a1b", 17, is_used=True, others=(("01234567", 5), ("89abcdef", 999_999_999_999_999))),
    ),
    (b"!~ beat=999999999999999 used=1", CanaryItem(b"!~", 999_999_999_999_999, is_used=True)),
]


@each_case(("content", "item"), CANARIES)
def test_a_canary_is_read(content: bytes, item: CanaryItem) -> None:
    """It is a token, and the last beat if one was written yet."""
    assert item == read_canary(content)


LONGEST_CANARY = CanaryItem(
    b"~" * 256,
    10**14,
    is_last=True,
    others=tuple((f"{each:08x}", 10**14) for each in range(MOST_OTHERS)),
)


@each_case("item", [*(item for _, item in CANARIES), LONGEST_CANARY])
def test_a_canary_is_read_as_it_was_written(item: CanaryItem) -> None:
    """Nothing is lost on the way, and the item is short enough to be read back."""
    written = item.written()

    assert item == read_canary(written)
    assert len(written) <= MOST_CANARY_BYTES


@each_case(
    "content",
    [
        b"",
        b" ",
        b"two words",
        b"0a1b\n",
        b"0a1b ",
        b" 0a1b",
        b"\x00\x01",
        b"\xff\xfe",
        b"x" * 257,
        b"0a1b beat= used=0",
        b"0a1b beat=17 used=0 others=",
        b"0a1b beat=17 used=0 others=0123456-5",
        b"0a1b beat=17 used=0 others=01234567-5,",
        b"0a1b others=01234567-5",
        b"0a1b beat=-1 used=0",
        b"0a1b beat=1.5 used=0",
        b"0a1b beat=1",
        b"0a1b used=1",
        b"0a1b beat=1 used=2",
        b"0a1b beat=1 used=0 ",
        b"0a1b beat=1  used=0",
        b"0a1b beat=1000000000000000 used=0",
        "0a1b beat=\u0661 used=0".encode(),  # a digit, and not one of ASCII
    ],
)
def test_what_is_no_canary(content: bytes) -> None:
    """Anything else is refused whole, and the reason shows what was found."""
    with pytest.raises(MalformedAnswer) as refused:
        read_canary(content)

    assert repr(content[:40]) in str(refused.value)


def test_a_damaged_canary() -> None:
    """What comes of a damaged canary is a canary or a refusal, never another error."""
    whole = CanaryItem(b"0a1b", 17, is_used=True).written()
    for place in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        try:
            assert isinstance(read_canary(bytes(damaged)), CanaryItem)
        except MalformedAnswer:
            continue


TERMS = [
    (b"1 a", TermItem(Term(1, "a"))),
    (b"17 0z9", TermItem(Term(17, "0z9"))),
    (b"3 c 2-b 1-a", TermItem(Term(3, "c"), (Term(2, "b"), Term(1, "a")))),
]


@each_case(("content", "item"), TERMS)
def test_a_term(content: bytes, item: TermItem) -> None:
    """It is a number and a word, and those of earlier routers, and reads as it was written."""
    assert item == read_term(content)
    assert content == item.written()


def test_only_so_many_earlier_terms_are_written() -> None:
    """The item stays within its bound, however many claims have not come to their end."""
    longest = Term(10**15 - 1, "w" * 16)
    written = TermItem(longest, (longest,) * (MOST_EARLIER + 3)).written()

    assert MOST_EARLIER == len(read_term(written).earlier)
    assert len(written) <= MOST_TERM_BYTES


@each_case(
    "content",
    [
        *(b"", b"1", b"1 ", b" 1 a", b"1 A", b"one a", b"1 a\n", b"1 a ", b"-1 a", b"1 a 1", b"1 a b"),
        *(b"1 a 1-", b"1 " + b"a" * 17, b"1" * 16 + b" a", b"\xff a"),
    ],
)
def test_what_is_no_term(content: bytes) -> None:
    """Anything else is refused whole, and the reason shows what was found."""
    with pytest.raises(MalformedAnswer) as refused:
        read_term(content)

    assert repr(content[:40]) in str(refused.value)


@given(content=st.binary(max_size=80) | st.from_regex(rb"\A[!-~]{1,9}( beat=[0-9]{1,20} used=[0-9-])?\Z"))
def test_any_bytes_for_a_canary(content: bytes) -> None:
    """They are a canary that is read alike when it is written again, or refused; nothing else is raised."""
    with suppress(MalformedAnswer):
        item = read_canary(content)

        assert item == read_canary(item.written())


@given(content=st.binary(max_size=80) | st.from_regex(rb"\A[0-9]{1,20} [0-9a-z]{1,20}( [0-9]-[a-z])*\Z"))
def test_any_bytes_for_a_term(content: bytes) -> None:
    """They are a term that is read alike when it is written again, or refused; nothing else is raised."""
    with suppress(MalformedAnswer):
        item = read_term(content)

        assert item.term == read_term(item.written()).term
