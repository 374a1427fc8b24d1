"""Beats tell whether a memory has gone back in time (design.md 5.1)."""

from collections.abc import Callable
from contextlib import suppress

import trio
from trio.testing import MockClock

from partitioner.errors import ConnectionBroken, ConnectionEnded
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.items import CanaryItem
from partitioner.transport.authority import UNSURE_FOR, Beats
from partitioner.transport.canary import Canary
from tests.doubles.backends import ROUTER_NAME, MemoryStateServer
from tests.doubles.network import Network
from tests.doubles.routers import backend
from tests.tables import each_case


async def test_a_beat_that_is_carried_out_after_a_later_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """One that went unanswered may be carried out late, though later ones have been answered."""
    network, address = Network(nursery), backend(1).address
    server = MemoryStateServer(network, address)
    items = Canary(ROUTER_NAME)
    beats = Beats(items)
    beats.begin(FarmClock(1_000_000, trio.current_time()), {})
    canary = await items.plant(await network.dial(address))
    server.freeze()
    with trio.move_on_after(1.0):
        await beats.write(await network.dial(address), canary)
    server.thaw()
    await trio.sleep(1.0)
    await beats.write(await network.dial(address), canary)
    before = beats.snapshot()
    late = CanaryItem(canary.token, before[canary.token] - 2000)

    assert not beats.has_gone_back(late, before)
    await trio.sleep(UNSURE_FOR)
    assert beats.has_gone_back(late, before)


@each_case("is_seen", [True, False])
async def test_a_beat_that_went_with_its_process(
    nursery: trio.Nursery, autojump_clock: MockClock, is_seen: bool
) -> None:
    """Nothing is carried out after the end of its connection, whether that is seen or the process is gone."""
    network, address = Network(nursery), backend(1).address
    server = MemoryStateServer(network, address)
    items = Canary(ROUTER_NAME)
    beats = Beats(items)
    beats.begin(FarmClock(1_000_000, trio.current_time()), {})
    canary = await items.plant(await network.dial(address))
    await beats.write(await network.dial(address), canary)
    server.freeze()
    if is_seen:
        nursery.start_soon(later, 0.5, server.kill)
    with trio.move_on_after(1.0), suppress(ConnectionEnded, ConnectionBroken):
        await beats.write(await network.dial(address), canary)
    before = beats.snapshot()
    older = CanaryItem(canary.token, before[canary.token] - 2000)
    is_known = beats.has_gone_back(older, before)
    beats.note_end(canary.token)

    assert is_seen is is_known
    assert beats.has_gone_back(older, before)


async def later(seconds: float, happens: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    happens()
