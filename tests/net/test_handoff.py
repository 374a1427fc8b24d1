"""A server that leaves hands its sessions over: every session stays readable, and the server ends empty."""

from dataclasses import replace
from random import Random

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import Refused
from partitioner.membership.backend import Intent
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import LedgerPolicy
from partitioner.net.handoff import LOCKED_PAUSE, NOTHING_MOVES, RATE, STUCK_AFTER, Drain
from partitioner.net.roster import BY_ORDER
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from tests.doubles.backends import MemoryStateServer
from tests.doubles.observers import Fact
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import request, target

SESSIONS = 60
LEAVING = "state-1"


class Pool:
    """A router in front of state servers that list their sessions, all of them up."""

    def __init__(
        self, nursery: trio.Nursery, *, copies: int = 1, listed: bool = True, servers: int = 3
    ) -> None:
        # Seldom probes: a test that lets hours pass shall not take seconds for it.
        health = HealthPolicy(interval=30.0)
        self.router = MemoryRouter(nursery, servers, copies=copies, listed=listed, health=health)
        self.servers = {
            each.name: MemoryStateServer(self.router.network, each.address) for each in self.router.backends
        }
        for each in self.router.backends:
            self.router.listings[each.address] = self.servers[each.name].list_keys

    async def ask(self, operation: Operation, number: int, body: bytes = b"", cookie: int = 0) -> bytes:
        """Ask over a connection of its own: idle ones are closed in long tests."""
        client = self.router.client()
        answer = await client.ask(request(operation, target(number), cookie=cookie, body=body))
        client.leave()
        return answer

    async def fill(self) -> None:
        await self.router.probe_on()
        for number in range(SESSIONS):
            await self.save(number, b"content %d" % number)

    async def save(self, number: int, body: bytes, cookie: int = 0) -> None:
        answer = await self.ask(Operation.SET, number, body, cookie)
        assert answer.startswith(b"200 OK")

    async def lost(self) -> list[int]:
        """The sessions whose content does not read back."""
        lost = []
        for number in range(SESSIONS):
            answer = await self.ask(Operation.GET, number)
            if not answer.endswith(b"\r\n\r\ncontent %d" % number):
                lost.append(number)
        return lost

    def on(self, name: str) -> list[int]:
        """The sessions that a server holds."""
        return [number for number in range(SESSIONS) if self.servers[name].holds(target(number))]

    def copies_of(self, number: int) -> int:
        return sum(server.holds(target(number)) for server in self.servers.values())

    def drain(self, name: str = LEAVING) -> None:
        self.router.roster.set_intent(name, Intent.DRAIN)

    @property
    def progress(self) -> Drain:
        return self.router.lane.handoff.drains()[LEAVING]

    async def until_drained(self) -> None:
        await self.router.observer.wait_for("drain_ended")


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
    await pool.router.lane.gate.enter(server_key(target(busy)))
    pool.drain()
    await trio.sleep(5)

    assert [busy] == pool.on(LEAVING)
    pool.router.lane.gate.leave(server_key(target(busy)))
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
    assert {} == pool.router.lane.handoff.drains()
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


async def test_an_admin_port_that_is_away_stalls_the_drain(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The progress says why nothing moves, and the drain goes on when the port is back."""
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
    await trio.sleep(60)

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
    """Nobody would be there to take its sessions: refused, with the reason."""
    pool = Pool(nursery, servers=1)
    await pool.fill()
    with pytest.raises(Refused, match="no backend would be ready any more"):
        pool.drain()

    assert {} == pool.router.lane.handoff.drains()


async def use(pool: Pool, number: int, random: Random, until: float) -> list[bytes]:
    """Load pages of one session, one after the other; answer what went wrong."""
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


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("seed", range(2))
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
