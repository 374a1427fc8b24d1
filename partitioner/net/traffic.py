"""What was exchanged with one backend, in plain integers: cheap to count, and read when somebody asks.

Every exchange over the backend's pooled connections counts, for clients and of the router's own. What its
client has broken off is neither answered nor failed: it says nothing of the backend. Probes are apart.
"""

from partitioner.errors import Phase
from partitioner.net.histogram import DURATIONS, Histogram

STATUSES = (200, 404, 423, 400)
"""What a backend may answer; anything else is a failure (see net.lease)."""


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
