"""What a server that leaves does not hand over, or not yet; and drains that are said to have stalled."""

import trio
from trio.testing import MockClock

from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from partitioner.routing.drain import LOCKED_PAUSE, NOTHING_MOVES, STUCK_AFTER
from tests.doubles.observers import Fact
from tests.doubles.sessions import target
from tests.routing.drained_pools import LEAVING, SESSIONS, Pool


async def test_a_locked_session_is_come_back_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While a page holds a session it is not moved; when the page has saved it is."""
    pool = Pool(nursery)
    await pool.fill()
    locked = pool.on(LEAVING)[0]
    assert (await pool.ask(Operation.ACQUIRE, locked)).startswith(b"200 OK")
    asked_before = len(pool.servers[LEAVING].requests)
    pool.drain()
    await trio.sleep(60)

    assert [locked] == pool.on(LEAVING)
    assert target(locked) not in [each for _, each in pool.servers[LEAVING].requests[asked_before:]]
    assert (1, False, NOTHING_MOVES) == (
        pool.progress.left,
        pool.progress.is_done,
        pool.progress.stalled,
    )
    await pool.save(locked, b"content %d" % locked, cookie=2)
    await pool.until_drained()
    assert [] == pool.on(LEAVING)
    assert [] == await pool.lost()


async def test_a_session_in_mid_exchange_is_come_back_for(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Behind the key gate there is one at a time; all others are moved meanwhile."""
    pool = Pool(nursery)
    await pool.fill()
    busy = pool.on(LEAVING)[0]
    await pool.router.core.gate.enter(server_key(target(busy)))
    pool.drain()
    await trio.sleep(5)

    assert [busy] == pool.on(LEAVING)
    pool.router.core.gate.leave(server_key(target(busy)))
    await pool.until_drained()
    assert [] == pool.on(LEAVING)


async def test_a_lock_of_which_nobody_knows_is_not_kept_alive(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A lock from before the router's restart is tried ever less often, so that its session can expire."""
    pool = Pool(nursery)
    await pool.fill()
    locked = pool.on(LEAVING)[0]
    await pool.ask(Operation.ACQUIRE, locked)
    ((key, _),) = pool.router.ledger.locks()
    pool.router.ledger.end_lock(key)  # as a router that was started anew knows nothing of it
    asked_before = len(pool.servers[LEAVING].requests)
    pool.drain()
    await trio.sleep(LOCKED_PAUSE * 2**6)

    asked = pool.servers[LEAVING].requests[asked_before:]
    times_tried = sum(each == (Operation.GET, target(locked)) for each in asked)
    assert 6 <= times_tried <= 8
    assert [locked] == pool.on(LEAVING)
    await pool.until_drained()
    assert (await pool.ask(Operation.ACQUIRE, locked)).startswith(b"404")


async def test_an_admin_port_that_is_away_stalls_the_drain(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The progress says why nothing moves, and the drain resumed when the port is back."""
    pool = Pool(nursery)
    await pool.fill()
    pool.servers[LEAVING].is_listing_down = True
    pool.drain()
    await trio.sleep(10)

    assert "its admin port refused the connection" == pool.progress.stalled
    pool.servers[LEAVING].is_listing_down = False
    await pool.until_drained()
    assert pool.progress.stalled is None
    assert [1, 1] == [len(pool.router.observer.named(fact)) for fact in ("drain_stalled", "drain_went_on")]
    assert [] == pool.on(LEAVING)


async def test_sessions_that_stay_locked_are_reported_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A drain that waits for pages alone says so after a minute, and again when it goes on."""
    pool = Pool(nursery)
    await pool.fill()
    slow, slower = pool.on(LEAVING)[:2]
    await pool.ask(Operation.ACQUIRE, slow)
    await pool.ask(Operation.ACQUIRE, slower)
    pool.drain()
    await trio.sleep(STUCK_AFTER - 5)
    before = stalls(pool)
    await trio.sleep(STUCK_AFTER)
    after = stalls(pool)
    await pool.ask(Operation.RELEASE, slow, cookie=2)
    await trio.sleep(10)

    assert ([], [("drain_stalled", NOTHING_MOVES)]) == (before, after)
    assert [*after, ("drain_went_on",)] == stalls(pool)
    assert [slower] == pool.on(LEAVING)


async def test_a_minute_without_a_listing_is_not_the_sessions_fault(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What cannot be listed cannot be moved; for what is locked after that there is another minute."""
    pool = Pool(nursery)
    await pool.fill()
    await pool.ask(Operation.ACQUIRE, pool.on(LEAVING)[0])
    pool.drain()
    await trio.sleep(10)
    pool.servers[LEAVING].is_listing_down = True
    await trio.sleep(2 * STUCK_AFTER)
    pool.servers[LEAVING].is_listing_down = False
    await trio.sleep(STUCK_AFTER - 5)
    before = stalls(pool)
    await trio.sleep(10)

    assert [("drain_stalled", "its admin port refused the connection"), ("drain_went_on",)] == before
    assert [*before, ("drain_stalled", NOTHING_MOVES)] == stalls(pool)


def stalls(pool: Pool) -> list[Fact]:
    """What was reported of drains that did not get on, and when they did; without the server."""
    facts = [fact for fact in pool.router.observer.facts if fact[0] in ("drain_stalled", "drain_went_on")]
    return [(name, *said) for name, _, *said in facts]


async def test_a_copy_that_fails_keeps_the_session_where_it_is(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A session is not removed from the server that leaves before all others have stored it."""
    pool = Pool(nursery, copies=2)
    await pool.fill()
    held = pool.on(LEAVING)
    pool.servers["state-3"].freeze()
    pool.drain()
    await trio.sleep(1)

    assert held == pool.on(LEAVING)
    pool.servers["state-3"].thaw()
    await pool.until_drained()
    assert {2} == {pool.copies_of(number) for number in range(SESSIONS)}
    assert [] == await pool.lost()


async def test_a_session_that_nobody_takes_stays_where_it_is(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A copy that is full refuses; the server that leaves keeps what is not stored elsewhere."""
    pool = Pool(nursery)
    await pool.fill()
    held = pool.on(LEAVING)
    for name in ("state-2", "state-3"):
        pool.servers[name].fill_up()
    pool.drain()
    await trio.sleep(5)

    asked = [each for name in ("state-2", "state-3") for each in pool.servers[name].requests]
    assert all(asked.count((Operation.SET, target(number))) > 1 for number in held)  # and again, and again
    assert held == pool.on(LEAVING)
    assert 0 == pool.progress.moved


async def test_a_marked_server_is_no_source(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What may be out of date on the server that leaves is not carried elsewhere."""
    pool = Pool(nursery)
    await pool.fill()
    marked = pool.on(LEAVING)[0]
    key = server_key(target(marked))
    pool.router.ledger.note_unanswered(key, target(marked), LEAVING, trio.current_time())
    pool.drain()
    await trio.sleep(60)

    assert [marked] == pool.on(LEAVING)
    assert 1 == pool.copies_of(marked)
