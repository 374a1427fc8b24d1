"""What is said of the redundancy of the pool, and when."""

import trio
from trio.testing import MockClock

from partitioner.errors import BackendRefused, Phase
from tests.doubles.backends import incarnation_of
from tests.doubles.observers import Fact
from tests.doubles.routers import MemoryRouter
from tests.identities import STATE_2

FALL = 3
KEY, TARGET = b"key", b"target"


def router_of(nursery: trio.Nursery, *, copies: int = 2, began_at: float = float("-inf")) -> MemoryRouter:
    router = MemoryRouter(nursery, 3, copies=copies, began_at=began_at)
    router.take_in()
    return router


async def looked_at(router: MemoryRouter, seconds: int) -> list[Fact]:
    """What is reported while the router looks once a second, for so long."""
    router.observer.facts.clear()
    for _ in range(seconds):
        router.core.watch.look()
        await trio.sleep(1.0)
    return [fact for fact in router.observer.facts if str(fact[0]).startswith("redundancy")]


def fall(router: MemoryRouter, name: str) -> None:
    for _ in range(FALL):
        router.roster.probe_failed(BackendRefused(name, Phase.CONNECTING, "refused"))


async def test_a_server_that_falls_is_told_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The report says why; that it goes on is not said again."""
    router = router_of(nursery)
    fall(router, "state-2")

    [(name, reasons)] = await looked_at(router, 20)
    assert name == "redundancy_lost"
    assert isinstance(reasons, tuple)
    assert reasons[0].startswith("state-2 went down 2s ago")


async def test_the_return_of_redundancy_is_told_with_its_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It counts from the first moment in which the next server could not fail."""
    router = router_of(nursery)
    fall(router, "state-2")
    await looked_at(router, 20)
    for _ in range(2):
        router.roster.probe_succeeded(STATE_2, incarnation_of(2))

    assert [("redundancy_regained", 20.0)] == await looked_at(router, 10)


async def test_what_is_put_right_in_a_moment_is_not_told(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Neither that it was lost nor that it is back."""
    router = router_of(nursery)
    router.ledger.mark(KEY, TARGET, STATE_2, trio.current_time(), is_stale=True)
    assert [] == await looked_at(router, 2)
    router.ledger.unmark(KEY, STATE_2)

    assert [] == await looked_at(router, 10)


async def test_what_comes_again_is_told_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each loss has its own report."""
    router = router_of(nursery)
    told = []
    for _ in range(2):
        router.ledger.mark(KEY, TARGET, STATE_2, trio.current_time(), is_stale=True)
        told += await looked_at(router, 5)
        router.ledger.unmark(KEY, STATE_2)
        told += await looked_at(router, 5)

    assert ["redundancy_lost", "redundancy_regained"] * 2 == [name for name, _ in told]


async def test_single_copies_are_not_told_of(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who wants one copy knows that no server may fail."""
    router = router_of(nursery, copies=1)
    fall(router, "state-2")

    assert [] == await looked_at(router, 20)


async def test_the_router_s_own_start_is_told(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A standby that takes over cannot know what went before; that is over when it has expired."""
    router = router_of(nursery, began_at=trio.current_time())
    longest_life = router.ledger.longest_life

    assert [
        ("redundancy_lost", router.roster.redundancy.why_not_redundant(trio.current_time() + 2.0)),
        ("redundancy_regained", longest_life),
    ] == await looked_at(router, int(longest_life) + 2)


async def test_a_router_that_runs_looks(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It reports by itself; here nothing listens at any backend."""
    router = router_of(nursery)
    nursery.start_soon(router.core.run)

    _, reasons = await router.observer.wait_for("redundancy_lost")
    assert isinstance(reasons, tuple)
    assert "state-1 went down" in " ".join(reasons)
