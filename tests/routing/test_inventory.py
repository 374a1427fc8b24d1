"""Listings of several servers, merged; and what is not believed."""

from collections.abc import Callable
from dataclasses import replace

import trio
from trio.testing import MockClock

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address, BackendId
from partitioner.protocol.target import listing_place, server_key
from partitioner.routing.inventory import InventoryPage
from partitioner.sessions.table import Listed
from tests.doubles.backends import ROUTER_NAME
from tests.doubles.sessions import target
from tests.routing.healed_pools import HealedPool
from tests.tables import each_case

Spoil = Callable[[InventoryPage], InventoryPage]


async def keys_of(pool: HealedPool) -> tuple[list[bytes], dict[BackendId, str]]:
    """The keys that a walk finds, and why servers were not walked."""
    walk = pool.router.core.healing.new_walk()
    await walk.begin()
    keys = []
    while (found := await walk.next()) is not None:
        keys.append(found.key)
    return keys, walk.refused


async def test_a_walk_finds_every_session_once_and_in_order(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Whatever servers hold it; routers' items are not among them."""
    pool = HealedPool(nursery)
    await pool.fill()
    keys, refused = await keys_of(pool)

    assert sorted((server_key(target(number)) for number in range(60)), key=listing_place) == keys
    assert {} == refused


def _swapped(page: InventoryPage) -> InventoryPage:
    return replace(page, listed=page.listed[::-1])


def _endless(page: InventoryPage) -> InventoryPage:
    return replace(page, following=page.listed[0].key if page.listed else b"")


def _others(page: InventoryPage) -> InventoryPage:
    return replace(page, canaries={ROUTER_NAME: b"another-token"})


def _bragging(page: InventoryPage) -> InventoryPage:
    first = max((listed.key for listed in page.listed), key=listing_place, default=b"")
    made_up = sorted((b"%08d" % number for number in range(20_000)), key=listing_place)
    beyond = [each for each in made_up if listing_place(each) > listing_place(first)]
    listed = tuple(Listed(each, 20, 0.0, 1, False, 0) for each in beyond)
    return replace(page, listed=listed, sessions=0, following=None)


SPOILT: dict[str, tuple[Spoil, str]] = {
    "out of order": (_swapped, "is out of order"),
    "endless": (_endless, "does not go on"),
    "another server's": (_others, "shows another canary than the server itself"),
    "no router's": (lambda page: replace(page, canaries={}), "shows another canary than the server itself"),
    "more than it told of": (_bragging, "has more sessions than it told of"),
}


@each_case(("spoil", "sentence"), SPOILT.values(), ids=SPOILT)
async def test_a_listing_that_lies(spoil: Spoil, sentence: str, autojump_clock: MockClock) -> None:
    """That server is not walked, one line says why, and nothing is removed because of it."""
    async with trio.open_nursery() as nursery:
        pool = HealedPool(nursery)
        await pool.router.probe_on()
        for number in range(60):
            await pool.save(number, b"content %d" % number)
        held = {name: pool.on(name) for name in pool.servers}
        server, address = pool.servers["state-1"], pool.router.backends[0].address

        async def spoilt(admin: Address, first: bytes) -> InventoryPage:
            return spoil(await server.list_sessions(admin, first))

        pool.router.inventories[address] = spoilt
        told = await pool.router.observer.wait_for("walk_refused")
        await trio.sleep(120)

        assert sentence in str(told[2])
        assert 1 == len(pool.router.observer.named("walk_refused"))
        assert held == {name: pool.on(name) for name in pool.servers}
        assert not pool.healing
        nursery.cancel_scope.cancel()


async def test_a_server_that_another_farm_uses_is_not_walked(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its sessions are not ours: they are neither moved nor removed."""
    pool = HealedPool(nursery)
    server, beats = pool.servers["state-1"], iter(range(1000))

    async def shared(admin: Address, first: bytes) -> InventoryPage:
        page = await server.list_sessions(admin, first)
        beat = b"their-token beat=%d used=1" % next(beats)
        return replace(page, canaries={**page.canaries, "theirs": beat})

    pool.router.inventories[pool.router.backends[0].address] = shared
    await pool.router.probe_on()
    told = await pool.router.observer.wait_for("walk_refused")

    assert "it is shared with farm theirs" in str(told[2])


async def test_a_farm_that_was_there_once_is_no_reason(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its canary stands still: the router of this farm may have had that name before."""
    pool = HealedPool(nursery)
    server = pool.servers["state-1"]

    async def used_once(admin: Address, first: bytes) -> InventoryPage:
        page = await server.list_sessions(admin, first)
        return replace(page, canaries={**page.canaries, "theirs": b"their-token beat=5 used=1"})

    pool.router.inventories[pool.router.backends[0].address] = used_once
    await pool.fill()

    assert pool.healing


async def test_a_listing_that_fails_midway(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The walk goes on without that server, and does not count."""
    pool = HealedPool(nursery)
    await pool.fill()
    server, address = pool.servers["state-1"], pool.router.backends[0].address

    async def failing(admin: Address, first: bytes) -> InventoryPage:
        if first:
            raise ListingFailed("it took too long")
        return await server.list_sessions(admin, first)

    pool.router.inventories[address] = failing
    keys, refused = await keys_of(pool)

    assert {"state-1": "it took too long"} == refused
    assert len(set(keys)) == len(keys) > 30
