"""What operators change in the configuration, and what becomes of servers meanwhile."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from partitioner.membership.backend import NO_IDENTITY, Address, Backend
from tests.simulation.checker import DISTRUSTED
from tests.simulation.stock_server import StockServer

if TYPE_CHECKING:
    from tests.simulation.world import World

Edit = Callable[["World", list[Backend], StockServer], list[Backend]]
"""The entries of a configuration after a change that is about one server."""

LONG_OUT = 65.0
"""Seconds: more than a router waits for a server that was removed and is down."""

SOON = 5.0
"""Seconds in which a server with nothing to doubt must serve again."""


# --- edits ---


def renamed(world: "World", entries: list[Backend], server: StockServer) -> list[Backend]:
    return [
        replace(each, name=_new_name(world), identity=NO_IDENTITY) if world.leads_to(each, server) else each
        for each in entries
    ]


def respelt(world: "World", entries: list[Backend], server: StockServer) -> list[Backend]:
    """The address is spelt in another way, or as it was before."""
    spelt = world.spelling_of(server)
    return [
        replace(
            each,
            address=spelt if each.address == server.address else server.address,
            identity=NO_IDENTITY,
        )
        if world.leads_to(each, server)
        else each
        for each in entries
    ]


def swapped(world: "World", entries: list[Backend], server: StockServer) -> list[Backend]:
    """Two entries exchange their names."""
    places = [place for place, each in enumerate(entries) if world.leads_to(each, server)]
    others = [place for place in range(len(entries)) if place not in places]
    if not places or not others:
        return entries
    here, there = places[0], world.rng.choice(others)
    result = list(entries)
    result[here] = replace(entries[here], name=entries[there].name, identity=NO_IDENTITY)
    result[there] = replace(entries[there], name=entries[here].name, identity=NO_IDENTITY)
    return result


def weighed(world: "World", entries: list[Backend], server: StockServer) -> list[Backend]:
    weight = world.rng.choice((0.3, 0.7, 3.0))
    return [replace(each, weight=weight) if world.leads_to(each, server) else each for each in entries]


def joined(world: "World", entries: list[Backend], server: StockServer) -> list[Backend]:
    return [*entries, world.new_server()]


def reordered(world: "World", entries: list[Backend], server: StockServer) -> list[Backend]:
    return world.rng.sample(entries, len(entries))


EDITS: tuple[Edit, ...] = (renamed, respelt, swapped, weighed, joined, reordered)


# --- reloads ---


async def rename(world: "World", server: StockServer, duration: float) -> None:
    await _edit(world, server, duration, renamed)


async def respell(world: "World", server: StockServer, duration: float) -> None:
    await _edit(world, server, duration, respelt)


async def swap(world: "World", server: StockServer, duration: float) -> None:
    await _edit(world, server, duration, swapped)


async def edit_several(world: "World", server: StockServer, duration: float) -> None:
    """Several things change with one reload."""
    await _edit(world, server, duration, *world.rng.sample(EDITS, world.rng.randint(2, 4)))


async def _edit(world: "World", server: StockServer, duration: float, *edits: Edit) -> None:
    entries = world.backends
    for edit in edits:
        entries = edit(world, entries, server)
    world.adopt(entries)
    await trio.sleep(duration)


async def move(world: "World", server: StockServer, duration: float) -> None:
    """It stops in order, begins at another address with what it held, and the file says so then."""
    entry, table = world.maybe_entry_of(server), server.table
    if entry is None:
        return
    server.kill()
    await trio.sleep(duration)
    server.move_to(world.new_address())
    server.start(table)
    world.adopt(
        [
            replace(
                each,
                address=server.address,
                admin=server.address if each.admin else None,
                identity=NO_IDENTITY,
            )
            if each == entry
            else each
            for each in world.backends
        ]
    )


async def alias(world: "World", server: StockServer, duration: float) -> None:
    """It is entered twice, by two spellings of its address; the second entry goes again."""
    entry = Backend(_new_name(world), world.spelling_of(server))
    world.adopt([*world.backends, entry])
    await trio.sleep(duration)
    world.adopt([each for each in world.backends if each.name != entry.name])


async def remove_and_add(world: "World", server: StockServer, duration: float) -> None:
    """It goes while it is down, and comes back with what it held, perhaps under another name."""
    entry, table = world.maybe_entry_of(server), server.table
    if entry is None or not world.has_spare():
        return
    server.kill()
    await trio.sleep(duration)
    world.leave(server)
    await trio.sleep(duration)
    server.start(table)
    name = world.rng.choice((entry.name, _new_name(world)))
    world.adopt([*world.backends, replace(entry, name=name, identity=NO_IDENTITY)])


async def return_empty(world: "World", server: StockServer, duration: float) -> None:
    """It goes for more than a minute, and comes back empty: there is nothing that it could be wrong about."""
    entry = world.maybe_entry_of(server)
    if entry is None or not world.has_spare():
        return
    world.leave(server)
    server.kill()
    await trio.sleep(LONG_OUT + duration)
    server.start()
    world.adopt([*world.backends, replace(entry, identity=NO_IDENTITY)])
    await trio.sleep(SOON)
    if not world.is_read(server):
        world.note(f"{DISTRUSTED}: {server.name}")


async def change_copies(world: "World", server: StockServer, duration: float) -> None:
    """One more copy of each session than before, for a while."""
    copies = world.copies
    world.adopt(world.backends, copies + 1 if copies < len(world.backends) else max(1, copies - 1))
    await trio.sleep(duration)
    world.adopt(world.backends, copies)


def _new_name(world: "World") -> str:
    return f"named-{world.rng.getrandbits(24):06x}"


def another_spelling(address: Address) -> Address:
    return Address(f"host-{address.host.replace('.', '-')}.example", address.port)
