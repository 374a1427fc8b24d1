"""A pool's past: who can have held a session, and who has held it all the time (design.md 7.4)."""

from dataclasses import replace

import pytest

from partitioner.membership.backend import NO_IDENTITY, Address, Backend, BackendId
from partitioner.membership.eras import MOST_ERAS
from partitioner.membership.health import Health, HealthRecord
from partitioner.membership.pool import (
    ASK_ALL,
    ASKED_OF_A_MAP,
    Member,
    Pool,
    ranking_of,
)
from tests.identities import identities
from tests.tables import each_case

T_MAX = 3_600.0
NOW = 100_000.0
UP = HealthRecord(health=Health.UP, since=0.0, incarnation=b"1")
DOWN = HealthRecord(health=Health.DOWN, since=0.0)
RECOVERING = HealthRecord(health=Health.RECOVERING, since=0.0, incarnation=b"1")
KEY = b"key"


def member(
    name: str, weight: float = 1.0, address: str = "10.0.0.1", identity: BackendId = NO_IDENTITY
) -> Member:
    return Member(Backend(name, Address(address, 42424), weight, identity=identity), UP)


def members(*all_of_them: Member) -> dict[BackendId, Member]:
    return {each.backend.identity: each for each in all_of_them}


def pool(count: int, copies: int = 1, changed_at: float = 0.0) -> Pool:
    """A pool of s-1, s-2 ..., all UP since long ago."""
    there = members(*(member(f"s-{number + 1}") for number in range(count)))
    return Pool(1, there, ranking_of(there.values()), copies, changed_at, known_since=changed_at)


def changed(before: Pool, now: float, *there: Member) -> Pool:
    """The pool after its map has changed."""
    return before.succeeded_by(members(*there), ranking_of(there), before.copies, now)


def removed(each: Member, now: float) -> Member:
    return replace(each, removed_at=now)


def order(there: Pool, key: bytes = KEY) -> tuple[BackendId, ...]:
    return tuple(identities(there.ranking.preference_list(key)))


# --- possible holders ---


def test_in_a_small_pool_everybody_is_asked() -> None:
    """With up to 16 servers all of the pool are asked, whatever their place in the list."""
    there = pool(ASK_ALL)

    assert set(there.members) == set(there.possible_holders(KEY))


def test_in_a_large_pool_the_first_of_the_list_are_asked() -> None:
    """With more than 16 servers the first 8 of the key's list are asked."""
    there = pool(ASK_ALL + 1)

    assert order(there)[:ASKED_OF_A_MAP] == there.possible_holders(KEY)


def test_in_a_large_pool_the_first_of_each_map_are_asked() -> None:
    """A session may still lie where an older map has put it: the first 8 under each map are asked."""
    before = pool(ASK_ALL + 1)
    after = changed(before, NOW, *before.members.values(), *(member(f"new-{each}") for each in range(30)))

    assert {*order(before)[:ASKED_OF_A_MAP], *order(after)[:ASKED_OF_A_MAP]} == set(
        after.possible_holders(KEY)
    )


def test_a_change_of_weights_is_a_change_of_map() -> None:
    """Weights move sessions too, and those that have not moved yet are found."""
    before = pool(ASK_ALL + 10)
    heavy = [
        replace(each, backend=replace(each.backend, weight=1.0 + 50 * (number % 2)))
        for number, each in enumerate(before.members.values())
    ]
    after = changed(before, NOW, *heavy)

    assert set(order(before)[:ASKED_OF_A_MAP]) <= set(after.possible_holders(KEY))
    assert set(order(after)[:ASKED_OF_A_MAP]) <= set(after.possible_holders(KEY))


@pytest.mark.parametrize("count", [3, ASK_ALL + 1])
def test_a_removed_server_is_asked(count: int) -> None:
    """A server that has left the configuration is still asked for what it holds (design.md 5)."""
    before = pool(count)
    first = order(before)[0]
    there = [removed(each, NOW) if each.backend.name == first else each for each in before.members.values()]
    after = before.succeeded_by(members(*there), ranking_of(there), 1, NOW)

    assert first in after.possible_holders(KEY)
    assert first not in order(after)


@pytest.mark.parametrize("count", [3, ASK_ALL + 1])
def test_a_forgotten_server_is_not_asked(count: int) -> None:
    """No server is asked that is no member any more, whatever older maps say."""
    before = pool(count)
    first = order(before)[0]
    after = changed(before, NOW, *(each for each in before.members.values() if each.backend.name != first))

    assert first not in after.possible_holders(KEY)


@pytest.mark.parametrize("count", [3, ASK_ALL + 1])
def test_a_server_that_moved_house_is_asked_in_both(count: int) -> None:
    """Identity is name and address: what the old server holds is not on the new one (design.md 5)."""
    before = pool(count)
    first = order(before)[0]
    moved = member(first, address="10.9.9.9", identity=BackendId(f"{first}@10.9.9.9:42424"))
    there = [removed(each, NOW) if each.backend.name == first else each for each in before.members.values()]
    after = before.succeeded_by(members(*there, moved), before.ranking, 1, NOW)

    assert {first, moved.backend.identity} <= set(after.possible_holders(KEY))


def test_a_map_is_not_forgotten_for_many_changes_of_health() -> None:
    """However often servers fall and return, an older map of the last T_max is still asked."""
    before = pool(ASK_ALL + 1)
    after = changed(before, NOW, *before.members.values(), *(member(f"new-{each}") for each in range(300)))
    flapping = BackendId("new-0")
    for number in range(MOST_ERAS):
        after = after.with_record(flapping, DOWN, NOW + number).with_record(flapping, UP, NOW + number + 0.5)

    assert set(order(before)[:ASKED_OF_A_MAP]) <= set(after.possible_holders(KEY))


def test_eras_end() -> None:
    """What was in force more than T_max ago matters no more."""
    before = pool(ASK_ALL + 1)
    after = changed(before, NOW, *before.members.values(), *(member(f"new-{each}") for each in range(300)))
    remembered = after.without_eras_before(NOW)
    forgotten = after.without_eras_before(NOW + 1)

    assert (1, 0) == (len(remembered.eras), len(forgotten.eras))
    assert order(after)[:ASKED_OF_A_MAP] == forgotten.possible_holders(KEY)


# --- has always held ---


def always(there: Pool, name: BackendId, now: float = NOW) -> bool:
    return there.has_always_held(name, KEY, now - T_MAX)


def holders(there: Pool, now: float = NOW) -> set[str]:
    return {name for name in there.members if always(there, name, now)}


@each_case("copies", [1, 2, 3])
def test_in_settled_times_the_whole_acting_set_has_always_held(copies: int) -> None:
    """Where nothing has changed for T_max, primary and copies alike speak for the key, and no others."""
    there = pool(5, copies)

    assert set(order(there)[:copies]) == holders(there)


def test_soon_after_the_start_nobody_has_always_held() -> None:
    """What was before the router's start is not known (design.md 7.4)."""
    there = pool(5, 2, changed_at=NOW - T_MAX + 1)

    assert holders(there) == set()


def test_after_a_fall_of_the_primary_the_copy_is_trusted() -> None:
    """The copy has had every write of the last T_max, whichever was primary."""
    there = pool(5, 2)
    primary, copy, *_ = order(there)
    fallen = there.with_record(primary, DOWN, NOW - 10)

    assert {copy} == holders(fallen)


def test_after_a_fall_of_the_copy_the_primary_is_trusted() -> None:
    """And the other way round; the new copy has not been there for long."""
    there = pool(5, 2)
    primary, copy, *_ = order(there)
    fallen = there.with_record(copy, DOWN, NOW - 10)

    assert {primary} == holders(fallen)


def test_a_server_that_was_out_is_not_trusted() -> None:
    """It has missed what was written meanwhile, or was restarted: not all the time, or not in one
    incarnation."""
    there = pool(5, 2)
    primary, copy, *_ = order(there)
    back = there.with_record(primary, DOWN, NOW - 20).with_record(primary, UP, NOW - 10)

    assert {copy} == holders(back)


def test_a_server_that_was_out_is_trusted_after_t_max() -> None:
    """Whatever it missed has expired by then."""
    there = pool(5, 2)
    primary, copy, *_ = order(there)
    back = there.with_record(primary, DOWN, NOW - 20).with_record(primary, UP, NOW - 10)

    assert {copy} == holders(back, NOW - 10 + T_MAX)
    assert {primary, copy} == holders(back, NOW - 10 + T_MAX + 1)


def test_changes_elsewhere_do_not_matter() -> None:
    """The fall of a server that is not of this key's acting set says nothing about the key."""
    there = pool(5, 2)
    primary, copy, third, *_ = order(there)
    other = there.with_record(third, DOWN, NOW - 20).with_record(third, UP, NOW - 10)

    assert {primary, copy} == holders(other)


def test_in_doubt_no_server_is_trusted() -> None:
    """RECOVERING is read for nothing, and so is its word."""
    there = pool(5, 2)
    primary, copy, *_ = order(there)
    doubted = there.with_record(primary, RECOVERING, NOW - 20)

    assert {copy} == holders(doubted)


def test_who_joined_is_not_trusted() -> None:
    """A new server that takes the key over has nothing to say yet; a server that kept the key has."""
    before = pool(2, 2)
    names = [f"new-{number}" for number in range(100)]
    name = next(
        each
        for each in names
        if order(changed(before, NOW, *before.members.values(), member(each)))[0] == each
    )
    after = changed(before, NOW - 10, *before.members.values(), member(name))
    primary = order(before)[0]

    assert (name, primary) == order(after)[:2]
    assert {primary} == holders(after)


def test_who_inherits_from_a_removed_server_is_not_trusted() -> None:
    """The next of the list has not held the key before the first one left; the copy has."""
    before = pool(5, 2)
    first, copy, *_ = order(before)
    there = [
        removed(each, NOW - 10) if each.backend.name == first else each for each in before.members.values()
    ]
    after = before.succeeded_by(members(*there), ranking_of(there), 2, NOW - 10)

    assert {copy} == holders(after)


def test_who_had_fewer_copies_to_hold_is_not_trusted() -> None:
    """A second copy that is new by configuration has not held what was written before."""
    before = pool(5, 1)
    after = before.succeeded_by(before.members, before.ranking, 2, NOW - 10)

    assert {order(before)[0]} == holders(after)


def test_what_was_forgotten_is_not_claimed() -> None:
    """A pool that changes too often to be remembered claims less, never more."""
    there = pool(5, 2)
    primary, third = order(there)[0], order(there)[2]
    flapping = there.with_record(primary, DOWN, NOW - 1_000).with_record(primary, UP, NOW - 999)
    for number in range(MOST_ERAS):
        at = NOW - 500 + number
        flapping = flapping.with_record(third, DOWN, at).with_record(third, UP, at + 0.5)

    assert not always(flapping, primary)


# --- how snapshots follow each other ---


def test_a_new_epoch_remembers_the_one_before() -> None:
    """An era says what was in force, from when to when."""
    before = pool(3, 2, changed_at=5.0)
    after = before.with_record(BackendId("s-1"), DOWN, 9.0)
    (era,) = after.eras

    assert (9.0, 5.0, 9.0) == (after.changed_at, era.began_at, era.ended_at)
    assert (before.eligible, 2) == (era.eligible, era.copies)


def test_a_record_that_changes_neither_health_nor_incarnation_begins_no_epoch() -> None:
    """What is counted about a server in the meantime leaves the times as settled as they were."""
    before = pool(3, 2, changed_at=5.0)
    after = before.with_record(BackendId("s-1"), replace(UP, failures=2), 9.0)

    assert (before.epoch, 5.0, ()) == (after.epoch, after.changed_at, after.eras)


def test_a_removed_server_is_not_placed_on() -> None:
    """A removed server is a member without a place."""
    before = pool(3)
    there = [removed(each, NOW) if each.backend.name == "s-2" else each for each in before.members.values()]
    after = before.succeeded_by(members(*there), ranking_of(there), 1, NOW)

    assert {"s-1", "s-3"} == set(after.places) == after.ready == after.eligible == set(order(after))
