"""Where requests go under one pool: as the pool says of each session, however few ways there are."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from partitioner.fastpath.connections import FormerHolders, Route
from partitioner.membership.backend import Intent
from tests.doubles.sessions import target
from tests.fastpath.router_setup import RouterSetup

SESSIONS = 200


class Scene:
    """A router whose pool was another one before, and routes of many sessions."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.router_setup = RouterSetup(nursery, copies=2, backends=4, is_settled=False)
        self.roster = self.router_setup.router.roster

    def adopt(self, weight: float = 1.0, copies: int = 2) -> int:
        """As a reload does, with this weight of state-1; the epoch after it."""
        members = [member.backend for member in self.roster.pool.members.values()]
        self.roster.adopt([replace(members[0], weight=weight), *members[1:]], copies)
        return self.roster.pool.epoch

    def routes(self) -> list[Route]:
        routes, pool = self.router_setup.fast_router.routes, self.roster.pool
        found = [routes.look_up(target(number)) for number in range(SESSIONS)]
        return [routes.renewed(each, pool) for each in found if each is not None]

    def expected(self, route: Route) -> tuple[object, ...]:
        pool, placement = self.roster.pool, route.session.placement
        acting = pool.acting_set(placement)
        assert acting is not None
        others = {each for each in pool.members if each not in acting.written}
        missed = {each for each in others if each in pool.away}
        return (acting.primary, acting.copies, pool.unchanged_since(placement), others - missed, missed)

    def seen(self, route: Route) -> tuple[object, ...]:
        former = self.router_setup.fast_router.routes.former_holders(route)
        assert route.copies is not None
        copies = tuple(each.upstream.backend.identity for each in route.copies)
        return (route.server, copies, route.unchanged, cleared_of(former), {*former.missed})


def cleared_of(former: FormerHolders) -> set[str]:
    assert former.cleared is not None
    return {each.upstream.backend.identity for each in former.cleared}


CHANGES: dict[str, Callable[[Scene], object]] = {
    "none": lambda scene: None,
    "another weight": lambda scene: scene.adopt(weight=2.0),
    "another weight, and back": lambda scene: [scene.adopt(weight=each) for each in (2.0, 1.0)],
    "other copies": lambda scene: [scene.adopt(copies=each) for each in (3, 2)],
    "one is away": lambda scene: scene.roster.set_intent("state-2", Intent.MAINT),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_each_route_is_what_the_pool_says(change: str, nursery: trio.Nursery) -> None:
    """Also of sessions whose preference list another one has had before, and of each pool in its turn."""
    scene = Scene(nursery)
    scene.routes()
    CHANGES[change](scene)
    routes = scene.routes()

    assert [] == [each.session for each in routes if scene.expected(each) != scene.seen(each)]
    scene.router_setup.close()


async def test_of_two_sessions_with_one_list_one_is_looked_at(nursery: trio.Nursery) -> None:
    """Finding out who is asked costs as much as an exchange."""
    scene = Scene(nursery)
    routes = scene.routes()
    lists = {scene.roster.pool.ranking.preference_list(each.session.placement) for each in routes}

    assert len(lists) == len(
        {id(scene.router_setup.fast_router.routes.former_holders(each)) for each in routes}
    )
    scene.router_setup.close()
