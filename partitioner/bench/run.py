"""One run from beginning to end: create all sessions, work, then read each one back and remove it.

Nothing is cut off at the end of the working time: web requests under way are finished, so that no lock
is left behind and every save is known to have happened or not. Reading back is part of the check: a save
that has not been read since is not proved by having been acknowledged.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

import trio

from partitioner.bench.connection import Connection
from partitioner.bench.content import LEAST_SIZE, RUN_SIZE, Content
from partitioner.bench.counters import Counters
from partitioner.bench.findings import Finding, Findings
from partitioner.bench.targets import new_targets
from partitioner.bench.workload import Worker, Workload
from partitioner.membership.backend import Address
from partitioner.transport.channel import Dial, dial_tcp

_TRIES = 3
"""Times that a session is read back, or removed, if it does not succeed at once. A worker whose exchanges
have failed as often in a row leaves the other sessions alone: a frozen server must not hold up the end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a bench is asked to do. Times are seconds, sizes bytes."""

    address: Address
    connections: int = 64
    sessions: int = 1000
    size: int = 1024
    duration: float = 10.0
    rate: float | None = None  # web requests a second, of all workers together; None is no limit
    seed: int = 0  # of what is asked when, and of which session; session IDs are always new
    timeout: float = 10.0  # for one exchange; as the real client's stateNetworkTimeout

    def __post_init__(self) -> None:
        assert self.size >= LEAST_SIZE


class Stage(Enum):
    """What a bench is about."""

    CREATING = "creating sessions"
    WORKING = "working"
    CLEARING = "reading back and removing sessions"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a bench has come to. Of the exchanges, only those of the working time are counted."""

    plan: Plan
    counters: Counters
    findings: Findings
    created: int
    read_back: int
    removed: int

    @property
    def is_good(self) -> bool:
        """Whether something worked, and nothing was wrong."""
        return self.counters.succeeded > 0 and self.findings.total == 0


class Bench:
    """Runs a plan. What it is at can be looked at while it runs."""

    def __init__(
        self,
        plan: Plan,
        on_finding: Callable[[Finding], None] = lambda finding: None,
        dial: Dial = dial_tcp,
    ) -> None:
        """`on_finding` is called for each answer that was not true, as soon as it is found."""
        now = trio.current_time()
        self.plan = plan
        self.stage = Stage.CREATING
        self.done = 0  # sessions that this phase is done with
        self.counters = Counters(now)  # of the working time
        self._dial = dial
        self._created = 0
        self._read_back = 0
        self._removed = 0
        self._workload = Workload(
            targets=new_targets(plan.sessions),
            content=Content(secrets.token_bytes(RUN_SIZE), plan.size),
            counters=Counters(now),
            on_finding=on_finding,
        )
        self._workers = tuple(self._new_worker(number) for number in range(plan.connections))

    def __repr__(self) -> str:
        return f"<Bench of {self.plan.address}, {self.stage.value}, {self.counters}>"

    @property
    def targets(self) -> Sequence[bytes]:
        """The sessions' targets, percent-encoded, by number."""
        return self._workload.targets

    def stop(self) -> None:
        """Begin no more web requests: go on to read back and remove the sessions."""
        self._workload.ending.set()

    async def run(self) -> None:
        """Go through all phases. If it is cancelled, sessions may be left behind; the outcome is good."""
        try:
            await self._for_each_session(Stage.CREATING, self._create)
            await self._work()
            await self._for_each_session(Stage.CLEARING, self._clear)
        finally:
            for worker in self._workers:
                worker.close()

    def outcome(self) -> Outcome:
        """What it has come to."""
        return Outcome(
            plan=self.plan,
            counters=self.counters,
            findings=self._workload.findings,
            created=self._created,
            read_back=self._read_back,
            removed=self._removed,
        )

    # --- working ---

    async def _work(self) -> None:
        self.stage = Stage.WORKING
        began_at = trio.current_time()
        self.counters = self._workload.counters = Counters(began_at)
        pacer = _Pacer(self.plan.rate, began_at)
        try:
            async with trio.open_nursery() as working:
                for worker in self._workers:
                    working.start_soon(self._keep_working, worker, pacer)
                await self._workload.pause(self.plan.duration)
                self.stop()
        finally:
            self.counters.end(trio.current_time())

    async def _keep_working(self, worker: Worker, pacer: "_Pacer") -> None:
        ending = self._workload.ending
        while not ending.is_set():
            if (starts_at := pacer.next_start()) is not None:
                await self._workload.pause(starts_at - trio.current_time())
                if ending.is_set():
                    break
            await worker.make_web_request()

    def _new_worker(self, number: int) -> Worker:
        connection = Connection(self.plan.address, self._dial, self.plan.timeout)
        return Worker(number, connection, self._workload, Random(f"{self.plan.seed} {number}"))

    # --- before and after ---

    async def _for_each_session(self, stage: Stage, do: Callable[[Worker, int], Awaitable[None]]) -> None:
        """Have the workers share all sessions among them."""
        self.stage = stage
        self.done = 0
        self._workload.counters = Counters(trio.current_time())
        numbers = iter(range(self.plan.sessions))
        async with trio.open_nursery() as sharing:
            for worker in self._workers:
                sharing.start_soon(self._do_next_ones, worker, numbers, do)

    async def _do_next_ones(
        self, worker: Worker, numbers: Iterator[int], do: Callable[[Worker, int], Awaitable[None]]
    ) -> None:
        for number in numbers:
            await do(worker, number)
            self.done += 1
            if worker.failures_in_a_row >= _TRIES:
                break

    async def _create(self, worker: Worker, number: int) -> None:
        if not self._workload.ending.is_set():
            was_created = await worker.create(number)
            self._created += was_created  # not in one line: `+=` would read the old sum before it waits

    async def _clear(self, worker: Worker, number: int) -> None:
        was_read_back = await _try_a_few_times(worker.read_back, number)
        self._read_back += was_read_back
        if worker.failures_in_a_row < _TRIES:
            was_removed = await _try_a_few_times(worker.remove, number)
            self._removed += was_removed


class _Pacer:
    """Hands out the times at which web requests are to start, one after the other at a steady rate.

    Starts that were missed because all workers were busy are caught up with: the rate is what is
    offered, as web users offer it, whether or not the server keeps up.
    """

    def __init__(self, rate: float | None, began_at: float) -> None:
        self._interval = None if rate is None else 1 / rate
        self._next_start = began_at

    def next_start(self) -> float | None:
        """When the next web request is to start; None for as soon as may be."""
        if self._interval is None:
            return None
        start = self._next_start
        self._next_start += self._interval
        return start


async def _try_a_few_times(attempt: Callable[[int], Awaitable[bool]], number: int) -> bool:
    for _ in range(_TRIES):
        if await attempt(number):
            return True
    return False
