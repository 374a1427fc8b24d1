"""Settled or not: from when on the ledger takes a 404 for the truth (design.md 7.4)."""

import pytest

from partitioner.membership.eras import UnchangedSince
from partitioner.membership.ledger import Ledger
from partitioner.membership.settled_keys import MOST_ABSENT
from tests.identities import A, B
from tests.membership.ledgers import HOUR, KEY, NOW, OTHER, TARGET, ledger, marked, sweep

EPOCH = 7
JUST_CHANGED = UnchangedSince(NOW, EPOCH)
"""The acting set of the key is what it is since now, and since this epoch."""

LATER = NOW + HOUR + 1
"""A moment at which nothing has changed for T_max."""


def is_settled(book: Ledger, key: bytes, now: float = NOW) -> bool:
    return book.is_settled(key, JUST_CHANGED, now)


def note_settled(book: Ledger, key: bytes, now: float = NOW, epoch: int = EPOCH) -> None:
    book.note_settled(key, epoch, JUST_CHANGED, now)


def test_a_key_is_settled_when_its_acting_set_was_the_same_for_t_max() -> None:
    """For T_max after a change of its acting set a key may lie elsewhere (design.md 7.4)."""
    book = ledger()

    assert [False, False, True] == [is_settled(book, KEY, now) for now in (NOW, NOW + HOUR, NOW + HOUR + 1)]


def test_a_longer_time_out_makes_unsettled_times_longer() -> None:
    """T_max follows the longest session."""
    book = ledger()
    book.note_timeout(OTHER, 120)

    assert not is_settled(book, KEY, NOW + 2 * HOUR)


def test_a_write_settles_its_key() -> None:
    """A write or remove under the present epoch has put its key where it belongs, and no other."""
    book = ledger()
    note_settled(book, KEY)

    assert [True, False] == [is_settled(book, each) for each in (KEY, OTHER)]


def test_what_is_nowhere_is_settled() -> None:
    """A search that has found nothing says of a key what a write says, until it is marked or forgotten."""
    book, changed = ledger(), UnchangedSince(NOW + 1, EPOCH + 1)
    for key in (KEY, OTHER):
        book.note_absent(key, EPOCH)
    settled = [is_settled(book, KEY), book.is_settled(KEY, changed, NOW + 1), is_settled(book, OTHER)]
    book.mark(KEY, TARGET, A, NOW, is_stale=True)
    book.unmark(KEY, A)
    book.note_repaired(KEY)
    for number in range(MOST_ABSENT):
        book.note_absent(b"%d" % number, EPOCH)

    assert [True, False, True] == settled
    assert [False, False, True] == [is_settled(book, each) for each in (KEY, OTHER, b"0")]


def test_a_walk_settles_all_keys() -> None:
    """All but those that were in use when it began, or were marked before its end, or are since."""
    book, changed = ledger(), UnchangedSince(NOW + 1, EPOCH + 1)
    in_use, marked_before, marked_since = b"in use", b"marked before", b"marked since"
    book.mark(marked_before, TARGET, A, NOW, is_stale=True)
    book.note_whole(EPOCH, [in_use])
    book.mark(marked_since, TARGET, A, NOW, is_stale=True)
    for key in (marked_before, marked_since):
        book.unmark(key, A)
        book.note_repaired(key)

    assert [True, True] == [is_settled(book, each) for each in (KEY, OTHER)]
    assert [False] * 3 == [is_settled(book, each) for each in (in_use, marked_before, marked_since)]
    assert not book.is_settled(KEY, changed, NOW + 1)


def test_another_acting_set_unsettles() -> None:
    """Once its acting set has changed, what an earlier write has done says nothing."""
    book = ledger()
    note_settled(book, KEY)

    assert not book.is_settled(KEY, UnchangedSince(NOW + 1, EPOCH + 1), NOW + 1)


def test_a_change_elsewhere_does_not_unsettle() -> None:
    """A new epoch that leaves the acting set of the key as it was leaves it settled, too."""
    book = ledger()
    note_settled(book, KEY, epoch=EPOCH + 3)

    assert is_settled(book, KEY, NOW + 1)


def test_a_write_of_another_key_leaves_a_key_settled() -> None:
    """Each key is settled since its own last write."""
    book = ledger()
    note_settled(book, KEY)
    note_settled(book, OTHER, NOW + 1, EPOCH + 1)

    assert [True, True] == [is_settled(book, each, NOW + 1) for each in (KEY, OTHER)]


@pytest.mark.parametrize("now", [NOW, LATER], ids=["unsettled times", "settled times"])
def test_a_mark_unsettles_its_key(now: float) -> None:
    """From its first mark on a key may lie where it does not belong (design.md 7.4)."""
    book = ledger()
    note_settled(book, KEY, now)
    book.mark(KEY, TARGET, A, now, is_stale=True)

    assert not is_settled(book, KEY, now)


def test_a_key_is_unsettled_beyond_its_last_mark() -> None:
    """A mark that has gone by repair or time leaves open where else the session lies: a write settles it."""
    book = marked(A, since=LATER)
    book.note_put_right(KEY, A, LATER + 1)
    before = is_settled(book, KEY, LATER + 1)
    note_settled(book, KEY, LATER + 1)

    assert (False, True) == (before, is_settled(book, KEY, LATER + 1))
    assert len(book) == 0


def test_a_write_that_leaves_a_mark_does_not_settle() -> None:
    """A degraded write leaves its key unsettled (design.md 7.4)."""
    book = marked(A, since=LATER)
    note_settled(book, KEY, LATER + 1)

    assert not is_settled(book, KEY, LATER + 1)


def test_a_whole_repair_settles() -> None:
    """Repair that leaves no mark has put the session where it belongs."""
    book = marked(A, B, since=LATER)
    book.note_put_right(KEY, A, LATER + 1)
    book.note_repaired(KEY)
    between = is_settled(book, KEY, LATER + 1)
    book.note_put_right(KEY, B, LATER + 1)
    book.note_repaired(KEY)

    assert (False, True) == (between, is_settled(book, KEY, LATER + 1))


def test_a_mark_undoes_what_a_write_has_settled() -> None:
    """In unsettled times a key that was marked is asked for everywhere again, repaired or not."""
    book = ledger()
    note_settled(book, KEY, NOW)
    book.mark(KEY, TARGET, A, NOW + 1, is_stale=True)
    book.note_put_right(KEY, A, NOW + 2)
    book.note_repaired(KEY)

    assert not is_settled(book, KEY, NOW + 2)


def test_an_unsettled_key_is_forgotten_when_its_session_has_expired() -> None:
    """What has expired lies nowhere, and is remembered no longer."""
    book = marked(A)
    book.note_put_right(KEY, A, NOW + 1)
    book.note_alive(KEY, NOW + 1_000)
    sweep(book, NOW + 1_000 + HOUR)
    before = len(book)
    sweep(book, NOW + 1_001 + HOUR)

    assert (1, 0) == (before, len(book))


def test_settled_keys_are_bounded() -> None:
    """In unsettled times not more keys are remembered as settled than may be; the others are asked for."""
    book = ledger(keys=3)
    for number in range(10):
        note_settled(book, b"%d" % number)

    assert 3 == sum(is_settled(book, b"%d" % number) for number in range(10))


def test_keys_that_are_settled_anyway_are_not_remembered() -> None:
    """Only what a write has settled need be remembered: the writes of settled times take no place."""
    book = ledger(keys=1)
    note_settled(book, KEY)
    note_settled(book, OTHER, LATER)

    assert is_settled(book, KEY)
