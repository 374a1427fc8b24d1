"""Beats tell whether a memory has gone back in time (design.md 5.1)."""

import trio
from trio.testing import MockClock

from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.items import CanaryItem
from partitioner.transport.authority import UNSURE_FOR, Beats
from partitioner.transport.canary import Canary
from tests.doubles.backends import ROUTER_NAME, MemoryStateServer
from tests.doubles.network import Network
from tests.doubles.routers import backend


async def test_a_beat_that_is_carried_out_after_a_later_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """One that went unanswered may be carried out late, though later ones have been answered."""
    network, address = Network(nursery), backend(1).address
    server = MemoryStateServer(network, address)
    items = Canary(ROUTER_NAME)
    beats = Beats(items)
    beats.begin(FarmClock(1_000_000, trio.current_time()))
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
