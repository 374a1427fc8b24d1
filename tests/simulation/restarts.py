"""What becomes of memories, and of the router, when processes end, stand still and begin again."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from tests.simulation.faults import cut_off, freeze, kill, lost_answers, slow, uneven
from tests.simulation.stock_server import StockServer, later

if TYPE_CHECKING:
    from tests.simulation.world import World

Kind = Callable[["World", StockServer, float], Awaitable[None]]

PAUSED_LONG = 70.0
"""Seconds: longer than sessions live."""


# --- memories ---

AN_INTERVAL = 3.5
"""Seconds, in which a beat is written to each server that answers: its probe may wait for a slow exchange."""


async def restart_from_old_file(world: "World", server: StockServer, duration: float) -> None:
    """It begins with what it held some time ago: a file was put back, or a whole machine.

    That is longer ago than a probe interval: what is younger than the last beat is not noticed.
    """
    kept, kept_at = later(server.table, 0.0), trio.current_time()
    await trio.sleep(AN_INTERVAL + duration)
    server.kill()
    await trio.sleep(duration / 4)
    server.start(later(kept, trio.current_time() - kept_at))
    server.old_until = trio.current_time() + AN_INTERVAL


async def restart_from_old_file_while_it_owes_answers(
    world: "World", server: StockServer, duration: float
) -> None:
    """The same, of one that had stood still: beats that it had not answered went with its process."""
    kept, kept_at = later(server.table, 0.0), trio.current_time()
    await trio.sleep(AN_INTERVAL + duration)
    server.freeze()
    await trio.sleep(world.rng.choice((1.5, 2.5, 8.0)))
    server.kill()
    await trio.sleep(duration / 4)
    server.start(later(kept, trio.current_time() - kept_at))
    server.old_until = trio.current_time() + AN_INTERVAL


async def restart_from_old_file_over_a_crash(world: "World", server: StockServer, duration: float) -> None:
    """The same, and the router dies before it has seen that, or as soon as it has.

    The next one goes by what the other servers tell of beats, which is an interval older.
    """
    kept, kept_at = later(server.table, 0.0), trio.current_time()
    await trio.sleep(2 * AN_INTERVAL + duration)
    server.kill()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_router, world, server, world.rng.choice((0.0, 0.5, 2.0)))
        await trio.sleep(world.rng.choice((0.0, 0.05, 0.5, 2.0)))
        server.start(later(kept, trio.current_time() - kept_at))
        server.old_until = trio.current_time() + AN_INTERVAL


async def stand_still(world: "World", server: StockServer, duration: float) -> None:
    """Its machine is paused, clock and all: its sessions do not age."""
    seconds = duration + world.rng.choice((0.0, PAUSED_LONG))
    server.freeze()
    await trio.sleep(seconds)
    server.clock_behind += seconds
    server.thaw()


async def begin_empty_for_a_while(world: "World", server: StockServer, duration: float) -> None:
    """It is started once without its file, and then with it again."""
    table, stopped_at = server.table, trio.current_time()
    server.kill()
    await trio.sleep(duration / 4)
    server.start()
    await trio.sleep(2.0 + duration)
    server.kill()
    await trio.sleep(duration / 4)
    server.old_until = trio.current_time() + AN_INTERVAL
    server.start(later(table, trio.current_time() - stopped_at))


# --- the router ---


async def crash_router(world: "World", server: StockServer, duration: float) -> None:
    world.router_crashes()
    await trio.sleep(min(duration, 3.0))
    await world.router_begins()


async def stop_router(world: "World", server: StockServer, duration: float) -> None:
    await world.router_stops()
    await trio.sleep(min(duration, 3.0))
    await world.router_begins()


async def crash_router_while_one_is_away(world: "World", server: StockServer, duration: float) -> None:
    await _while_one_is_away(world, server, duration, crash_router)


async def stop_router_while_one_is_away(world: "World", server: StockServer, duration: float) -> None:
    await _while_one_is_away(world, server, duration, stop_router)


async def _while_one_is_away(world: "World", server: StockServer, duration: float, restart: Kind) -> None:
    """The router is restarted while a server is away, or while what that has missed is being repaired."""
    fault = world.rng.choice((freeze, freeze, cut_off, kill, lost_answers, slow, uneven))
    length = 3.0 + duration
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fault, world, server, length)
        await trio.sleep(world.rng.uniform(0.0, length + 3.0))
        await restart(world, server, world.rng.choice((0.0, 0.5, 2.0)))


# --- two routers ---


async def take_over(world: "World", server: StockServer, duration: float) -> None:
    """The router dies, and a standby that has run beside it, or begins now, takes its place."""
    await _have_standby(world, duration)
    world.router_crashes()
    await trio.sleep(world.rng.choice((0.0, 0.5, 2.0)))
    world.standby_takes_over()


async def take_over_while_one_is_away(world: "World", server: StockServer, duration: float) -> None:
    await _while_one_is_away(world, server, duration, take_over)


async def take_over_from_the_living(world: "World", server: StockServer, duration: float) -> None:
    """Clients come to the standby while those that are connected stay with the former router."""
    await _have_standby(world, duration)
    former = world.router
    world.standby_takes_over()
    await trio.sleep(duration)
    former.crash()


async def pause_router(world: "World", server: StockServer, duration: float) -> None:
    """The process of the router stands still; a standby takes over meanwhile, or nobody does."""
    former, is_taken_over = world.router, world.rng.happens(0.7)
    if is_taken_over:
        await _have_standby(world, 0.0)
    former.pause()
    await trio.sleep(world.rng.choice((0.5, 3.0, 12.0)))
    if is_taken_over:
        world.standby_takes_over()
        await trio.sleep(duration)
    former.resume()
    if is_taken_over:
        await trio.sleep(world.rng.choice((0.0, 2.0, 10.0)))
        former.crash()


async def _have_standby(world: "World", duration: float) -> None:
    if world.standby is None or not world.standby.is_running:
        await world.standby_begins()
        await trio.sleep(world.rng.choice((0.0, duration)))


MEMORIES: tuple[Kind, ...] = (restart_from_old_file, stand_still, begin_empty_for_a_while)
"""Servers that remember something old."""

OLD_FILES: tuple[Kind, ...] = (
    restart_from_old_file,
    restart_from_old_file_while_it_owes_answers,
    restart_from_old_file_over_a_crash,
)
