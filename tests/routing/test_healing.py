"""What is lacking is restored without anybody using it, and "redundant" is seen."""

from dataclasses import replace

import trio
from trio.testing import MockClock

from partitioner.membership.backend import Address, Intent
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from partitioner.routing.inventory import InventoryPage
from tests.doubles.sessions import request, target
from tests.identities import STATE_1
from tests.routing.healed_pools import SESSIONS, HealedPool

NUMBERS = range(SESSIONS)


async def test_a_server_that_returns_empty_gets_its_copies_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The sessions are not used; the next server may be killed soon after, and nothing is lost."""
    pool = HealedPool(nursery)
    await pool.fill()
    held = pool.on("state-1")
    await pool.begin_anew("state-1")
    assert [] == pool.on("state-1")
    await pool.until_healed()

    assert held == pool.on("state-1")
    assert {2} == {pool.copies_of(number) for number in NUMBERS}
    pool.servers["state-2"].kill()
    await pool.router.observer.wait_for("backend_ejected")
    assert [] == await pool.lost()


async def test_redundant_is_a_fact_once_a_walk_has_counted(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Within a minute of a start or a restart, where a clock alone would say T_max."""
    pool = HealedPool(nursery)
    redundancy = pool.router.roster.redundancy
    await pool.router.probe_on()
    assert redundancy.redundant_since(trio.current_time()) is None
    await pool.until_healed()
    assert redundancy.redundant_since(trio.current_time()) is not None
    await pool.begin_anew("state-1")
    assert redundancy.redundant_since(trio.current_time()) is None
    await pool.until_healed()

    assert redundancy.redundant_since(trio.current_time()) is not None
    assert trio.current_time() < 60


async def test_content_that_differs_is_that_of_the_primary_afterwards(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Whatever has come over a copy behind the router's back."""
    pool = HealedPool(nursery)
    await pool.fill()
    primary, copy = pool.primary_and_copy(0)
    pool.servers[copy].tell(request(Operation.SET, target(0), body=b"something else"))
    await pool.heal_again()

    assert b"content 0" == pool.content_on(copy, 0) == pool.content_on(primary, 0)


async def test_a_leftover_is_removed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Once the session is whole where it belongs."""
    pool = HealedPool(nursery)
    await pool.fill()
    (outside,) = pool.servers.keys() - set(pool.primary_and_copy(0))
    pool.servers[outside].tell(request(Operation.SET, target(0), body=b"old"))
    await pool.heal_again()

    assert not pool.servers[outside].holds(target(0))
    assert 2 == pool.copies_of(0)


async def test_a_locked_session_is_healed_when_its_lock_ends(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The walk does not count before: a page's lock is taken from it by no other."""
    pool = HealedPool(nursery)
    await pool.fill()
    _, copy = pool.primary_and_copy(0)
    granted = await pool.ask(Operation.ACQUIRE, 0)
    assert b"LockCookie: 2" in granted
    pool.servers[copy].tell(request(Operation.REMOVE, target(0), cookie=0))
    pool.want_walk()
    await trio.sleep(12)
    assert (1, False) == (pool.copies_of(0), pool.healing)
    await pool.ask(Operation.RELEASE, 0, cookie=2)
    await pool.until_healed()

    assert 2 == pool.copies_of(0)


async def test_a_walk_settles_all_keys(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What all servers hold is known then, and nothing is left over: saves concern the acting set alone.

    An exchange that was under way when the walk began may be one of an earlier pool.
    """
    pool = HealedPool(nursery)
    await pool.router.probe_on()
    gate, in_use = pool.router.core.gate, server_key(target(2))
    await pool.save(0, b"before")
    await gate.enter(in_use)
    removes = [pool.removes_asked]
    await pool.until_healed()
    gate.leave(in_use)
    for number in (1, 2):
        await pool.save(number, b"after")
        removes.append(pool.removes_asked)

    assert [1, 1, 2] == removes


async def test_a_walk_without_a_server_that_is_away_settles_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """That may have something left over: it is marked by a save that passes it by."""
    pool = HealedPool(nursery)
    await pool.router.probe_on()
    pool.router.roster.set_intent(STATE_1, Intent.MAINT)
    await pool.until_healed()
    await pool.save(0, b"after")

    assert [server_key(target(0))] == list(pool.router.ledger.keys_marked_on(STATE_1))


async def test_a_session_that_is_in_use_is_healed_after_that(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is read and written behind its gate, like everything that changes a session."""
    pool = HealedPool(nursery)
    await pool.fill()
    _, copy = pool.primary_and_copy(0)
    pool.servers[copy].tell(request(Operation.REMOVE, target(0), cookie=0))
    gate, key = pool.router.core.gate, server_key(target(0))
    await gate.enter(key)
    pool.want_walk()
    await trio.sleep(12)
    copies_before = pool.copies_of(0)
    gate.leave(key)
    await pool.until_healed()

    assert (1, 2) == (copies_before, pool.copies_of(0))


async def test_what_only_a_doubtful_server_has_is_not_the_session(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is never a source: the session is not found again, and the server is read afterwards."""
    pool = HealedPool(nursery)
    await pool.fill()
    ghost = SESSIONS + 1
    pool.servers["state-1"].tell(request(Operation.SET, target(ghost), body=b"removed long ago"))
    pool.router.roster.suspect(STATE_1)
    await pool.until_healed()

    assert "state-1" in pool.router.serving
    assert b"404" in (await pool.ask(Operation.GET, ghost))[:20]
    assert [] == await pool.lost()


async def test_a_doubtful_server_is_read_again_with_what_the_others_have(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """RECOVERING ends with the walk, not with T_max: stale content on it has been put right."""
    pool = HealedPool(nursery)
    await pool.fill()
    number = next(each for each in pool.on("state-1") if pool.primary_and_copy(each)[0] == "state-1")
    pool.servers["state-1"].tell(request(Operation.SET, target(number), body=b"stale"))
    pool.router.roster.suspect(STATE_1)
    await pool.until_healed()

    assert "state-1" in pool.router.serving
    assert [] == await pool.lost()


async def test_a_lock_that_only_a_doubtful_server_shows_is_gone_when_it_is_read_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """As after an older memory has come back: its content is current, and the lock's page is done since."""
    pool = HealedPool(nursery)
    await pool.fill()
    number = next(each for each in pool.on("state-1") if pool.primary_and_copy(each)[0] == "state-1")
    pool.servers["state-1"].tell(request(Operation.ACQUIRE, target(number)))
    pool.router.roster.suspect(STATE_1)
    await pool.until_healed()

    assert "state-1" in pool.router.serving
    assert (await pool.ask(Operation.ACQUIRE, number)).startswith(b"200 OK")


async def test_copies_on_a_doubtful_server_live_as_long_as_their_primaries_afterwards(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It was written to and never touched: what was only read meanwhile would expire there too early."""
    pool = HealedPool(nursery)
    await pool.fill()
    number = next(each for each in pool.on("state-1") if pool.primary_and_copy(each)[1] == "state-1")
    await trio.sleep(600.0)
    pool.router.roster.suspect(STATE_1)
    await pool.ask(Operation.GET, number)
    read_at = trio.current_time()
    await pool.until_healed()
    copy = pool.servers["state-1"].maybe_session(target(number))

    assert copy is not None
    assert copy.expires_at >= read_at + 20 * 60.0


async def test_a_new_session_keeps_its_one_shot_flag(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Healing reads it, and gives the flag back: the first page must see it."""
    pool = HealedPool(nursery)
    await pool.fill()
    await pool.ask(Operation.CREATE_UNINITIALIZED, 100, b"new")
    _, copy = pool.primary_and_copy(100)
    pool.servers[copy].tell(request(Operation.REMOVE, target(100), cookie=0))
    await pool.heal_again()

    assert 2 == pool.copies_of(100)
    assert b"ActionFlags: 1" in await pool.ask(Operation.ACQUIRE, 100)


async def test_what_is_new_on_a_copy_alone_is_not_new(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its first page has seen the flag: a set alone would leave it on the copy (protocol.md 6, row 16)."""
    pool = HealedPool(nursery)
    await pool.fill()
    _, copy = pool.primary_and_copy(100)
    await pool.ask(Operation.SET, 100, b"new")
    for asked in (Operation.REMOVE, Operation.CREATE_UNINITIALIZED):
        pool.servers[copy].tell(request(asked, target(100), body=b"new", cookie=0))
    await pool.heal_again()
    session = pool.servers[copy].maybe_session(target(100))

    assert session is not None
    assert not session.is_uninitialized


async def test_healing_keeps_to_its_rate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """So many sessions a second, and no more."""
    pool = HealedPool(nursery)
    await pool.fill()
    held = len(pool.on("state-1"))
    pool.router.core.healing.rate = 10.0
    await pool.begin_anew("state-1")
    began_at = trio.current_time()
    await pool.until_healed()

    assert (held - 1) / 10 <= trio.current_time() - began_at < held / 10 + 10


async def test_a_verification_counts_and_changes_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Sessions by servers, and every kind of flaw."""
    pool = HealedPool(nursery)
    await pool.fill()
    whole = await pool.verified()
    (outside,) = pool.servers.keys() - set(pool.primary_and_copy(0))
    pool.servers[outside].tell(request(Operation.SET, target(0), body=b"content 0"))
    pool.servers[pool.primary_and_copy(1)[1]].tell(request(Operation.REMOVE, target(1), cookie=0))
    pool.servers[pool.primary_and_copy(2)[1]].tell(request(Operation.SET, target(2), body=b"other"))
    flawed = await pool.verified()

    assert (SESSIONS, {2: SESSIONS}) == (whole.sessions, dict(whole.on_servers))
    assert (0, 0, 0) == (whole.lacking, whole.differing, whole.misplaced)
    assert {1: 1, 2: SESSIONS - 2, 3: 1} == dict(flawed.on_servers)
    assert (1, 1, 1) == (flawed.lacking, flawed.differing, flawed.misplaced)
    assert (3, 1) == (pool.copies_of(0), pool.copies_of(1))


async def test_a_walk_during_which_the_pool_changes_does_not_count(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server that has begun anew meanwhile lacks what the walk has passed by already."""
    pool = HealedPool(nursery)
    await pool.fill()
    address, last = pool.router.backends[2].address, pool.servers["state-3"]

    async def slow(admin: Address, first: bytes) -> InventoryPage:
        if first:
            await trio.sleep(3)
        return await last.list_sessions(admin, first)

    pool.router.inventories[address] = slow
    walks = len(pool.router.observer.named("healing_ended"))
    pool.want_walk()
    await trio.sleep(4)
    await pool.begin_anew("state-1")
    pool.router.inventories[address] = last.list_sessions
    await pool.router.observer.wait_for("healing_ended", walks + 1)

    assert {2} == {pool.copies_of(number) for number in NUMBERS}


async def test_healing_is_pending_until_a_walk_counts(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """From a change of the pool on; what only keeps a walk from counting for ever is not waited for."""
    pool = HealedPool(nursery)
    await pool.fill()
    healing, roster = pool.router.core.healing, pool.router.roster
    seen = [healing.is_pending]
    pool.want_walk()
    seen.append(healing.is_pending)
    await pool.until_healed()
    seen.append(healing.is_pending)
    stock = replace(pool.router.backends[0], admin=None)
    roster.adopt([stock, *pool.router.backends[1:]])
    seen.append(healing.is_pending)

    assert [False, True, False, False] == seen


async def test_the_sentence_says_whether_healing_makes_it_sooner(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Where a server cannot list what it holds, only time tells whether all copies are there."""
    pool = HealedPool(nursery)
    await pool.fill()
    await pool.begin_anew("state-1")
    redundancy, roster = pool.router.roster.redundancy, pool.router.roster
    (listed,) = redundancy.why_not_redundant(trio.current_time())
    stock = replace(pool.router.backends[1], admin=None)
    roster.adopt([pool.router.backends[0], stock, pool.router.backends[2]])
    (unlisted,) = redundancy.why_not_redundant(trio.current_time())

    assert listed.endswith(" at the latest, or as soon as healing has been through")
    assert unlisted.endswith(" at the latest (state-2 lacks an `admin` address, so only time tells)")
