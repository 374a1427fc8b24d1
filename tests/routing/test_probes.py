"""Who is probed: all who may be spoken to, from when they join until they are forgotten (design.md 5)."""

from collections import Counter
from dataclasses import replace

import trio
from trio.testing import MockClock

from partitioner.membership.backend import Address, Intent
from partitioner.membership.health import HealthPolicy
from tests.doubles.backends import MemoryStateServer
from tests.doubles.farms import T_MAX, MemoryFarm
from tests.doubles.network import Fault
from tests.doubles.routers import backend

INTERVAL = HealthPolicy().interval


async def probes(farm: MemoryFarm, seconds: float) -> Counter[Address]:
    """How often each address is connected to from now on, while no client asks for anything."""
    before = len(farm.router.network.dialled)
    await trio.sleep(seconds)
    return Counter(address for _, address in farm.router.network.dialled[before:])


async def started(nursery: trio.Nursery) -> MemoryFarm:
    farm = MemoryFarm(nursery)
    await farm.start()
    return farm


async def test_the_first_look_is_one_at_all(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """At the start all are probed at the same time: one that hangs holds the others up for one time-out."""
    farm = MemoryFarm(nursery)
    for server in farm.servers[1:]:
        farm.router.network.disturb(server.address, Fault.HANG)
    await farm.router.core.probing.first_look()

    assert trio.current_time() == HealthPolicy().timeout
    assert {farm.names[0]} == farm.router.serving


async def test_nobody_is_probed_twice_at_the_start(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who has had a first look waits for an interval."""
    farm = MemoryFarm(nursery)
    await farm.start()

    assert not await probes(farm, INTERVAL / 2)


async def test_everybody_is_probed_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Once in each interval."""
    farm = await started(nursery)
    seen = await probes(farm, 10 * INTERVAL + 0.1)

    assert dict.fromkeys((server.address for server in farm.servers), 10) == seen


async def test_who_joins_is_probed_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A new server serves as soon as it has answered."""
    farm = await started(nursery)
    newcomer = backend(9)
    MemoryStateServer(farm.router.network, newcomer.address)
    await trio.sleep(INTERVAL / 2)
    farm.router.roster.adopt([*farm.router.backends, newcomer])
    await farm.observer.wait_for("backend_came_up", times=4)

    assert trio.current_time() == INTERVAL / 2
    assert newcomer.name in farm.router.serving


async def test_who_is_removed_is_probed_until_it_is_forgotten(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It keeps its own health for as long as it is a place to ask (design.md 5)."""
    farm = await started(nursery)
    removed = farm.servers[0].address
    farm.router.roster.adopt([each for each in farm.router.backends if each.address != removed])
    soon = await probes(farm, 5 * INTERVAL)
    await trio.sleep(T_MAX)
    later = await probes(farm, 5 * INTERVAL)

    assert (True, False) == (soon[removed] >= 4, removed in later)


async def test_who_is_ready_again_is_probed_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The end of a maintenance need not wait for an interval."""
    farm = await started(nursery)
    farm.set_intent(0, Intent.MAINT)
    during = await probes(farm, 5 * INTERVAL + 0.5)
    ready_at = trio.current_time()
    farm.set_intent(0, Intent.READY)
    await farm.observer.wait_for("backend_came_up", times=4)

    assert farm.servers[0].address not in during
    assert ready_at == trio.current_time()


async def test_a_server_that_moves_house_is_probed_in_both(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Two identities have two healths."""
    farm = await started(nursery)
    first, *others = farm.router.backends
    moved = replace(first, address=Address("10.9.9.9", 42424))
    MemoryStateServer(farm.router.network, moved.address)
    farm.router.roster.adopt([moved, *others])
    seen = await probes(farm, 5 * INTERVAL)

    assert {first.address, moved.address} <= set(seen)


async def test_others_are_probed_as_before(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who comes and goes does not change the rhythm of the others."""
    farm = await started(nursery)
    last = farm.servers[2].address
    async with trio.open_nursery() as beside:
        beside.start_soon(_come_and_go, farm)
        seen = await probes(farm, 10 * INTERVAL + 0.1)

    assert 10 == seen[last]


async def _come_and_go(farm: MemoryFarm) -> None:
    for _ in range(10):
        await trio.sleep(INTERVAL / 2)
        farm.set_intent(0, Intent.MAINT)
        await trio.sleep(INTERVAL / 2)
        farm.set_intent(0, Intent.READY)


async def test_a_router_that_is_active_again_probes_everybody(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It was superseded meanwhile, so that all its probers had ended."""
    farm = MemoryFarm(nursery)
    probing = farm.router.core.probing
    await probing.first_look()
    with trio.move_on_after(INTERVAL):
        await probing.run()
    nursery.start_soon(probing.run)
    seen = await probes(farm, 10 * INTERVAL + 0.1)

    assert dict.fromkeys((server.address for server in farm.servers), 10) == seen
