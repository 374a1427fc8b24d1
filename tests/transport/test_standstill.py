"""Standing still: everything is closed before anything more is sent, and nobody is blamed (design.md 5.4)."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.membership.items import Term, TermItem
from partitioner.protocol.messages import Operation
from partitioner.transport.half_closed import PATIENCE
from partitioner.transport.standstill import LONGEST_PAUSE, Standstills
from tests.doubles.backends import Hear, Say, ScriptedBackend, greeting, ok
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import GET, ID, SET
from tests.routing.tenures import ITEMS, Site, save, tenure_of


class MachineClock:
    """A clock that only tests move, unlike trio's."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Setting:
    """A router with one backend, and the clock that it looks at."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.clock = MachineClock()
        self.standstills = Standstills(self.clock)
        self.router = MemoryRouter(nursery, standstills=self.standstills)
        self.router.take_in()
        self.backend = self.router.backends[0]
        self.observer = self.router.observer
        self._nursery = nursery

    async def begin(self) -> None:
        self._nursery.start_soon(self.standstills.run)
        await wait_all_tasks_blocked()

    async def stand_still(self, duration: float = 7.3) -> None:
        """Let the machine's clock run on while nothing happens here; then let everything happen."""
        self.clock.now += duration
        await wait_all_tasks_blocked()

    @property
    def failures(self) -> int:
        return self.router.roster.pool.members[self.backend.identity].record.failures


@pytest.fixture
def setting(nursery: trio.Nursery) -> Setting:
    return Setting(nursery)


async def test_it_is_noticed(setting: Setting, autojump_clock: MockClock) -> None:
    """More than 2 s between two looks are a standstill, which is reported once."""
    await setting.begin()
    await setting.stand_still(LONGEST_PAUSE)
    assert [] == setting.observer.named("stood_still")

    await setting.stand_still(7.3)
    await setting.stand_still(0.1)

    [(_, duration)] = setting.observer.named("stood_still")
    assert pytest.approx(7.3) == duration


async def test_trios_clock_may_jump(setting: Setting, autojump_clock: MockClock) -> None:
    """Only the clock that is looked at counts: an hour of virtual time passes, and nothing is noticed."""
    await setting.begin()
    await trio.sleep(3600)

    assert [] == setting.observer.named("stood_still")


async def test_before_it_runs(setting: Setting, autojump_clock: MockClock) -> None:
    """Where nothing makes sure that there are looks, a long time between two of them says nothing."""
    setting.clock.now += 100

    assert not setting.standstills.look()


async def test_connections_that_nobody_uses(setting: Setting, autojump_clock: MockClock) -> None:
    """Clients and backends are closed; the next request goes over a new connection, canary first."""
    server = ScriptedBackend(
        setting.router.network,
        setting.backend.address,
        [*greeting(), Hear(GET), Say(ok(b"before"))],
        [*greeting(), Hear(GET), Say(ok(b"after"))],
    )
    await setting.begin()
    client = setting.router.client()
    assert ok(b"before") == await client.ask(GET)
    await setting.stand_still()

    assert b"" == await client.receive_rest()
    assert server.streams[0].is_abandoned
    assert ok(b"after") == await setting.router.client().ask(GET)


async def test_an_exchange_under_way(setting: Setting, autojump_clock: MockClock) -> None:
    """Its client and its backend are closed at once; an answer that comes is not passed on, nobody blamed."""
    server = ScriptedBackend(
        setting.router.network, setting.backend.address, [*greeting(), Hear(SET)], greeting()
    )
    await setting.begin()
    client = setting.router.client()
    await client.send(SET)
    await wait_all_tasks_blocked()
    setting.clock.now += 7.3
    await server.streams[0].send_all(ok())
    await wait_all_tasks_blocked()

    assert b"" == await client.receive_rest()
    assert server.streams[0].is_abandoned
    assert setting.failures == 0


async def test_a_write_that_may_still_be_carried_out(setting: Setting, autojump_clock: MockClock) -> None:
    """Nothing tells when a server has worked off what it had read: the whole patience is waited for."""
    ScriptedBackend(setting.router.network, setting.backend.address, [*greeting(), Hear(SET)])
    await setting.begin()
    upstream = setting.router.roster.upstreams[setting.backend.identity]
    await setting.router.client().send(SET)
    await wait_all_tasks_blocked()
    await setting.stand_still()
    free, watched = upstream.limit.free, upstream.half_closed.unanswered
    await trio.sleep(PATIENCE - 0.1)
    still_watched = upstream.half_closed.unanswered
    await trio.sleep(0.2)

    assert (256, 1, 1, 0) == (free, watched, still_watched, upstream.half_closed.unanswered)


async def test_a_connection_that_was_watched(setting: Setting, autojump_clock: MockClock) -> None:
    """A half-closed connection of a request that went unanswered is closed, and waited for anew."""
    server = ScriptedBackend(setting.router.network, setting.backend.address, [*greeting(), Hear(SET)])
    await setting.begin()
    upstream = setting.router.roster.upstreams[setting.backend.identity]
    client = setting.router.client()
    await client.send(SET)
    await trio.sleep(20)  # the exchange is given up after 8 s
    was_half_closed = not server.streams[0].is_abandoned and upstream.half_closed.unanswered == 1
    await setting.stand_still()
    await trio.sleep(PATIENCE - 0.1)
    still_watched = upstream.half_closed.unanswered
    await trio.sleep(0.2)

    assert (True, 1, 0) == (was_half_closed, still_watched, upstream.half_closed.unanswered)
    assert server.streams[0].is_abandoned


async def test_another_router_has_claimed_meanwhile(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """All servers are asked whose term they have before anything is sent to one that does not know of it."""
    site, clock = Site(nursery), MachineClock()
    standstills = Standstills(clock)
    router = await site.router(standstills=standstills)
    nursery.start_soon(standstills.run)
    await save(router)
    primary, *others = (int(name[-1]) - 1 for name in router.roster.pool.ranking.preference_list(ID))
    for number in others:
        site.store(number, f"{ITEMS}term", TermItem(Term(2, "later"), ()).written())
    clock.now += 7.3
    assert standstills.look()
    site.servers[primary].requests.clear()
    answer = await save(router, b"late")

    assert b"" == answer
    assert [] == [
        target for operation, target in site.servers[primary].requests if operation is Operation.SET
    ]
    assert not tenure_of(router).is_active


async def test_no_other_router_has_claimed_meanwhile(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It goes on as soon as all servers that answer have said so."""
    site, clock = Site(nursery), MachineClock()
    standstills = Standstills(clock)
    router = await site.router(standstills=standstills)
    nursery.start_soon(standstills.run)
    await save(router)
    site.servers[2].freeze()
    for _ in range(3):
        clock.now += 7.3
        await trio.sleep(0.7)  # it stands still again before all have been asked

    assert (await save(router, b"saved")).startswith(b"200 OK")


async def test_a_probe_under_way(setting: Setting, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It counts neither as failed nor as good, whatever came of it, and the next one follows at once."""
    network, address = setting.router.network, setting.backend.address
    ScriptedBackend(network, address, greeting())
    network.disturb_once(address, Fault.HANG)
    await setting.begin()
    nursery.start_soon(setting.router.probe_on)
    await wait_all_tasks_blocked()
    await setting.stand_still()
    await trio.sleep(0.5)

    assert setting.failures == 0
    assert len(network.dialled) == 2
