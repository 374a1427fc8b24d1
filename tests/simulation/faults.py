"""What goes wrong, and what operators do.

Each kind is one coroutine: it begins, lasts, and ends with everything well again, except for what the
router itself still has to put right.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from partitioner.membership.backend import Intent
from tests.doubles.network import Fault
from tests.simulation.stock_server import WELL, Manner, StockServer

if TYPE_CHECKING:
    from tests.simulation.world import World

_HARMLESS_ELSEWHERE = frozenset(
    {"rename", "respell", "swap", "edit_several", "alias", "change_copies", "restart_router"}
)
"""Kinds of other modules, and of this one, that leave every memory as it is."""

Kind = Callable[["World", StockServer, float], Awaitable[None]]
"""Is told the server and for how long."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to one server, and meanwhile in the pool. Durations are seconds."""

    kinds: tuple[Kind, ...]  # one after the other
    server: float  # 0 to 1: which of those there are
    after: float  # since the world was well
    duration: float  # of each
    meanwhile: Kind | None  # to another server
    other: float  # 0 to 1: which of the others

    def __str__(self) -> str:
        names = ", then ".join(each.__name__ for each in self.kinds)
        meanwhile = f", meanwhile {self.meanwhile.__name__}" if self.meanwhile else ""
        return f"{names}{meanwhile}, {self.after:.1f} s after all was well, for {self.duration:.1f} s"

    @property
    def is_harmless(self) -> bool:
        """Whether it leaves every memory as it is, and in reach."""
        return all(kind in HARMLESS or kind.__name__ in _HARMLESS_ELSEWHERE for kind in self.kinds)

    async def happen(self, world: "World", server: StockServer, other: StockServer) -> None:
        """Be the trouble, from its beginning to its end."""
        async with trio.open_nursery() as nursery:
            if self.meanwhile is not None:
                nursery.start_soon(self.meanwhile, world, other, self.duration)
            for number, kind in enumerate(self.kinds):
                await trio.sleep(self.after / 4 if number else 0.0)
                await kind(world, server, self.duration)


# --- faults of a server ---


async def kill(world: "World", server: StockServer, duration: float) -> None:
    """Its process dies, and another one begins empty."""
    server.kill()
    await trio.sleep(duration)
    server.start()


async def restart_from_file(world: "World", server: StockServer, duration: float) -> None:
    """It is stopped and started again in order, and keeps its sessions."""
    table = server.table
    server.kill()
    await trio.sleep(duration)
    server.start(table)


async def freeze(world: "World", server: StockServer, duration: float) -> None:
    server.freeze()
    await trio.sleep(duration)
    server.thaw()


async def freeze_and_kill(world: "World", server: StockServer, duration: float) -> None:
    """What lay in its sockets goes with it."""
    server.freeze()
    await trio.sleep(duration)
    server.kill()
    await trio.sleep(duration / 4)
    server.start()


async def cut_off(world: "World", server: StockServer, duration: float) -> None:
    """Nothing goes through in either direction, and what was sent arrives in the end."""
    world.network.disturb(server.address, Fault.HANG)
    server.freeze()
    await trio.sleep(duration)
    server.thaw()
    world.network.calm(server.address)


async def dead_switch(world: "World", server: StockServer, duration: float) -> None:
    """It and the next one of the pool are cut off together, and come back with all that they had."""
    addresses = [each.address for each in world.backends]
    neighbour = world.maybe_server_at(addresses[addresses.index(server.address) - 1])
    assert neighbour is not None  # every backend of a world is a server
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut_off, world, server, duration)
        nursery.start_soon(cut_off, world, neighbour, duration)


async def refuse(world: "World", server: StockServer, duration: float) -> None:
    """It takes no new connections; those that it has go on."""
    server.refuse()
    await trio.sleep(duration)
    server.listen()


async def reset(world: "World", server: StockServer, duration: float) -> None:
    """Its connections are torn down, once."""
    server.reset_connections()
    await trio.sleep(duration)


async def resets(world: "World", server: StockServer, duration: float) -> None:
    """Connections break at every phase of an exchange."""
    await _behave(server, Manner(broken_before=0.1, broken_after=0.1, broken_within=0.1), duration)


async def lost_answers(world: "World", server: StockServer, duration: float) -> None:
    await _behave(server, Manner(broken_after=0.4), duration)


async def slow(world: "World", server: StockServer, duration: float) -> None:
    """It takes its time, some of it longer than a copy may take."""
    await _behave(server, Manner(pause=(0.01, 0.3)), duration)


async def uneven(world: "World", server: StockServer, duration: float) -> None:
    """Some connections stall while others go on: what was sent first may be carried out last."""
    await _behave(server, Manner(stalled=0.3), duration)


async def very_slow(world: "World", server: StockServer, duration: float) -> None:
    """It takes its time, some of it longer than an exchange may take."""
    await _behave(server, Manner(pause=(0.0, 6.0)), duration)


async def full(world: "World", server: StockServer, duration: float) -> None:
    """It has no memory for a session that it does not hold yet."""
    server.table.limit(0)
    await trio.sleep(duration)
    server.table.limit(None)


async def all_full(world: "World", server: StockServer, duration: float) -> None:
    """None of them has."""
    servers = [world.server_of(each) for each in world.backends]
    for each in servers:
        each.table.limit(0)
    await trio.sleep(duration)
    for each in servers:
        each.table.limit(None)


async def _behave(server: StockServer, manner: Manner, duration: float) -> None:
    server.manner = manner
    await trio.sleep(duration)
    server.manner = WELL


# --- acts of an operator ---


async def drain_and_return(world: "World", server: StockServer, duration: float) -> None:
    world.set_intent(server, Intent.DRAIN)
    await trio.sleep(duration)
    world.set_intent(server, Intent.READY)


async def drain_and_kill(world: "World", server: StockServer, duration: float) -> None:
    """It is stopped when the router says that it is safe to, and started again empty."""
    world.set_intent(server, Intent.DRAIN)
    await world.wait_until_safe_to_stop(server)
    server.kill()
    await trio.sleep(duration)
    server.start()
    world.set_intent(server, Intent.READY)


async def drain_two(world: "World", server: StockServer, duration: float) -> None:
    """Two of them hand their sessions off at the same time, and come back one after the other."""
    others = [each for each in world.backends if world.server_of(each) is not server]
    if len(others) < world.copies + 1:
        return
    other = world.server_of(others[-1])
    world.set_intent(server, Intent.DRAIN)
    await trio.sleep(duration / 4)
    world.set_intent(other, Intent.DRAIN)
    await trio.sleep(duration)
    world.set_intent(server, Intent.READY)
    await trio.sleep(duration / 4)
    world.set_intent(other, Intent.READY)


async def maintain(world: "World", server: StockServer, duration: float) -> None:
    """It is not spoken to for a while, and remembers everything."""
    world.set_intent(server, Intent.MAINT)
    await trio.sleep(duration)
    world.set_intent(server, Intent.READY)


async def join(world: "World", server: StockServer, duration: float) -> None:
    """One more server joins, and stays."""
    world.join()
    await trio.sleep(duration)


async def leave(world: "World", server: StockServer, duration: float) -> None:
    """It is taken out of the configuration; it is still asked for what it holds."""
    if len(world.backends) > max(2, world.scenario.copies):
        world.leave(server)
    await trio.sleep(duration)


async def leave_and_return(world: "World", server: StockServer, duration: float) -> None:
    entry = world.maybe_entry_of(server)
    if entry is not None and len(world.backends) > max(2, world.scenario.copies):
        world.leave(server)
        await trio.sleep(duration)
        world.adopt([*world.backends, entry])


async def weigh(world: "World", server: StockServer, duration: float) -> None:
    """Its weight changes."""
    weight = 0.3 if duration < 3.0 else 3.0
    world.adopt(
        [replace(each, weight=weight) if world.server_of(each) is server else each for each in world.backends]
    )
    await trio.sleep(duration)


async def restart_router(world: "World", server: StockServer, duration: float) -> None:
    """The router dies, and another one begins, in settled times."""
    world.router_crashes()
    await trio.sleep(min(duration, 3.0))
    await world.router_begins()


# What stands here decides what every seed draws. A new kind goes into a theme of its own (scenario.py); one
# that is added here moves the seeds that are pinned in mutations/proofs.py and in test_simulation.py.
FAULTS: tuple[Kind, ...] = (
    kill,
    kill,
    restart_from_file,
    freeze,
    freeze,
    freeze_and_kill,
    cut_off,
    refuse,
    reset,
    resets,
    lost_answers,
    slow,
    uneven,
    uneven,
    very_slow,
)
ACTS: tuple[Kind, ...] = (
    drain_and_return,
    drain_and_kill,
    maintain,
    join,
    leave,
    leave_and_return,
    weigh,
)
HARMLESS_ACTS: tuple[Kind, ...] = (drain_and_return, join, leave, weigh)
"""Acts that leave every server in reach, so that they may meet a fault of another one."""

HARMLESS = frozenset({drain_and_return, drain_two, join, leave, leave_and_return, weigh})
"""What leaves every memory as it is, and in reach."""

RESTARTS: tuple[Kind, ...] = (restart_router,)
