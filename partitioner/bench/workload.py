"""What the web requests of a bench do: one worker is one connection with one web request at a time.

Web requests behave as those of the real client do (protocol.md 8.1): 70 % acquire a session and save
it, 20 % acquire and release it, 10 % only look. A locked session is polled. A lock that is older than
any page may run is broken. A session that is not found is created, insert only. A failed exchange fails
its web request, and nothing is repeated.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import trio

from partitioner.bench.connection import Answered, Connection, Unanswered
from partitioner.bench.content import Content, Stamp
from partitioner.bench.counters import Counters
from partitioner.bench.findings import Finding, Findings, Kind
from partitioner.bench.ledger import Expectation, Record
from partitioner.protocol.messages import AnswerHead, Operation
from partitioner.protocol.writer import write_request

SAVING = 0.7
RELEASING = 0.2
"""Shares of web requests that acquire; the others only look."""

SHORTEST_POLL = 0.05
LONGEST_POLL = 0.5
"""Seconds between polls of a locked session, doubling. The real client waits 0.5 s each time, which would
leave a bench of a few busy sessions idle; its longest wait is ours."""

AFTER_FAILURE = 0.1
"""Seconds that a worker waits after a failed exchange: a server that is gone is not to be hammered."""

LOCK_BREAKING_AGE = 110
"""Seconds after which a client takes a lock for abandoned: ASP.NET's executionTimeout (protocol.md 7)."""

TIMEOUT_MINUTES = 20  # ASP.NET's default; sessions that the removal misses go away by themselves

_LOCK_AGE = re.compile(rb"\r\nLockAge: *([0-9]+)\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Workload:
    """What all workers of a run share."""

    targets: tuple[bytes, ...]  # of all sessions, by number
    content: Content
    counters: Counters  # of the phase under way
    on_finding: Callable[[Finding], None]
    records: tuple[Record, ...] = ()
    findings: Findings = field(default_factory=Findings)
    ending: trio.Event = field(default_factory=trio.Event)  # set when no more web requests are to begin

    def __post_init__(self) -> None:
        self.records = tuple(Record(number) for number in range(len(self.targets)))

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end; not at all if `seconds` is negative."""
        with trio.move_on_after(max(0.0, seconds)):
            await self.ending.wait()


class Worker:
    """Makes one web request after the other."""

    def __init__(self, number: int, connection: Connection, workload: Workload, rng: Random) -> None:
        self._number = number
        self._connection = connection
        self._workload = workload
        self._rng = rng

    def __repr__(self) -> str:
        return f"<Worker {self._number}, {self._connection}>"

    @property
    def failures_in_a_row(self) -> int:
        """How many exchanges failed since one was last answered."""
        return self._connection.failures_in_a_row

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # --- web requests ---

    async def make_web_request(self) -> None:
        """Make one web request of a kind and about a session that chance chooses."""
        record = self._rng.choice(self._workload.records)
        roll = self._rng.random()
        self._workload.counters.web_requests += 1
        if roll < SAVING:
            await self._acquire_and_save(record)
        elif roll < SAVING + RELEASING:
            await self._acquire_and_release(record)
        else:
            await self._read(Operation.GET, record)

    async def _acquire_and_save(self, record: Record) -> None:
        cookie = await self._maybe_acquire(record)
        if cookie is None:
            return
        expectation = record.expect()
        version = record.begin_save(self._number)
        body = self._workload.content.compose(Stamp(record.number, version))
        answered = await self._exchange(Operation.SET, record, cookie, body)
        status = None if answered is None else answered.head.status
        if status == 200:
            self._find(record.note_saved(version, expectation))
        elif status == 423:
            self._find(record.note_refused(version))
        else:
            record.note_unsaved(version)
            self._judge_absence(answered, record, expectation)

    async def _acquire_and_release(self, record: Record) -> None:
        cookie = await self._maybe_acquire(record)
        if cookie is None:
            return
        expectation = record.expect()
        record.let_go(self._number)
        answered = await self._exchange(Operation.RELEASE, record, cookie)
        self._judge_absence(answered, record, expectation)

    async def _maybe_acquire(self, record: Record) -> int | None:
        """Acquire a session; return the lock cookie, or None if it was not to be had."""
        head = await self._read(Operation.ACQUIRE, record)
        if head is None:
            return None
        if head.lock_cookie is None:
            self._find(Finding(Kind.WRONG, record.number, "an acquire was answered 200 without a LockCookie"))
        return head.lock_cookie

    async def _read(self, operation: Operation, record: Record) -> AnswerHead | None:
        """Get or acquire a session, polling while it is locked; return the head of a 200, or None."""
        pause = SHORTEST_POLL
        while True:
            expectation = record.expect()
            answered = await self._exchange(operation, record)
            if answered is None:
                return None
            match answered.head.status:
                case 200:
                    self._judge(operation, answered, record, expectation)
                    return answered.head
                case 404:
                    self._judge_absence(answered, record, expectation)
                    await self._create(record)
                    return None
                case 423 if not self._workload.ending.is_set():
                    await self._maybe_break_lock(answered.head, record)
                    await self._workload.pause(pause)
                    pause = min(2 * pause, LONGEST_POLL)
                case _:
                    return None

    async def _maybe_break_lock(self, head: AnswerHead, record: Record) -> None:
        """Release another page's lock if it is too old, with the cookie that the 423 tells."""
        age = _LOCK_AGE.search(head.raw)
        if age is not None and int(age[1]) >= LOCK_BREAKING_AGE:
            record.note_broken_lock()
            await self._exchange(Operation.RELEASE, record, head.lock_cookie)

    # --- before and after the run ---

    async def create(self, number: int) -> bool:
        """Create a session; return whether that was acknowledged. If not, a page that misses it does."""
        return await self._create(self._workload.records[number])

    async def read_back(self, number: int) -> bool:
        """Read a session once more and judge it; return whether there was something to judge."""
        record = self._workload.records[number]
        expectation = record.expect()
        answered = await self._exchange(Operation.GET, record)
        if answered is None or answered.head.status not in (200, 404):
            return False
        if answered.head.status == 200:
            self._judge(Operation.GET, answered, record, expectation)
        self._judge_absence(answered, record, expectation)
        return True

    async def remove(self, number: int) -> bool:
        """Remove a session, locked or not; return whether it is gone."""
        record = self._workload.records[number]
        answered = await self._exchange(Operation.REMOVE, record, 0)
        if answered is not None and answered.head.status == 423:
            answered = await self._exchange(Operation.REMOVE, record, answered.head.lock_cookie)
        return answered is not None and answered.head.status in (200, 404)

    # --- exchanges ---

    async def _create(self, record: Record) -> bool:
        version = record.maybe_begin_creation()
        if version is None:
            return False
        is_acknowledged = False
        try:
            # Insert only, as the real client does, because that cannot overwrite what a save has left there.
            body = self._workload.content.compose(Stamp(record.number, version))
            answered = await self._exchange(Operation.CREATE_UNINITIALIZED, record, 0, body)
            is_acknowledged = answered is not None and answered.head.status == 200
        finally:
            record.end_creation(is_acknowledged=is_acknowledged)
        return is_acknowledged

    async def _exchange(
        self, operation: Operation, record: Record, lock_cookie: int | None = None, body: bytes = b""
    ) -> Answered | None:
        """Carry out one exchange about a session and count it; None if it failed."""
        session, workload = record.number, self._workload
        request = write_request(
            operation,
            workload.targets[session],
            timeout_minutes=TIMEOUT_MINUTES if body else None,
            lock_cookie=lock_cookie,
            body=body,
        )
        outcome = await self._connection.exchange(operation, request)
        counters = workload.counters
        if isinstance(outcome, Unanswered):
            counters.count_failure(session, outcome.failure, outcome.began_at, outcome.ended_at)
            await trio.sleep(AFTER_FAILURE)
            return None
        counters.count_answer(session, operation, outcome.head.status, outcome.began_at, outcome.ended_at)
        counters.bytes_sent += len(request)
        counters.bytes_received += len(outcome.head.raw) + len(outcome.body)
        return outcome

    # --- judging ---

    def _judge(
        self, operation: Operation, answered: Answered, record: Record, expectation: Expectation
    ) -> None:
        seen = self._workload.content.read(answered.body)
        finding = record.judge_content(seen, expectation)
        self._find(finding)
        if operation is Operation.ACQUIRE:
            version = seen.version if finding is None and isinstance(seen, Stamp) else None
            self._find(record.take_lock(self._number, version, expectation))

    def _judge_absence(self, answered: Answered | None, record: Record, expectation: Expectation) -> None:
        if answered is not None and answered.head.status == 404:
            self._find(record.judge_absence(expectation))

    def _find(self, finding: Finding | None) -> None:
        if finding is not None:
            self._workload.findings.add(finding)
            self._workload.on_finding(finding)
