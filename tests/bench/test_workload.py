"""The load and its checks, against state servers in memory and on virtual time."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from partitioner.bench.counters import Failure
from partitioner.bench.findings import Kind
from partitioner.bench.run import Bench, Outcome, Plan
from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import Address
from partitioner.protocol.messages import Operation
from partitioner.transport.messages import Request, Responder, Response
from tests.bench.servers import (
    Cheat,
    FlipsAByte,
    Forgets,
    LocksTwice,
    MixesUp,
    RemembersTheFirst,
    honest,
    memory_dial,
    slowly,
)
from tests.tables import each_case

ADDRESS = Address("192.0.2.1", 42424)
LATENCY = 0.01


async def run_bench(responder: Responder, **plan: Any) -> Outcome:
    """Run a small bench of two seconds in which every exchange takes 10 ms."""
    plan = {"connections": 4, "sessions": 5, "size": 100, "duration": 2.0, **plan}
    async with trio.open_nursery() as serving:
        bench = Bench(Plan(ADDRESS, **plan), dial=memory_dial(slowly(responder, LATENCY), serving))
        await bench.run()
        serving.cancel_scope.cancel()
    return bench.outcome()


async def test_an_honest_server_is_good(autojump_clock: MockClock) -> None:
    """Against an honest server nothing fails, nothing is found, and nothing is left behind."""
    outcome = await run_bench(honest())

    assert outcome.is_good
    assert (0, 5, 5, 5) == (outcome.counters.failed, outcome.created, outcome.read_back, outcome.removed)


async def test_counts_add_up(autojump_clock: MockClock) -> None:
    """Every acquired lock is released or saved, and every web request ends with one answer of 200."""
    counters = (await run_bench(honest())).counters
    granted, released, saved, seen = (
        counters.statuses[operation][200]
        for operation in (Operation.ACQUIRE, Operation.RELEASE, Operation.SET, Operation.GET)
    )

    assert granted == released + saved
    # A web request that is still polling at the end gives up.
    assert 0 <= counters.web_requests - (granted + seen) <= 4
    assert counters.exchanges == sum(statuses.total() for statuses in counters.statuses.values())


async def test_the_mix_is_as_promised(autojump_clock: MockClock) -> None:
    """Of the web requests 70 % save, 20 % release, and 10 % only look."""
    counters = (await run_bench(honest(), sessions=100, duration=20.0, connections=2)).counters
    shares = [
        counters.statuses[operation][200] / counters.web_requests
        for operation in (Operation.SET, Operation.RELEASE, Operation.GET)
    ]

    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.05)


async def test_the_rate_is_kept(autojump_clock: MockClock) -> None:
    """With a rate, so many web requests are made in a second, whatever the number of workers."""
    counters = (await run_bench(honest(), sessions=1000, rate=20.0, duration=4.99)).counters

    assert counters.web_requests == 100


async def test_the_same_seed_asks_the_same(autojump_clock: MockClock) -> None:
    """Two runs with one seed do the same operations, on sessions with other names."""
    one, other = [(await run_bench(honest(), seed=3, connections=1)).counters for _ in range(2)]

    assert one.statuses == other.statuses


@each_case(
    ("cheat", "kind", "consequences"),
    [
        (RemembersTheFirst, Kind.STALE, {Kind.DOUBLE_HOLDER}),  # so it looks while a save is under way
        (Forgets, Kind.LOST, set()),
        (LocksTwice, Kind.DOUBLE_HOLDER, {Kind.STALE}),  # each overwrites what the other has saved
        (FlipsAByte, Kind.WRONG, set()),
        (MixesUp, Kind.WRONG, set()),
    ],
)
async def test_a_cheat_is_found(
    autojump_clock: MockClock, cheat: Callable[[], Responder], kind: Kind, consequences: set[Kind]
) -> None:
    """Each way of cheating is found, and called by its name and at most by that of what comes of it."""
    outcome = await run_bench(cheat())

    assert not outcome.is_good
    assert {kind} == {finding.kind for finding in outcome.findings.kept} - consequences


async def test_a_lost_session_is_counted_once(autojump_clock: MockClock) -> None:
    """After a loss the session is created anew, and the run goes on."""
    outcome = await run_bench(Forgets())

    assert (1, 1) == (
        outcome.findings.count(Kind.LOST),
        outcome.counters.statuses[Operation.CREATE_UNINITIALIZED][200],
    )
    assert outcome.read_back == 5


class LosesOneAtTheEnd(Cheat):
    """Forgets a session when nobody but the reading back will ask for it again."""

    async def twist(self, request: Request, response: Response) -> Response:
        is_reading_back = trio.current_time() > 2.3
        if is_reading_back and request.head.operation is Operation.GET:
            await self.ask(request, Operation.REMOVE)
            return await self.ask(request, Operation.GET)
        return response


async def test_reading_back_finds_what_was_lost_unnoticed(autojump_clock: MockClock) -> None:
    """Sessions that are lost after their last use are found when all are read back."""
    outcome = await run_bench(LosesOneAtTheEnd(), sessions=200, duration=0.5, connections=1)

    assert outcome.findings.count(Kind.LOST) > 0


class HangsUp(Cheat):
    """Carries out every thirtieth request and then hangs up instead of answering."""

    def __init__(self) -> None:
        super().__init__()
        self._requests = 0

    async def __call__(self, request: Request) -> Response:
        self._requests += 1
        response = await super().__call__(request)
        if self._requests % 30 == 0 and request.head.operation is not Operation.ACQUIRE:
            raise NoBackendLeft("hangs up")
        return response


async def test_hanging_up_is_a_failure_and_no_fault(autojump_clock: MockClock) -> None:
    """Closed connections are counted and reconnected; a save that went unanswered is true either way."""
    outcome = await run_bench(HangsUp())

    assert outcome.is_good
    assert outcome.counters.failed > 0
    assert {Failure.CLOSED} == set(outcome.counters.failures)


class LeavesGhosts(Cheat):
    """Takes the lock and hangs up, the first time that anybody acquires anything."""

    async def twist(self, request: Request, response: Response) -> Response:
        if request.head.operation is Operation.ACQUIRE and self._reads == 1:
            raise NoBackendLeft("hangs up")
        return response


async def test_an_old_lock_is_broken(autojump_clock: MockClock) -> None:
    """A lock that nobody knows of is broken after 110 s, as the real client does, and no fault is found."""
    outcome = await run_bench(LeavesGhosts(), sessions=1, connections=2, duration=120.0, rate=10.0)

    assert outcome.is_good
    assert outcome.counters.outages.longest_session_outage == pytest.approx(110.5, abs=0.6)


async def never(request: Request) -> Response:
    """A server that does not answer."""
    await trio.sleep_forever()
    raise AssertionError


async def test_a_server_that_never_answers_is_no_success(autojump_clock: MockClock) -> None:
    """Where nothing worked at all, nothing is good; and the end is not held up by every single session."""
    outcome = await run_bench(never, sessions=1000, connections=2, timeout=1.0)

    assert not outcome.is_good
    assert outcome.findings.total == 0
    assert trio.current_time() < 20.0


async def test_an_early_end_still_cleans_up(autojump_clock: MockClock) -> None:
    """Stopping early finishes the web requests under way and removes the sessions."""
    async with trio.open_nursery() as serving:
        plan = Plan(ADDRESS, connections=4, sessions=5, size=100, duration=1000.0)
        bench = Bench(plan, dial=memory_dial(slowly(honest(), LATENCY), serving))
        serving.start_soon(bench.run)
        await trio.sleep(1.0)
        bench.stop()
        await trio.sleep(1.0)
        serving.cancel_scope.cancel()
    outcome = bench.outcome()

    assert outcome.is_good
    assert (5, 5, 5) == (outcome.created, outcome.read_back, outcome.removed)
    assert outcome.counters.seconds == pytest.approx(1.0, abs=0.1)
