"""How the roster ejects a backend, and when it may not."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import (
    BackendFailure,
    BackendRefused,
    BackendReset,
    BackendRestarted,
    BackendTooSlow,
    BackendUnreachable,
)
from partitioner.membership.health import HealthRecord, Symptom
from tests.doubles.backends import incarnation_of
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import GET, whole
from tests.identities import STATE_1
from tests.routing.rosters import FALL, Kind, facts, fail_probes, failure, taken_in

AMBIGUOUS = [BackendTooSlow, BackendUnreachable]
PROVING = [BackendRefused, BackendReset]


# --- ejection ---


async def test_ejection_is_reported_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An ejection is said once, with its cause and with how many serve then; more failures add nothing."""
    router = taken_in(nursery)
    await trio.sleep(5)
    for _ in range(10):
        router.roster.probe_failed(failure(BackendRefused))
    [(name, backend, record, detail, eligible)] = facts(router)

    assert (name, backend, detail, eligible) == ("backend_ejected", router.backends[0], "had a bad day", 3)
    assert isinstance(record, HealthRecord)
    assert (record.symptom, record.since) == (Symptom.REFUSED, 5)


async def test_cut_comes_before_the_new_pool(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The connections of an ejected backend are cut before anybody can see the new pool (design.md 5)."""
    router = taken_in(nursery)
    upstream = router.roster.upstreams[STATE_1]
    seen: list[bool] = []
    cut = upstream.cut

    def cut_and_look() -> None:
        seen.append("state-1" in router.serving)
        cut()

    upstream.cut = cut_and_look  # type: ignore[method-assign]
    router.roster.probe_failed(failure(BackendRestarted))

    assert seen == [True]
    assert "state-1" not in router.serving


async def test_backend_can_be_used_as_soon_as_it_is_seen(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """When a change of the pool is announced, the backend that came up takes exchanges already."""
    router = MemoryRouter(nursery, 1)
    failed: list[Kind] = []

    async def ask_when_it_changes() -> None:
        await router.roster.wait_for_change()
        try:
            await router.roster.upstreams[STATE_1].exchange(whole(GET, 5.0))
        except BackendFailure as error:
            failed.append(type(error))

    nursery.start_soon(ask_when_it_changes)
    await wait_all_tasks_blocked()
    router.take_in()
    await wait_all_tasks_blocked()

    assert failed == [BackendRefused]  # nothing listens in this test; it was not BackendEjected


async def test_epoch(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Every change of health or incarnation is a new epoch; an observation that changes neither is none."""
    router = MemoryRouter(nursery, 1)
    epochs = [router.roster.pool.epoch]
    steps: list[Callable[[], None]] = [
        lambda: router.roster.probe_succeeded(STATE_1, incarnation_of(1)),  # up
        lambda: router.roster.probe_succeeded(STATE_1, incarnation_of(1)),
        lambda: router.roster.exchange_failed(failure(BackendReset)),
        lambda: router.roster.exchange_failed(failure(BackendRestarted)),  # down, incarnation unknown
        lambda: router.roster.probe_succeeded(STATE_1, b"another-incarnation"),  # up
    ]
    for step in steps:
        step()
        epochs.append(router.roster.pool.epoch)

    assert epochs == [0, 1, 1, 1, 2, 3]


async def test_snapshots_stay_as_they_were(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A pool that a request holds is not changed by what happens later."""
    router = taken_in(nursery)
    pool = router.roster.pool
    router.roster.exchange_failed(failure(BackendRestarted))

    assert "state-1" in pool.eligible


async def test_wait_for_change(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who waits for a change is woken by the next ejection or return, and by nothing less."""
    router = taken_in(nursery)
    woken_at: list[float] = []

    async def wait() -> None:
        await router.roster.wait_for_change()
        woken_at.append(trio.current_time())

    nursery.start_soon(wait)
    await trio.sleep(1)
    router.roster.exchange_failed(failure(BackendReset))
    await trio.sleep(1)
    router.roster.exchange_failed(failure(BackendRestarted))
    await trio.sleep(1)

    assert woken_at == [2]


# --- the share that may be down ---


@pytest.mark.parametrize("kind", AMBIGUOUS)
async def test_not_more_than_half(nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind) -> None:
    """When more than half of the servers seem out of reach, no further server is ejected; that is said
    once."""
    router = taken_in(nursery, 4)
    for backend in router.backends:
        await fail_probes(router, kind, 2 * FALL, backend.name)

    assert router.serving == {"state-3", "state-4"}
    assert [
        ("backend_ejected", "state-1"),
        ("backend_ejected", "state-2"),
        ("ejection_withheld", "state-3"),
        ("ejection_withheld", "state-4"),
    ] == [(fact[0], getattr(fact[1], "name", None)) for fact in facts(router)]


@pytest.mark.parametrize("kind", PROVING)
async def test_proof_always_counts(nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind) -> None:
    """A refused or broken connection is proof, and ejects even the last server (design.md 5)."""
    router = taken_in(nursery, 4)
    for backend in router.backends:
        await fail_probes(router, kind, FALL, backend.name)

    assert router.serving == set()


async def test_restart_always_counts(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A changed incarnation takes a server out at once, even the last one."""
    router = taken_in(nursery, 1)
    router.roster.probe_succeeded(STATE_1, b"another-incarnation")

    assert router.serving == set()


async def test_withheld_ejection_follows_when_it_may(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server that was kept because others looked cut off too is ejected when they are back."""
    router = taken_in(nursery, 2)
    for name in ("state-1", "state-2"):
        await fail_probes(router, BackendTooSlow, FALL, name)
    withheld = router.serving
    for _ in range(2):
        router.roster.probe_succeeded(STATE_1, incarnation_of(1))
    await fail_probes(router, BackendTooSlow, 1, "state-2")

    assert withheld == {"state-2"}
    assert router.serving == {"state-1"}
