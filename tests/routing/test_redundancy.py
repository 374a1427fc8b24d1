"""What the roster tells of the copies of all sessions together."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import BackendRefused, Phase
from partitioner.membership.backend import Intent
from partitioner.routing.roster import DOWN_FOR_GOOD
from tests.doubles.backends import incarnation_of
from tests.doubles.routers import MemoryRouter
from tests.identities import STATE_2

FALL = 3


def router_of(nursery: trio.Nursery, began_at: float = float("-inf")) -> MemoryRouter:
    router = MemoryRouter(nursery, 3, copies=2, began_at=began_at)
    router.take_in()
    return router


def why_not(router: MemoryRouter) -> tuple[str, ...]:
    return router.roster.redundancy.why_not_redundant(trio.current_time())


async def fell(router: MemoryRouter, name: str) -> None:
    for _ in range(FALL):
        await trio.sleep(2.0)
        router.roster.probe_failed(BackendRefused(name, Phase.CONNECTING, "refused"))


async def test_the_router_s_own_start(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Of what went before the start nothing is known, and that is over when it has expired."""
    router = router_of(nursery, trio.current_time())
    await trio.sleep(10)

    assert why_not(router)[0].startswith("the router was started 10s ago")
    await trio.sleep(router.ledger.longest_life)
    assert why_not(router) == ()


async def test_since_settled_times(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A pool in which nothing is missing is redundant."""
    router = router_of(nursery)

    assert router.roster.redundancy.redundant_since(trio.current_time()) == trio.current_time()


async def test_a_server_that_is_ejected(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Redundancy ends with an ejection, and begins with the return of what was there."""
    router = router_of(nursery)
    await fell(router, "state-2")

    assert why_not(router)[0].startswith("state-2 went down")
    for _ in range(2):
        router.roster.probe_succeeded(STATE_2, incarnation_of(2))
    assert why_not(router) == ()


async def test_a_server_that_is_put_to_maint(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What operators do is known, too."""
    router = router_of(nursery)
    router.roster.set_intent("state-2", Intent.MAINT)

    assert why_not(router)[0].startswith("state-2 was put to maint")


@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_a_server_that_is_removed(
    nursery: trio.Nursery, autojump_clock: MockClock, is_forgotten: bool
) -> None:
    """A removed server takes copies away when it goes down, and they are away when it is forgotten."""
    router = router_of(nursery)
    router.roster.adopt([router.backends[0], router.backends[2]])
    assert why_not(router) == ()
    await fell(router, "state-2")
    if is_forgotten:
        await trio.sleep(DOWN_FOR_GOOD)
        router.roster.forget_the_gone()
        assert "state-2" not in router.roster.pool.members

    assert why_not(router)[0].startswith("state-2 went down")
