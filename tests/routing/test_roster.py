"""From what is seen of backends to who serves: what the roster makes of failures and returns."""

import pytest
import trio
from trio.testing import MockClock

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
)
from partitioner.membership.backend import BackendId
from partitioner.membership.health import HealthPolicy, Symptom
from partitioner.routing.roster import SYMPTOMS
from tests.doubles.backends import Hear, HearEnd, ScriptedBackend, greeting, incarnation_of
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import SET, whole
from tests.identities import STATE_1, STATE_2
from tests.routing.rosters import FALL, Kind, facts, fail_probes, failure, taken_in
from tests.tables import each_case

COUNTING = [BackendRefused, BackendUnreachable, BackendTooSlow, BackendReset]
NOT_COUNTING = [BackendHungUp, BackendMalformed]


async def fail_exchanges(router: MemoryRouter, kind: Kind, times: int) -> None:
    """Have so many exchanges in a row fail, far enough from each other to be told apart."""
    for _ in range(times):
        await trio.sleep(HealthPolicy().timeout)
        router.roster.exchange_failed(failure(kind))


async def wanted(router: MemoryRouter, name: BackendId = STATE_1) -> bool:
    """Whether this backend is to be probed at once."""
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
    router.roster.probe_succeeded(STATE_2, incarnation_of(2))
    router.roster.probe_succeeded(STATE_1, incarnation_of(1))

    assert router.serving == {"state-1", "state-2"}
    assert router.observer.facts == [
        ("backend_came_up", second, None, None, 1),
        ("backend_came_up", first, None, None, 2),
    ]


async def test_every_failure_has_a_meaning(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What a failed exchange says about its backend's health is settled for every kind of failure."""
    assert set(BackendFailure.__subclasses__()) == set(SYMPTOMS)


@each_case("kind", COUNTING)
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
    """A clean close or an odd answer may be the request's doing, and ejects no server (design.md 5)."""
    router = taken_in(nursery)
    await fail_exchanges(router, kind, 100)

    assert "state-1" in router.serving


@each_case("kind", [*COUNTING, *NOT_COUNTING, BackendRestarted])
async def test_failed_exchange_has_its_backend_probed(
    nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind
) -> None:
    """Whatever went wrong in an exchange, its backend is probed at once, and only once."""
    router = taken_in(nursery)
    router.roster.exchange_failed(failure(kind))
    router.roster.exchange_failed(failure(kind))

    assert [await wanted(router), await wanted(router), await wanted(router, STATE_2)] == [
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


@each_case("kind", [*COUNTING, *NOT_COUNTING])
async def test_failed_probes_count(nursery: trio.Nursery, autojump_clock: MockClock, kind: Kind) -> None:
    """Of a probe, whatever goes wrong counts: no other request can be to blame."""
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
        router.roster.probe_succeeded(STATE_1, incarnation_of(1))

    assert "state-1" in router.serving


@each_case("kind", [BackendUnreachable, BackendTooSlow, BackendReset])
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
        router.roster.probe_succeeded(STATE_1, incarnation_of(1))

    assert router.serving == {"state-1"}


async def test_down_is_not_missing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that was up before is ejected, and not reported as missing from the start."""
    router = taken_in(nursery, 2)
    for _ in range(20):
        router.roster.probe_failed(failure(BackendRefused))

    assert [fact[0] for fact in facts(router)] == ["backend_ejected"]


# --- returns ---


async def test_return_in_the_same_incarnation(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that comes back with its known canary still holds what it held, and that is said."""
    router = taken_in(nursery, 2)
    await fail_probes(router, BackendTooSlow, FALL)
    for _ in range(2):
        router.roster.probe_succeeded(STATE_1, incarnation_of(1))

    assert router.observer.facts[-1] == ("backend_came_up", router.backends[0], Symptom.TIMED_OUT, False, 2)


async def test_return_in_a_new_incarnation(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that comes back with another canary is empty, and that is said."""
    router = taken_in(nursery, 2)
    router.roster.exchange_failed(failure(BackendRestarted))
    router.roster.probe_succeeded(STATE_1, b"another-incarnation")

    assert router.observer.facts[-1] == ("backend_came_up", router.backends[0], Symptom.RESTARTED, True, 2)


async def test_slow_exchanges_do_not_prolong_patience(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An unanswered connection is given up 30 s after the last failed *probe*; failed exchanges are none."""
    router = MemoryRouter(nursery, health=HealthPolicy(fall=1000))
    backend = ScriptedBackend(router.network, router.backends[0].address, [*greeting(), Hear(SET), HearEnd()])
    router.take_in()
    with pytest.raises(BackendTooSlow):
        await router.roster.upstreams[STATE_1].exchange(whole(SET, 1.0))
    router.roster.exchange_failed(failure(BackendTooSlow))
    await trio.sleep(20)
    router.roster.exchange_failed(failure(BackendTooSlow))
    router.roster.probe_succeeded(STATE_1, incarnation_of(1))
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
        router.roster.probe_succeeded(STATE_1, incarnation_of(1))

    assert ["ejection_withheld", "backend_answers_again"] == [fact[0] for fact in facts(router)]
