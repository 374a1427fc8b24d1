"""A server that leaves hands its sessions over: every session stays readable, and the server ends empty."""

from dataclasses import replace
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import Refused
from partitioner.membership.backend import Intent
from partitioner.membership.ledger import LedgerPolicy
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.drain import RATE
from partitioner.routing.relocation import HandedOver
from partitioner.routing.roster import BY_ORDER
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import CONTENT, ID, TARGET
from tests.routing.drained_pools import LEAVING, SESSIONS, Pool
from tests.tables import each_case


@pytest.mark.parametrize("copies", [1, 2])
async def test_a_drained_server_ends_empty_and_nothing_is_lost(
    nursery: trio.Nursery, autojump_clock: MockClock, copies: int
) -> None:
    """Every session is on its whole acting set before it is removed from the server that leaves."""
    pool = Pool(nursery, copies=copies)
    await pool.fill()
    held = pool.on(LEAVING)
    pool.drain()
    await pool.until_drained()

    assert [] == pool.on(LEAVING)
    assert {copies} == {pool.copies_of(number) for number in range(SESSIONS)}
    assert (len(held), 0, True) == (pool.progress.moved, pool.progress.left, pool.progress.is_done)
    assert len(held) > 10
    pool.servers[LEAVING].kill()
    await pool.router.observer.wait_for("backend_ejected")
    assert [] == await pool.lost()


async def test_a_drain_keeps_to_its_rate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No more than so many sessions a second are moved: users come first."""
    pool = Pool(nursery)
    await pool.fill()
    held = len(pool.on(LEAVING))
    pool.drain()
    await trio.sleep(5.5 / RATE)

    assert 5 == held - len(pool.on(LEAVING))


async def test_a_server_that_is_made_ready_again_keeps_the_rest(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The hand-off stops, and what was moved is found."""
    pool = Pool(nursery)
    await pool.fill()
    pool.drain()
    await trio.sleep(5.5 / RATE)
    pool.router.roster.set_intent(LEAVING, Intent.READY)
    await trio.sleep(1)
    left = pool.on(LEAVING)
    await trio.sleep(60)

    assert left == pool.on(LEAVING) != []
    assert {} == pool.router.core.handoff.drains()
    assert [] == await pool.lost()


async def test_a_server_that_does_not_list_drains_as_its_sessions_are_touched(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    """A stock server has no listing: what is read moves, what is left is not known, and T_max ends it."""
    pool = Pool(nursery, listed=False)
    await pool.fill()
    held = len(pool.on(LEAVING))
    pool.drain()
    await trio.sleep(1)
    began_at = pool.progress.began_at
    assert [] == await pool.lost()

    assert (held, None, False) == (pool.progress.moved, pool.progress.left, pool.progress.is_done)
    assert pool.progress.estimate == pytest.approx(3600.0, abs=2.0)
    await pool.until_drained()
    assert trio.current_time() - began_at == pytest.approx(LedgerPolicy().session_timeout)


async def test_a_save_moves_a_session_and_counts(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A busy session moves with its save, and that is progress of the drain as well."""
    pool = Pool(nursery, listed=False)
    await pool.fill()
    busy = pool.on(LEAVING)[0]
    pool.drain()
    await trio.sleep(1)
    await pool.save(busy, b"content %d" % busy)

    assert busy not in pool.on(LEAVING)
    assert pool.progress.moved == 1


async def test_a_removed_server_hands_off_what_it_holds(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Taking a server out of the configuration loses nothing (promise P6)."""
    pool = Pool(nursery)
    await pool.fill()
    pool.router.roster.adopt(pool.router.backends[1:])
    await pool.until_drained()

    assert [] == pool.on(LEAVING)
    assert [] == await pool.lost()


async def test_a_flag_travels_with_its_session(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An uninitialized session is one still when it has been moved (protocol.md 6, row 14)."""
    pool = Pool(nursery, copies=2)
    await pool.fill()
    moving = pool.on(LEAVING)[0]
    await pool.ask(Operation.REMOVE, moving)
    await pool.ask(Operation.CREATE_UNINITIALIZED, moving, b"nothing yet")
    assert moving in pool.on(LEAVING)
    pool.drain()
    await pool.until_drained()

    assert b"ActionFlags: 1" in await pool.ask(Operation.ACQUIRE, moving)


async def test_an_admin_address_that_is_given_later_is_used(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A reload may tell where a server that drains already lists its sessions."""
    pool = Pool(nursery, listed=False)
    await pool.fill()
    pool.drain()
    await trio.sleep(60)
    members = pool.router.roster.pool.members.values()
    pool.router.roster.adopt([replace(each.backend, admin=each.backend.address) for each in members])
    await trio.sleep(10)

    assert [] == pool.on(LEAVING)
    assert pool.progress.is_done


async def test_the_last_server_is_not_drained(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No server would be there to take its sessions: refused, with the reason."""
    pool = Pool(nursery, servers=1)
    await pool.fill()
    with pytest.raises(Refused, match="no backend would be ready any more"):
        pool.drain()

    assert {} == pool.router.core.handoff.drains()


async def use(pool: Pool, number: int, random: Random, until: float) -> list[bytes]:
    """Load pages of one session, one after the other; return what went wrong."""
    wrong, content = [], b"content %d" % number
    while trio.current_time() < until:
        await trio.sleep(random.uniform(0, 0.4))
        answer = await pool.ask(Operation.ACQUIRE, number)
        if not (answer.startswith(b"200 OK") and answer.endswith(b"\r\n\r\n" + content)):
            wrong.append(answer)
            continue
        cookie = int(answer.partition(b"LockCookie: ")[2].partition(b"\r\n")[0])
        await trio.sleep(random.uniform(0, 0.4))
        if random.random() < 0.3:
            await pool.ask(Operation.RELEASE, number, cookie=cookie)
            continue
        content = b"content %d" % random.randrange(10**9)
        await pool.save(number, content, cookie)
    answer = await pool.ask(Operation.GET, number)
    return wrong if answer.endswith(b"\r\n\r\n" + content) else [*wrong, answer]


@each_case("copies", [1, 2])
@each_case("seed", range(2))
async def test_busy_sessions_are_moved_under_load(autojump_clock: MockClock, seed: int, copies: int) -> None:
    """Drains, and second thoughts, among pages that read and save: no page sees anything but its own save."""
    wrong: list[bytes] = []
    random = Random(seed)

    async with trio.open_nursery() as nursery:
        pool = Pool(nursery, copies=copies)
        await pool.fill()

        async def keep_using(number: int) -> None:
            wrong.extend(await use(pool, number, Random(seed * 1000 + number), trio.current_time() + 8))

        async with trio.open_nursery() as users:
            for number in range(0, SESSIONS, 2):
                users.start_soon(keep_using, number)
            for name in random.sample(list(pool.servers), 3):
                await trio.sleep(random.uniform(0, 1))
                pool.drain(name)
                await trio.sleep(random.uniform(0, 2))
                pool.router.roster.set_intent(name, Intent.READY)
        idle = [number for number in await pool.lost() if number % 2]
        nursery.cancel_scope.cancel()

    assert ([], []) == (wrong, idle)


async def test_orders_and_drains_are_reported(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What the operator wants, and what becomes of it, are facts for log and metrics."""
    pool = Pool(nursery)
    await pool.fill()
    held = len(pool.on(LEAVING))
    pool.drain()
    await pool.until_drained()
    pool.router.roster.set_intent(LEAVING, Intent.READY)
    await trio.sleep(1)

    drained = pool.router.roster.pool.members[LEAVING].backend
    drained = replace(drained, intent=Intent.DRAIN)
    ready = replace(drained, intent=Intent.READY)
    observer = pool.router.observer
    assert [
        ("intent_changed", drained, Intent.READY, 2, BY_ORDER),
        ("intent_changed", ready, Intent.DRAIN, 3, BY_ORDER),
    ] == observer.named("intent_changed")
    assert [("drain_began", drained, 3600.0)] == observer.named("drain_began")
    assert [("drain_ended", drained, held, "it holds no session any more")] == observer.named("drain_ended")
    assert held == len(observer.named("session_moved"))


async def test_a_server_keeps_what_it_has_where_the_pool_changes_meanwhile(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The server that has just taken the session may have been put aside by the time that all have it."""
    farm = MemoryFarm(nursery, servers=4)
    await farm.start()
    await farm.save()
    farm.set_intent(0, Intent.DRAIN)
    farm.forget_requests()
    outcomes: list[HandedOver] = []

    async def hand_over() -> None:
        missed = SessionRef(farm.key, TARGET, ID)
        outcomes.append(await farm.router.core.relocator.hand_over(missed, farm.names[0]))

    async with trio.open_nursery() as handing_over:
        handing_over.start_soon(hand_over)
        while not farm.asked_of(2):
            await trio.lowlevel.checkpoint()
        farm.servers[2].freeze()
        await wait_all_tasks_blocked()
        farm.set_intent(1, Intent.MAINT)  # the other one that has it
        farm.servers[2].thaw()

    assert [HandedOver.LATER] == outcomes
    assert [CONTENT, CONTENT, CONTENT, None] == farm.contents
