"""Probing: when, and what the health machine makes of it, with real state servers in virtual time."""

import math
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import BackendHungUp, BackendReset, Phase
from partitioner.membership.health import HealthPolicy, Symptom
from partitioner.protocol.messages import Operation
from partitioner.routing.probes import AT_ONCE, JITTER, Prober
from tests.doubles.backends import MemoryStateServer, incarnation_of
from tests.doubles.network import Fault, MemoryStream
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import CONTENT, GET, SET, whole
from tests.identities import STATE_1
from tests.tables import each_case

HEALTH = HealthPolicy()


class Setting:
    """One backend of several, and its prober."""

    def __init__(
        self,
        nursery: trio.Nursery,
        uniform: Callable[[float, float], float] = lambda low, high: (low + high) / 2,
    ) -> None:
        self._nursery = nursery
        self.router = MemoryRouter(nursery, backends=3)
        self.roster, self.network = self.router.roster, self.router.network
        self.observer = self.router.observer
        self.backend = self.router.backends[0]
        for number, other in enumerate(self.router.backends[1:], 2):
            self.roster.probe_succeeded(other.identity, incarnation_of(number))
        self.observer.facts.clear()
        self.prober = Prober(self.backend.identity, self.router.connector, self.roster, uniform)

    async def begin(self) -> None:
        """Probe once, and go on probing from now."""
        await self.prober.probe()
        self._nursery.start_soon(self.prober.run)

    @property
    def probed_at(self) -> list[float]:
        return [round(when, 6) for when, _ in self.network.dialled]

    @property
    def is_up(self) -> bool:
        return self.backend.name in self.router.serving


async def test_plants_and_takes_in(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The first probe plants a canary and takes the backend in at once."""
    setting = Setting(nursery)
    MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()

    assert (setting.is_up, trio.current_time()) == (True, 0)


async def test_finds_the_canary_of_an_earlier_router(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A canary that is there is taken as it is: a restarted router recognises the incarnation that it
    knew."""
    setting = Setting(nursery)
    MemoryStateServer(setting.network, setting.backend.address)
    earlier, canary = await setting.router.connector.connect_planting(setting.backend, 1.0)
    earlier.close()
    await setting.begin()

    assert setting.roster.pool.members[STATE_1].record.incarnation == canary.token


async def test_interval(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that is well is probed once an interval."""
    setting = Setting(nursery)
    MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    await trio.sleep(9)

    assert setting.probed_at == [0, 2, 4, 6, 8]


async def test_probe_connections_are_closed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A probe leaves no connection behind."""
    setting = Setting(nursery)
    streams: list[MemoryStream] = []
    server = MemoryStateServer(setting.network, setting.backend.address)

    async def serve(stream: MemoryStream) -> None:
        streams.append(stream)
        await server.serve(stream)

    setting.network.listen(setting.backend.address, serve)
    await setting.begin()
    await trio.sleep(9)

    assert [True] * 5 == [stream.is_abandoned for stream in streams]


async def test_jitter(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each interval is drawn anew between 90 and 110 percent."""
    draws = iter([0.9, 1.1, 1.0, 0.95, 1.0])
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return next(draws)

    setting = Setting(nursery, uniform)
    MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    await trio.sleep(8.5)

    assert setting.probed_at == [0, 1.8, 4.0, 6.0, 7.9]
    assert set(asked) == {(1 - JITTER, 1 + JITTER)}


@pytest.mark.parametrize("kind", [BackendHungUp, BackendReset])
async def test_wanted_probe(
    nursery: trio.Nursery, autojump_clock: MockClock, kind: type[BackendHungUp | BackendReset]
) -> None:
    """A failed exchange brings the next probe forward to now."""
    setting = Setting(nursery)
    MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    await trio.sleep(1)
    setting.roster.exchange_failed(kind("state-1", Phase.READING, "had a bad day"))
    await trio.sleep(2.5)

    assert setting.probed_at == [0, 1, 3]


async def test_at_once_is_not_all_the_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """However many exchanges fail, a backend is probed at most every tenth of an interval."""
    setting = Setting(nursery)
    MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    while trio.current_time() < 1.95:
        setting.roster.exchange_failed(BackendHungUp("state-1", Phase.READING, "had a bad day"))
        await trio.sleep(0.01)
    gaps = [later - sooner for sooner, later in zip(setting.probed_at, setting.probed_at[1:], strict=False)]

    assert len(gaps) == 9
    assert all(math.isclose(gap, HEALTH.interval * AT_ONCE, abs_tol=0.011) for gap in gaps)


async def test_down_and_refusing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend is probed once an interval, however it fails, when it is known to be down."""
    setting = Setting(nursery)
    await setting.begin()
    await trio.sleep(9)

    assert setting.probed_at == pytest.approx([0, 0.2, 0.4, 0.6, 2.6, 4.6, 6.6, 8.6])


async def test_down_at_the_start(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that is down at the start is said to be missing, once, and taken in when it answers."""
    setting = Setting(nursery)
    await setting.begin()
    await trio.sleep(61)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.observer.wait_for("backend_came_up")

    assert ["backend_missing", "backend_came_up"] == [fact[0] for fact in setting.observer.facts]
    assert trio.current_time() <= 61 + 2 * HEALTH.interval * (1 + JITTER)
    assert server.requests == []


@each_case(
    ("fault", "symptom"),
    [
        (Fault.REFUSE, Symptom.REFUSED),
        (Fault.UNREACHABLE, Symptom.UNREACHABLE),
        (Fault.HANG, Symptom.TIMED_OUT),
        (Fault.ACCEPT_THEN_CLOSE, Symptom.BROKEN),
    ],
)
async def test_ejected(
    nursery: trio.Nursery, autojump_clock: MockClock, fault: Fault, symptom: Symptom
) -> None:
    """Whatever keeps a probe from its answer ejects a backend when it has happened `fall` times in a row."""
    setting = Setting(nursery)
    MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    setting.network.disturb(setting.backend.address, fault)
    await setting.observer.wait_for("backend_ejected")

    assert len(setting.network.dialled) == 1 + HEALTH.fall
    assert setting.roster.pool.members[STATE_1].record.symptom == symptom


async def test_dead_server_is_ejected_fast(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A refused probe has the next ones follow at once: a dead server is out in 1.5 intervals."""
    setting = Setting(nursery)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    server.kill()
    await setting.observer.wait_for("backend_ejected")

    assert trio.current_time() <= 1.5 * HEALTH.interval


@each_case("draw", [1 - JITTER, 1.0, 1 + JITTER])
@each_case("frozen_at", [0.0, 0.3, 1.0, 1.7])
async def test_frozen_server_is_ejected(
    nursery: trio.Nursery, autojump_clock: MockClock, frozen_at: float, draw: float
) -> None:
    """A frozen server is out within `fall` intervals, a time-out and a second, however it is probed."""
    setting = Setting(nursery, lambda low, high: draw)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    await trio.sleep(frozen_at)
    server.freeze()
    await setting.observer.wait_for("backend_ejected")

    assert trio.current_time() - frozen_at <= HEALTH.fall * HEALTH.interval + HEALTH.timeout + 1


async def test_thawed_server_is_reinstated(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that was frozen comes back in the incarnation that is known, and with its sessions."""
    setting = Setting(nursery)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    incarnation = setting.roster.pool.members[STATE_1].record.incarnation
    upstream = setting.roster.upstreams[STATE_1]
    await upstream.exchange(whole(SET, 8.0))
    server.freeze()
    await setting.observer.wait_for("backend_ejected")
    await trio.sleep(30)
    thawed_at = trio.current_time()
    server.thaw()
    back = await setting.observer.wait_for("backend_came_up", times=2)
    back_after = trio.current_time() - thawed_at
    answer = await upstream.exchange(whole(GET, trio.current_time() + 8.0))

    assert back[2:] == (Symptom.TIMED_OUT, False, 3)
    assert setting.roster.pool.members[STATE_1].record.incarnation == incarnation
    assert back_after <= HEALTH.rise * HEALTH.interval * (1 + JITTER) + HEALTH.timeout
    assert answer.body == CONTENT


async def test_restart_detected_by_a_probe(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that was restarted between two probes is found out by the next, and taken in empty at once."""
    setting = Setting(nursery)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    await trio.sleep(1)
    server.restart()
    await trio.sleep(2)
    ejected, back = setting.observer.facts[-2:]

    assert (ejected[0], ejected[3]) == ("backend_ejected", "has forgotten its canary")
    assert back == ("backend_came_up", setting.backend, Symptom.RESTARTED, True, 3)
    assert setting.probed_at[:3] == [0, 2, 2.2]


async def test_canary_is_not_planted_on_a_server_that_serves(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Where a canary has gone missing, none is planted before the backend is out."""
    setting = Setting(nursery)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    server.restart()
    canaries: list[tuple[Operation, bool]] = []
    server.on_canary = lambda operation: canaries.append((operation, setting.is_up))
    await trio.sleep(2.3)

    assert canaries[:3] == [
        (Operation.GET, True),
        (Operation.GET, False),
        (Operation.CREATE_UNINITIALIZED, False),
    ]


async def test_first_return_needs_no_hold_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that fell once is back after `rise` answered probes."""
    setting = Setting(nursery)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()

    assert await _fall_and_rise(setting, server, 1) <= HEALTH.rise * HEALTH.interval * (1 + JITTER)


async def test_flapping_is_held_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that falls again soon after its return is held down 10 s, then twice as long each time."""
    setting = Setting(nursery)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    away = [await _fall_and_rise(setting, server, times) for times in range(1, 9)]
    expected = [0, 10, 20, 40, 80, 160, 300, 300]

    assert [
        held <= waited <= held + HEALTH.rise * HEALTH.interval * (1 + JITTER)
        for held, waited in zip(expected, away, strict=True)
    ] == [True] * 8


async def test_long_quiet_ends_the_hold_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that has served for the longest hold-down since its return is trusted again."""
    setting = Setting(nursery)
    server = MemoryStateServer(setting.network, setting.backend.address)
    await setting.begin()
    for times in range(1, 4):
        await _fall_and_rise(setting, server, times)
    await trio.sleep(301)

    assert await _fall_and_rise(setting, server, 4) <= HEALTH.rise * HEALTH.interval * (1 + JITTER)


async def _fall_and_rise(setting: Setting, server: MemoryStateServer, times: int) -> float:
    """Refuse connections until the backend falls, once more; how long it is away after that."""
    setting.network.disturb(server.address, Fault.REFUSE)
    await setting.observer.wait_for("backend_ejected", times)
    ejected_at = trio.current_time()
    setting.network.calm(server.address)
    await setting.observer.wait_for("backend_came_up", times + 1)
    return trio.current_time() - ejected_at
