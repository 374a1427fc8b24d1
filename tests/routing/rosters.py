"""Rosters whose backends are taken in, and what goes wrong with these."""

import trio

from partitioner.errors import BackendFailure, Phase
from partitioner.membership.health import HealthPolicy
from tests.doubles.observers import Fact
from tests.doubles.routers import MemoryRouter

FALL = 3

Kind = type[BackendFailure]


def failure(kind: Kind, name: str = "state-1") -> BackendFailure:
    return kind(name, Phase.READING, "had a bad day")


async def fail_probes(router: MemoryRouter, kind: Kind, times: int, name: str = "state-1") -> None:
    """Have so many probes in a row fail, at their due distance."""
    for _ in range(times):
        await trio.sleep(HealthPolicy().interval)
        router.roster.probe_failed(failure(kind, name))


def facts(router: MemoryRouter) -> list[Fact]:
    """What was reported, but for backends coming up and single failures."""
    return [fact for fact in router.observer.facts if fact[0] not in ("backend_came_up", "backend_troubled")]


def taken_in(nursery: trio.Nursery, backends: int = 4) -> MemoryRouter:
    router = MemoryRouter(nursery, backends)
    router.take_in()
    return router
