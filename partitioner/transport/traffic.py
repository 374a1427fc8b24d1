"""What was exchanged with one backend, in plain integers: cheap to count, and read at each scrape.

Every exchange over the backend's pooled connections counts, for clients and of the router's own. What its
client has broken off is neither answered nor failed: it says nothing of the backend. Probes are apart.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from partitioner.errors import Phase

DURATIONS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds in seconds, 100 us to 10 s: an exchange on loopback takes 0.2 ms, and none more than 8 s."""


class Histogram:
    """Counts values by the bounds between which they lie."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """The upper bounds ascend; what is above the last one is counted as well."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # one for each bound, and one above them all
        self.total = 0.0  # of all values

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values, {self.total:g} in all>"

    def add(self, value: float) -> None:
        """Count a value; one that is as large as a bound lies below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def cumulative(self) -> Iterator[int]:
        """For each bound how many values lie below it, and at last how many there are."""
        return accumulate(self.counts)

    def copy(self) -> "Histogram":
        """What was counted up to now; it does not change any more."""
        copied = Histogram.__new__(Histogram)
        copied.bounds, copied.counts, copied.total = self.bounds, self.counts.copy(), self.total
        return copied


STATUSES = (200, 404, 423, 400)
"""What a backend may answer; anything else is a failure (see transport.backend_exchange)."""


class Traffic:
    """Counts the exchanges with one backend since its upstream was opened."""

    __slots__ = ("answers", "durations", "failures", "last_probe")

    def __init__(self) -> None:
        self.answers = dict.fromkeys(STATUSES, 0)  # by status
        self.failures = dict.fromkeys(Phase, 0)
        self.durations = Histogram(DURATIONS)  # of what was answered
        self.last_probe: float | None = None  # how long the last good one took, in seconds

    def __repr__(self) -> str:
        return f"<Traffic, {sum(self.answers.values())} answered, {sum(self.failures.values())} failed>"

    def answered(self, status: int, seconds: float) -> None:
        """An exchange was answered whole, so many seconds after the request was sent."""
        self.answers[status] += 1
        self.durations.add(seconds)

    def failed(self, phase: Phase) -> None:
        """An exchange failed when it had come so far."""
        self.failures[phase] += 1

    def probed(self, seconds: float) -> None:
        """A probe was answered as it should be, and took so long."""
        self.last_probe = seconds
