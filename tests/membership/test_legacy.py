"""Locks and marks, handed on by a router that stops in order (design.md 5.2.3)."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from partitioner.errors import MalformedFile
from partitioner.membership.backend import BackendId
from partitioner.membership.entry import LOCK, REMOVE, Lock
from partitioner.membership.items import Term
from partitioner.membership.ledger import Ledger, LedgerPolicy
from partitioner.membership.legacy import read_legacy, restore_ledger, write_legacy
from tests.identities import STATE_1, STATE_2, STATE_3
from tests.membership.ledgers import KEY, NOW, OTHER, TARGET, ledger
from tests.tables import each_case

ORDER = (Term(7, "word"), 3)
LATER = 50.0  # the monotonic time of the next router, whose machine was started anew


def full() -> Ledger:
    book = ledger()
    book.note_lock(KEY, TARGET, Lock(5, STATE_1, b"\xfflife", NOW - 20.0), 30)
    book.mark(KEY, TARGET, STATE_2, NOW - 10.0, is_stale=True, reason=REMOVE)
    book.note_unanswered(OTHER, TARGET, STATE_3, NOW - 5.0)
    book.note_lost(OTHER, [STATE_3])
    return book


WRITTEN = write_legacy(full(), ORDER, NOW)


def restored() -> Ledger:
    book = Ledger(LedgerPolicy())
    restore_ledger(book, read_legacy(WRITTEN), LATER)
    return book


def test_what_is_handed_on() -> None:
    """The same locks, with their age, and the same marks, with their reasons."""
    book = restored()
    lock = book.maybe_lock(KEY, LATER)

    assert ORDER == read_legacy(WRITTEN).order
    assert Lock(5, STATE_1, b"\xfflife", LATER - 20.0) == lock
    assert {"state-2": frozenset({REMOVE}), "state-3": frozenset({"write"})} == book.reasons()
    assert (True, True) == (book.marks(KEY)[STATE_2].is_stale, book.is_lost(OTHER))
    assert (2, 1) == (book.keys_marked, book.locks_held)


def test_connections_of_before_are_gone() -> None:
    """What lay in them has been dropped, and a mark's time begins anew."""
    mark = restored().marks(OTHER)[STATE_3]

    assert (0, LATER) == (mark.open, mark.since)


def test_a_lock_ends_when_its_session_does() -> None:
    """The session of half an hour has lived for twenty seconds since."""
    book = restored()

    assert book.maybe_lock(KEY, LATER + 30 * 60 - 21.0) is not None
    assert book.maybe_lock(KEY, LATER + 30 * 60 + 1.0) is None


def handed_on(book: Ledger) -> Ledger:
    """What the next router has of this one, at the same time."""
    following = ledger()
    restore_ledger(following, read_legacy(write_legacy(book, ORDER, NOW)), NOW)
    return following


def test_an_empty_ledger() -> None:
    """The record that it goes with is all that it says."""
    legacy = read_legacy(write_legacy(ledger(), ORDER, NOW))

    assert (ORDER, ()) == (legacy.order, legacy.entries)


def test_whether_there_was_a_session_at_all() -> None:
    """A request without an answer tells of none, and does not after a restart either."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, STATE_1, NOW)
    book.note_unanswered(OTHER, TARGET, STATE_1, NOW)
    book.note_served(OTHER, NOW)

    assert [False, True] == [handed_on(book).tells_of_a_session(key) for key in (KEY, OTHER)]


def test_the_oldest_lock_is_the_first() -> None:
    """A key that was remembered first may have been locked last."""
    book = ledger()
    book.mark(KEY, TARGET, STATE_2, NOW - 60.0, is_stale=False)
    book.note_lock(OTHER, TARGET, Lock(2, STATE_1, b"incarnation", NOW - 50.0), 20)
    book.note_lock(KEY, TARGET, Lock(3, STATE_1, b"incarnation", NOW - 40.0), 20)

    assert [OTHER, KEY] == [key for key, _ in book.locks()]
    assert [OTHER, KEY] == [key for key, _ in handed_on(book).locks()]


_KEYS = (KEY, OTHER, b"/app/\xff\x00")
_SERVERS = (STATE_1, STATE_2)


def _change(book: Ledger, what: int, key: bytes, server: BackendId) -> None:
    match what:
        case 0:
            book.note_lock(key, TARGET, Lock(9, server, b"\xfe", NOW - 9.0), 20)
        case 1:
            book.mark(key, TARGET, server, NOW - 8.0, is_stale=True, reason=LOCK)
        case 2:
            book.mark(key, TARGET, server, NOW - 7.0, is_stale=False, reason=REMOVE)
        case 3:
            book.note_saved(key, [server], b"content")
        case 4:
            book.note_lost(key, [server])
        case 5:
            book.unmark(key, server)
        case 6:
            book.note_served(key, NOW - 1.0)
        case _:
            book.end_lock(key)


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(_KEYS), st.sampled_from(_SERVERS)), max_size=20
    )
)
def test_nothing_gets_lost(changes: list[tuple[int, bytes, BackendId]]) -> None:
    """After any history the next router knows the same of every key, but for the time of its marks."""
    book = ledger()
    for what, key, server in changes:
        _change(book, what, key, server)
    following = handed_on(book)

    assert dict(book.entries()).keys() == dict(following.entries()).keys()
    for key in _KEYS:
        assert book.maybe_lock(key, NOW) == following.maybe_lock(key, NOW)
        assert book.is_lost(key) == following.is_lost(key)
        assert book.tells_of_a_session(key) == following.tells_of_a_session(key)
        assert {
            server: (mark.is_stale, mark.reason, mark.taken) for server, mark in book.marks(key).items()
        } == {
            server: (mark.is_stale, mark.reason, mark.taken) for server, mark in following.marks(key).items()
        }
    assert (book.keys_marked, book.keys_lost) == (following.keys_marked, following.keys_lost)
    assert [book.lost_on(each) for each in _SERVERS] == [following.lost_on(each) for each in _SERVERS]


def packed(plain: bytes) -> bytes:
    """A ledger that says this, whatever it is, with a right checksum."""
    content = zlib.compress(plain)
    return b"partitioner ledger, format 1, checksum %b\n" % xxh3_64_hexdigest(content).encode() + content


def saying(before: str, after: str) -> bytes:
    plain = zlib.decompress(WRITTEN.partition(b"\n")[2])
    assert before.encode() in plain
    return packed(plain.replace(before.encode(), after.encode()))


@each_case(
    ("content", "sentence"),
    [
        (b"", "foreign or damaged"),
        (WRITTEN.replace(b"ledger", b"record"), "foreign or damaged"),
        (WRITTEN.replace(b"format 1", b"format 2"), "has the format 2; this program reads format 1"),
        (WRITTEN.replace(b"format 1", b"format " + b"9" * 5000), "foreign or damaged"),
        (WRITTEN + b" ", "wrong checksum"),
        (packed(b"{}"), "does not say what a ledger says: term: "),
        (saying('"key":"', '"key":"\u20ac'), "does not say what a ledger says"),
        (saying('"cookie":5', '"cookie":null'), "does not say what a ledger says: entries.0.lock.cookie: "),
    ],
)
def test_what_is_wrong_is_said(content: bytes, sentence: str) -> None:
    """The operator learns whether it is foreign, of another version, or damaged."""
    with pytest.raises(MalformedFile, match=sentence) as raised:
        read_legacy(content)

    assert "\n" not in str(raised.value)


@each_case("place", range(len(WRITTEN)))
def test_a_flipped_bit(place: int) -> None:
    """One bit anywhere is enough to refuse it."""
    flipped = bytearray(WRITTEN)
    flipped[place] ^= 1

    with pytest.raises(MalformedFile):
        read_legacy(bytes(flipped))


@each_case("length", range(0, len(WRITTEN), 5))
def test_truncated(length: int) -> None:
    """However little is missing, nothing of it is believed."""
    with pytest.raises(MalformedFile):
        read_legacy(WRITTEN[:length])
