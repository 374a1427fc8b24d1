"""What a router knows from the one before it: settled keys, cut-off removes, copies (design.md 5.2.5)."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from partitioner.protocol.messages import Operation
from partitioner.routing.drain import Page
from partitioner.routing.succession import TenurePolicy
from tests.doubles.backends import ROUTER_NAME, MemoryStateServer
from tests.doubles.network import Network
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import GET, ID, TARGET, request
from tests.routing.tenures import MemoryDisk, Site, ask, crash, save, stop

OLD, NEW = b"old content", b"new content"


class Farm:
    """Three servers for two copies, and the session that is asked for: on its primary and its copy."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.site = Site(nursery)
        self.disk = MemoryDisk()

    async def start(self) -> MemoryRouter:
        router = await self.site.router(self.disk)
        names = router.roster.pool.ranking.preference_list(ID)
        self.primary, self.copy, self.third = (self.site.servers[int(name[-1]) - 1] for name in names)
        return router

    async def stop_and_start(self, router: MemoryRouter) -> MemoryRouter:
        await stop(router, self.disk)
        return await self.start()

    async def crash_and_start(self, router: MemoryRouter) -> MemoryRouter:
        crash(router)
        return await self.start()


def is_settled(router: MemoryRouter) -> bool:
    unchanged = router.roster.pool.unchanged_since(ID)
    return router.ledger.is_settled(b"none", unchanged, trio.current_time())


def why_not_redundant(router: MemoryRouter) -> tuple[str, ...]:
    return router.roster.redundancy.why_not_redundant(trio.current_time())


async def test_a_restart_changes_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After a stop in order keys are as settled as before, and the pool is redundant at once."""
    farm = Farm(nursery)
    first = await farm.start()
    await save(first, OLD)
    again = await farm.stop_and_start(first)

    assert is_settled(again)
    assert () == why_not_redundant(again)


async def test_what_happened_before_the_restart_matters_as_long_as_before(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server was restarted, and then the router: whatever lay there has one copy less, as before."""
    farm = Farm(nursery)
    first = await farm.start()
    farm.primary.restart()
    await trio.sleep(20.0)
    again = await farm.stop_and_start(first)
    (why_not,) = why_not_redundant(again)

    assert not is_settled(again)
    assert " was restarted " in why_not


async def test_a_server_that_is_empty_after_the_restart(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It was restarted while no router looked: its keys are looked for elsewhere, and copies are missing."""
    farm = Farm(nursery)
    first = await farm.start()
    await save(first, OLD)
    await stop(first, farm.disk)
    farm.primary.restart()
    again = await farm.start()
    answer = await ask(again, GET)

    assert answer.endswith(OLD)
    assert "was missing, empty or in doubt at the router's start" in why_not_redundant(again)[0]


async def test_a_remove_that_was_cut_off_with_its_router(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It has reached the primary and not the copy: the session is there, or it is gone, and does not change.

    A 404 of the primary is believed only when the copy says the same.
    """
    farm = Farm(nursery)
    first = await farm.start()
    await save(first, OLD)
    farm.primary.tell(request(Operation.REMOVE, TARGET))
    again = await farm.crash_and_start(first)
    answer = await ask(again, GET)

    assert is_settled(again)
    assert answer.endswith(OLD)
    assert farm.primary.maybe_session(TARGET) is not None


async def test_a_crash_leaves_the_pool_redundant(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No server was dirty, so none lacks a save that was acknowledged (design.md 5.2.4)."""
    farm = Farm(nursery)
    first = await farm.start()
    await save(first, OLD)
    again = await farm.crash_and_start(first)

    assert () == why_not_redundant(again)


# --- the first start of a farm ---


async def first_router(nursery: trio.Nursery, *sessions: int) -> MemoryRouter:
    """A router that finds three servers and no record; their admin ports tell of so many sessions."""
    network = Network(nursery)
    policy = TenurePolicy(ROUTER_NAME, 60.0, lambda: 1.7e9 + trio.current_time(), lambda: "word")
    router = MemoryRouter(
        nursery, 3, copies=2, network=network, tenure=policy, listed=True, began_at=trio.current_time()
    )
    for each, count in zip(router.backends, sessions, strict=True):
        MemoryStateServer(network, each.address)
        assert each.admin is not None
        router.listings[each.admin] = partial(page_of, count)
    await router.start()
    return router


async def page_of(count: int, _: str | None) -> Page:
    return Page((), None, count)


@pytest.mark.parametrize("others", [0, 1])
async def test_servers_that_were_empty(nursery: trio.Nursery, autojump_clock: MockClock, others: int) -> None:
    """Where all servers tell that they held nothing, all is known: nothing is waited for, or looked for."""
    router = await first_router(nursery, 0, others, 0)

    assert (others == 0) is is_settled(router)
    assert (others == 0) is (why_not_redundant(router) == ())
