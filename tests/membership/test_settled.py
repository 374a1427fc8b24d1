"""Settled or not: from when on the ledger takes a 404 for the truth (design.md 7.4)."""

import pytest

from partitioner.membership.backend import Address, Backend
from partitioner.membership.health import HealthPolicy
from partitioner.membership.pool import Pool, first_pool
from tests.membership.ledgers import HOUR, KEY, NOW, OTHER, TARGET, ledger, marked, sweep


def pool(changed_at: float = NOW) -> Pool:
    return first_pool([Backend("a", Address("10.0.0.1", 42424))], HealthPolicy(), 1, changed_at)


LATER = NOW + HOUR + 1
"""A moment at which nothing has changed for T_max."""


def test_settled_times_begin_a_t_max_after_the_last_change() -> None:
    """For T_max after any change of the pool, keys are unsettled (design.md 7.4)."""
    book = ledger()

    assert [True, True, False] == [
        book.is_unsettled_time(pool(), now) for now in (NOW, NOW + HOUR, NOW + HOUR + 1)
    ]
    assert [False, False, True] == [
        book.is_settled(KEY, pool(), now) for now in (NOW, NOW + HOUR, NOW + HOUR + 1)
    ]


def test_a_longer_time_out_makes_unsettled_times_longer() -> None:
    """T_max follows the longest session."""
    book = ledger()
    book.note_timeout(OTHER, 120)

    assert not book.is_settled(KEY, pool(), NOW + 2 * HOUR)


def test_a_write_settles_its_key() -> None:
    """A write or remove under the present epoch has put its key where it belongs, and no other."""
    book, now = ledger(), pool()
    book.note_settled(KEY, now, NOW)

    assert [True, False] == [book.is_settled(each, now, NOW) for each in (KEY, OTHER)]


def test_a_new_epoch_unsettles() -> None:
    """The next change of the pool may have the key belong elsewhere."""
    book, before = ledger(), pool()
    book.note_settled(KEY, before, NOW)
    after = before.succeeded_by(before.members, before.ranking, 1, NOW + 1)

    assert not book.is_settled(KEY, after, NOW + 1)


def test_what_was_settled_is_forgotten_with_its_epoch() -> None:
    """Nor is it settled again by the write of another key under the new epoch."""
    book, before = ledger(), pool()
    book.note_settled(KEY, before, NOW)
    after = before.succeeded_by(before.members, before.ranking, 1, NOW + 1)
    book.note_settled(OTHER, after, NOW + 1)

    assert [False, True] == [book.is_settled(each, after, NOW + 1) for each in (KEY, OTHER)]


@pytest.mark.parametrize("now", [NOW, LATER], ids=["unsettled times", "settled times"])
def test_a_mark_unsettles_its_key(now: float) -> None:
    """From its first mark on a key may lie where it does not belong (design.md 7.4)."""
    book = ledger()
    book.note_settled(KEY, pool(), now)
    book.mark(KEY, TARGET, "a", now, is_stale=True)

    assert not book.is_settled(KEY, pool(), now)


def test_a_key_is_unsettled_beyond_its_last_mark() -> None:
    """A mark that has gone by repair or time leaves open where else the session lies: a write settles it."""
    book = marked("a", since=LATER)
    book.note_put_right(KEY, "a", LATER + 1)
    before = book.is_settled(KEY, pool(), LATER + 1)
    book.note_settled(KEY, pool(), LATER + 1)

    assert (False, True) == (before, book.is_settled(KEY, pool(), LATER + 1))
    assert len(book) == 0


def test_a_write_that_leaves_a_mark_does_not_settle() -> None:
    """A degraded write leaves its key unsettled (design.md 7.4)."""
    book = marked("a", since=LATER)
    book.note_settled(KEY, pool(), LATER + 1)

    assert not book.is_settled(KEY, pool(), LATER + 1)


def test_a_whole_repair_settles() -> None:
    """Repair that leaves no mark has put the session where it belongs."""
    book = marked("a", "b", since=LATER)
    book.note_put_right(KEY, "a", LATER + 1)
    book.note_repaired(KEY)
    between = book.is_settled(KEY, pool(), LATER + 1)
    book.note_put_right(KEY, "b", LATER + 1)
    book.note_repaired(KEY)

    assert (False, True) == (between, book.is_settled(KEY, pool(), LATER + 1))


def test_a_mark_undoes_what_a_write_has_settled() -> None:
    """In unsettled times a key that was marked is asked for everywhere again, repaired or not."""
    book = ledger()
    book.note_settled(KEY, pool(), NOW)
    book.mark(KEY, TARGET, "a", NOW + 1, is_stale=True)
    book.note_put_right(KEY, "a", NOW + 2)
    book.note_repaired(KEY)

    assert not book.is_settled(KEY, pool(), NOW + 2)


def test_an_unsettled_key_is_forgotten_when_its_session_has_expired() -> None:
    """What has expired lies nowhere, and is remembered no longer."""
    book = marked("a")
    book.note_put_right(KEY, "a", NOW + 1)
    book.note_alive(KEY, NOW + 1_000)
    sweep(book, NOW + 1_000 + HOUR)
    before = len(book)
    sweep(book, NOW + 1_001 + HOUR)

    assert (1, 0) == (before, len(book))


def test_settled_keys_are_bounded() -> None:
    """In unsettled times not more keys are remembered as settled than may be; the others are asked for."""
    book, now = ledger(keys=3), pool()
    for number in range(10):
        book.note_settled(b"%d" % number, now, NOW)

    assert 3 == sum(book.is_settled(b"%d" % number, now, NOW) for number in range(10))
