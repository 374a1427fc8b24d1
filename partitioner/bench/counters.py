"""What a run has come to: counts, latencies and failures. Its size does not grow with the run."""

from collections import Counter
from enum import Enum

from partitioner.bench.histogram import Histogram, merge
from partitioner.bench.outages import Outages
from partitioner.protocol.messages import Operation


class Failure(Enum):
    """Why an exchange was not answered."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    CLOSED = "closed"
    TIMED_OUT = "timed out"
    GARBAGE = "garbage"


_SERVED = (200, 404, 423)
"""What a request is answered that was served: done, not found, locked."""


class Counters:
    """Counts what happens in a run. Times are seconds on one clock."""

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.ended_at = began_at
        self.latencies = {operation: Histogram() for operation in Operation}
        self.statuses: dict[Operation, Counter[int]] = {operation: Counter() for operation in Operation}
        self.failures: Counter[Failure] = Counter()
        self.outages = Outages(began_at)
        self.bytes_sent = 0
        self.bytes_received = 0
        self.web_requests = 0

    def __repr__(self) -> str:
        return f"<Counters, {self.exchanges} exchanges, {self.failed} failed>"

    @property
    def exchanges(self) -> int:
        """Exchanges that were answered, whatever the answer."""
        return sum(histogram.count for histogram in self.latencies.values())

    @property
    def failed(self) -> int:
        """Exchanges that were not."""
        return self.failures.total()

    @property
    def succeeded(self) -> int:
        """Exchanges that were answered 200."""
        return sum(statuses[200] for statuses in self.statuses.values())

    @property
    def refused(self) -> int:
        """Exchanges and connections that were refused: a pool that is full, a port that is closed."""
        answers: Counter[int] = sum(self.statuses.values(), Counter())
        return answers.total() - sum(answers[status] for status in _SERVED) + self.failures[Failure.REFUSED]

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return self.ended_at - self.began_at

    def all_latencies(self) -> Histogram:
        """The latencies of all operations together, as of now."""
        return merge(self.latencies.values())

    def count_answer(
        self, session: int, operation: Operation, status: int, began_at: float, now: float
    ) -> None:
        """An exchange was answered."""
        self.latencies[operation].add(now - began_at)
        self.statuses[operation][status] += 1
        if status == 200:
            self.outages.succeeded(session, now)
        else:
            self.outages.was_in_vain(session, began_at)

    def count_failure(self, session: int, failure: Failure, began_at: float, now: float) -> None:
        """An exchange was not answered."""
        self.failures[failure] += 1
        self.outages.failed(session, began_at, now)

    def end(self, now: float) -> None:
        """The run is over."""
        self.ended_at = now
        self.outages.end(now)
