"""From what is seen of backends to who serves: the roster."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendRefused,
    BackendReset,
    BackendRestarted,
    BackendTooSlow,
    BackendUnreachable,
    Phase,
)
from partitioner.membership.health import HealthPolicy, HealthRecord, Symptom
from partitioner.net.roster import SYMPTOMS
from tests.doubles.backends import LIFE, Hear, HearEnd, ScriptedBackend, greeting
from tests.doubles.observers import Fact
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import GET, SET, whole

COUNTING = [BackendRefused, BackendUnreachable, BackendTooSlow, BackendReset]
NOT_COUNTING = [BackendHungUp, BackendMalformed]
AMBIGUOUS = [BackendTooSlow, BackendUnreachable]
PROVING = [BackendRefused, BackendReset]
FALL = 3

Kind = type[BackendFailure]


def failure(kind: Kind, name: str = "state-1") -> BackendFailure:
    return kind(name, Phase.READING, "had a bad day")


async def fail_probes(router: MemoryRouter, kind: Kind, times: int, name: str = "state-1") -> None:
    """Have so many probes in a row fail, at their due distance."""
    for _ in range(times):
        await trio.sleep(HealthPolicy().interval)
        router.roster.probe_failed(failure(kind, name))


async def fail_exchanges(router: MemoryRouter, kind: Kind, times: int) -> None:
    """Have so many exchanges in a row fail, far enough from each other to be told apart."""
    for _ in range(times):
        await trio.sleep(HealthPolicy().timeout)
        router.roster.exchange_failed(failure(kind))


def facts(router: MemoryRouter) -> list[Fact]:
    """What was reported, but for backends coming up and single failures."""
    return [fact for fact in router.observer.facts if fact[0] not in ("backend_came_up", "backend_troubled")]


def taken_in(nursery: trio.Nursery, backends: int = 4) -> MemoryRouter:
    router = MemoryRouter(nursery, backends)
    router.take_in()
    return router


async def wanted(router: MemoryRouter, name: str = "state-1") -> bool:
    """Whether somebody wants this backend probed at once."""
    with trio.move_on_after(0.001):
        await router.roster.wait_for_wanted_probe(name)
        return True
    return False


async def test_nobody_serves_at_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Before it has answered a probe, a backend takes no requests."""
    assert MemoryRouter(nursery, 2).serving == set()


async def test_first_success(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """At the start one answered probe is enough, and it is said how many serve then."""
    router = MemoryRouter(nursery, 2)
    first, second = router.backends
    router.roster.probe_succeeded("state-2", LIFE)
    router.roster.probe_succeeded("state-1", LIFE)

    assert router.serving == {"state-1", "state-2"}
    assert router.observer.facts == [
        ("backend_came_up", second, None, None, 1),
        ("backend_came_up", first, None, None, 2),
    ]


async def test_every_failure_has_a_meaning(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What a failed exchange says about its backend's health is settled for every kind of failure."""
    assert set(BackendFailure.__subclasses__()) == set(SYMPTOMS)


@pytest.mark.parametrize("kind", COUNTING)
async def test_failed_exchanges_count(nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind) -> None:
    """`fall` exchanges in a row that were refused, reset or too slow eject a backend, and not one less."""
    router = taken_in(nursery)
    await fail_exchanges(router, kind, FALL - 1)
    before = router.serving
    await fail_exchanges(router, kind, 1)

    assert before == {"state-1", "state-2", "state-3", "state-4"}
    assert router.serving == {"state-2", "state-3", "state-4"}


@pytest.mark.parametrize("kind", NOT_COUNTING)
async def test_ambiguous_exchanges_do_not_count(
    nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind
) -> None:
    """A clean close or an odd answer may be the request's doing, and ejects nobody (design.md 5)."""
    router = taken_in(nursery)
    await fail_exchanges(router, kind, 100)

    assert "state-1" in router.serving


@pytest.mark.parametrize("kind", [*COUNTING, *NOT_COUNTING, BackendRestarted])
async def test_failed_exchange_has_its_backend_probed(
    nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind
) -> None:
    """Whatever went wrong in an exchange, its backend is probed at once, and only once."""
    router = taken_in(nursery)
    router.roster.exchange_failed(failure(kind))
    router.roster.exchange_failed(failure(kind))

    assert [await wanted(router), await wanted(router), await wanted(router, "state-2")] == [
        True,
        False,
        False,
    ]


async def test_cut_exchanges_say_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Exchanges that end because of an ejection are no news of the backend."""
    router = taken_in(nursery)
    for _ in range(100):
        router.roster.exchange_failed(failure(BackendEjected))

    assert "state-1" in router.serving
    assert not await wanted(router)


@pytest.mark.parametrize("kind", [*COUNTING, *NOT_COUNTING])
async def test_failed_probes_count(nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind) -> None:
    """Of a probe, whatever goes wrong counts: nobody else's request can be to blame."""
    router = taken_in(nursery)
    await fail_probes(router, kind, FALL - 1)
    before = router.serving
    await fail_probes(router, kind, 1)

    assert ("state-1" in before, "state-1" in router.serving) == (True, False)


async def test_success_in_between(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Failures count in a row: one answered probe begins the count anew."""
    router = taken_in(nursery)
    for _ in range(10):
        await fail_exchanges(router, BackendReset, 1)
        await fail_probes(router, BackendTooSlow, 1)
        router.roster.probe_succeeded("state-1", LIFE)

    assert "state-1" in router.serving


@pytest.mark.parametrize("kind", [BackendUnreachable, BackendTooSlow, BackendReset])
async def test_one_moment_counts_once(nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind) -> None:
    """What hundred exchanges see in one slow moment is one observation, not hundred."""
    router = taken_in(nursery)
    await trio.sleep(1)
    for _ in range(100):
        router.roster.exchange_failed(failure(kind))

    assert "state-1" in router.serving


async def test_every_failed_exchange_is_reported(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An exchange that failed is reported as it is, whatever follows from it."""
    router = taken_in(nursery)
    failed = [failure(kind) for kind in (*COUNTING, *NOT_COUNTING, BackendEjected)]
    for each in failed:
        router.roster.exchange_failed(each)

    assert [("backend_troubled", each) for each in failed] == router.observer.named("backend_troubled")


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
    upstream = router.roster.upstreams["state-1"]
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
            await router.roster.upstreams["state-1"].exchange(whole(GET, 5.0))
        except BackendFailure as error:
            failed.append(type(error))

    nursery.start_soon(ask_when_it_changes)
    await wait_all_tasks_blocked()
    router.take_in()
    await wait_all_tasks_blocked()

    assert failed == [BackendRefused]  # nobody listens in this test; it was not BackendEjected


async def test_epoch(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Every change of health or life is a new epoch; an observation that changes neither is none."""
    router = MemoryRouter(nursery, 1)
    epochs = [router.roster.pool.epoch]
    steps: list[Callable[[], None]] = [
        lambda: router.roster.probe_succeeded("state-1", LIFE),  # up
        lambda: router.roster.probe_succeeded("state-1", LIFE),
        lambda: router.roster.exchange_failed(failure(BackendReset)),
        lambda: router.roster.exchange_failed(failure(BackendRestarted)),  # down, life unknown
        lambda: router.roster.probe_succeeded("state-1", b"another life"),  # up
    ]
    for step in steps:
        step()
        epochs.append(router.roster.pool.epoch)

    assert epochs == [0, 1, 1, 1, 2, 3]


async def test_snapshots_stay_as_they_were(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A pool that somebody holds is not changed by what happens later."""
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
    """When more than half of the servers seem out of reach, nobody more is ejected; that is said once."""
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
    """A changed life takes a server out at once, even the last one."""
    router = taken_in(nursery, 1)
    router.roster.probe_succeeded("state-1", b"another life")

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
        router.roster.probe_succeeded("state-1", LIFE)
    await fail_probes(router, BackendTooSlow, 1, "state-2")

    assert withheld == {"state-2"}
    assert router.serving == {"state-1"}


# --- backends that were never there ---


async def test_missing_is_said_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that is down at the start is reported once, however long it stays away."""
    router = MemoryRouter(nursery, 2)
    for _ in range(20):
        router.roster.probe_failed(failure(BackendRefused))

    assert router.observer.facts == [("backend_missing", router.backends[0], "had a bad day", 0)]


async def test_missing_and_then_there(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that was down at the start is taken in when it answers."""
    router = MemoryRouter(nursery, 1)
    router.roster.probe_failed(failure(BackendRefused))
    for _ in range(2):
        router.roster.probe_succeeded("state-1", LIFE)

    assert router.serving == {"state-1"}


async def test_down_is_not_missing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that was up before is ejected, and not reported as missing from the start."""
    router = taken_in(nursery, 2)
    for _ in range(20):
        router.roster.probe_failed(failure(BackendRefused))

    assert [fact[0] for fact in facts(router)] == ["backend_ejected"]


# --- returns ---


async def test_return_in_the_same_life(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that comes back with its known canary still holds what it held, and that is said."""
    router = taken_in(nursery, 2)
    await fail_probes(router, BackendTooSlow, FALL)
    for _ in range(2):
        router.roster.probe_succeeded("state-1", LIFE)

    assert router.observer.facts[-1] == ("backend_came_up", router.backends[0], Symptom.TIMED_OUT, False, 2)


async def test_return_in_a_new_life(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that comes back with another canary is empty, and that is said."""
    router = taken_in(nursery, 2)
    router.roster.exchange_failed(failure(BackendRestarted))
    router.roster.probe_succeeded("state-1", b"another life")

    assert router.observer.facts[-1] == ("backend_came_up", router.backends[0], Symptom.RESTARTED, True, 2)


async def test_slow_exchanges_do_not_prolong_patience(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An unanswered connection is given up 30 s after the last failed *probe*; failed exchanges are none."""
    router = MemoryRouter(nursery, health=HealthPolicy(fall=1000))
    backend = ScriptedBackend(router.network, router.backends[0].address, [*greeting(), Hear(SET), HearEnd()])
    router.take_in()
    with pytest.raises(BackendTooSlow):
        await router.roster.upstreams["state-1"].exchange(whole(SET, 1.0))
    router.roster.exchange_failed(failure(BackendTooSlow))
    await trio.sleep(20)
    router.roster.exchange_failed(failure(BackendTooSlow))
    router.roster.probe_succeeded("state-1", LIFE)
    await backend.streams[0].wait_until_abandoned()

    assert 31 <= trio.current_time() <= 32


async def test_not_at_fault(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What the router could not even try says nothing of the backend, in probes as in exchanges."""
    router = taken_in(nursery)
    await fail_probes(router, BackendNotAtFault, 10 * FALL)
    await fail_exchanges(router, BackendNotAtFault, 10 * FALL)

    assert router.serving == {"state-1", "state-2", "state-3", "state-4"}


async def test_kept_and_answering_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """That a server was kept although it did not answer is said, and so is the end of it."""
    router = taken_in(nursery, 1)
    await fail_probes(router, BackendTooSlow, 2 * FALL)
    for _ in range(3):
        router.roster.probe_succeeded("state-1", LIFE)

    assert ["ejection_withheld", "backend_answers_again"] == [fact[0] for fact in facts(router)]
