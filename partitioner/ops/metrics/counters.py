"""Counts facts: plain integers in dictionaries, which are read at each scrape.

Nothing here knows Prometheus. What happens in every exchange costs a few hundred nanoseconds.
"""

import time
from collections import Counter
from collections.abc import Callable

from partitioner.membership.backend import Backend, BackendId
from partitioner.membership.health import Health, HealthRecord, Symptom
from partitioner.membership.losses import LossReason
from partitioner.ops.metrics.application_sizes import ApplicationSizes
from partitioner.ops.metrics.catalog import SIZES
from partitioner.protocol.messages import Operation
from partitioner.transport.observer import Observer
from partitioner.transport.traffic import DURATIONS, STATUSES, Histogram

SAVES = frozenset({Operation.SET, Operation.CREATE_UNINITIALIZED})

FULL_FOR = 60.0
"""Seconds for which a backend that has refused a session counts as full. It does not say when it has room."""

GOOD_RELOADS = frozenset({"applied", "unchanged"})


def is_recorded(servers: int, wanted: int) -> bool:
    """Whether a record that so many servers have taken, of so many that answer, is where it should be."""
    return servers >= wanted


class Served:
    """The requests of one operation that were answered."""

    __slots__ = ("answers", "durations")

    def __init__(self) -> None:
        self.answers = dict.fromkeys(STATUSES, 0)  # by status
        self.durations = Histogram(DURATIONS)


class Counters(Observer):
    """Everything that was reported since the start, counted. Backends go by their identity."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """The configuration has just been read; `clock` returns Unix time."""
        self._clock = clock
        # clients
        self.served = {operation: Served() for operation in Operation}
        self.sizes = Histogram(SIZES)  # of sessions that were saved
        self.by_application = ApplicationSizes(clock)  # the same, where a router reports them
        self.malformed = 0
        self.closed: Counter[Operation | None] = Counter()
        self.turned_away = 0
        self.crashes = 0
        self.standstills = 0
        self.lags = Histogram(DURATIONS)  # of the event loop; kept by watch_lag
        # backends
        self.state_changes: Counter[tuple[BackendId, Health]] = Counter()
        self.failovers: Counter[BackendId] = Counter()
        self.full_at: dict[str, float] = {}  # when a backend last refused a session, as Unix time
        self.copies: Counter[tuple[BackendId, bool]] = Counter()  # and whether they were written
        # which router is active
        self.superseded_times = 0
        self.records: Counter[bool] = Counter()  # by whether every server that answers has taken it
        # sessions and locks
        self.degraded_writes = 0
        self.moved: Counter[str] = Counter()  # by reason
        self.repaired = 0
        self.healed: Counter[str] = Counter()  # by reason
        self.lost: Counter[LossReason] = Counter()
        self.locks_taken_over = 0
        self.ghosts_released = 0
        self.ghosts_left = 0
        self.mixed_applications = 0
        # the configuration
        self.reloads: Counter[str] = Counter()  # by outcome
        self.is_last_reload_good = True
        self.last_read_at = clock()

    def __repr__(self) -> str:
        return f"<Counters, {self.answered} requests answered>"

    @property
    def answered(self) -> int:
        """Requests of clients that were answered, whatever the answer was."""
        return sum(sum(each.answers.values()) for each in self.served.values())

    @property
    def lost_updates(self) -> int:
        """Saves that were answered 423: their pages had lost the lock."""
        return self.served[Operation.SET].answers[423]

    # --- clients ---

    def client_turned_away(self, peer: str, reason: str) -> None:
        self.turned_away += 1

    def request_rejected(self, peer: str, reason: str) -> None:
        self.malformed += 1

    def exchange_finished(self, operation: Operation, status: int, duration: float, size: int) -> None:
        served = self.served[operation]
        served.answers[status] += 1
        served.durations.add(duration)
        if size and status == 200 and operation in SAVES:
            self.sizes.add(size)

    def session_saved(self, application: bytes, size: int) -> None:
        self.by_application.add(application, size)

    def exchange_closed(self, peer: str, operation: Operation | None, reason: str) -> None:
        self.closed[operation] += 1

    def conversation_crashed(self, peer: str, error: Exception) -> None:
        self.crashes += 1

    def stood_still(self, duration: float) -> None:
        self.standstills += 1

    # --- backends ---

    def backend_missing(self, backend: Backend, detail: str, eligible: int) -> None:
        self.state_changes[backend.identity, Health.DOWN] += 1

    def backend_came_up(
        self, backend: Backend, after: Symptom | None, has_new_incarnation: bool | None, eligible: int
    ) -> None:
        self.state_changes[backend.identity, Health.UP] += 1

    def backend_ejected(self, backend: Backend, record: HealthRecord, detail: str, eligible: int) -> None:
        self.state_changes[backend.identity, Health.DOWN] += 1

    def backend_doubted(self, backend: Backend, duration: float, eligible: int) -> None:
        self.state_changes[backend.identity, Health.RECOVERING] += 1

    def backend_trusted(self, backend: Backend, eligible: int) -> None:
        self.state_changes[backend.identity, Health.UP] += 1

    def backend_put_aside(self, backend: Backend) -> None:
        self.state_changes[backend.identity, Health.DOWN] += 1

    def backend_full(self, backend: Backend) -> None:
        self.full_at[backend.identity] = self._clock()

    def is_full(self, identity: BackendId) -> bool:
        """Whether a backend has refused a session within the last minute."""
        return self._clock() - self.full_at.get(identity, float("-inf")) < FULL_FOR

    def failed_over(self, backend: Backend) -> None:
        self.failovers[backend.identity] += 1

    # --- which router is active ---

    def superseded(self, term: str) -> None:
        self.superseded_times += 1

    def record_written(self, servers: int, wanted: int) -> None:
        if wanted:  # no server that answers can fail to take it
            self.records[is_recorded(servers, wanted)] += 1

    # --- sessions and locks ---

    def copy_written(self, backend: Backend, is_good: bool) -> None:
        self.copies[backend.identity, is_good] += 1

    def write_degraded(self, without: tuple[Backend, ...], operation: Operation) -> None:
        self.degraded_writes += 1

    def session_moved(self, source: Backend, reason: str) -> None:
        self.moved[reason] += 1

    def session_healed(self, reason: str) -> None:
        self.healed[reason] += 1

    def session_repaired(self, backend: Backend) -> None:
        self.repaired += 1

    def loss_declared(self, operation: Operation, silent: tuple[str, ...], reason: LossReason) -> None:
        self.lost[reason] += 1

    def lock_taken_over(self, backend: Backend) -> None:
        self.locks_taken_over += 1

    def ghost_lock_released(self, backend: Backend) -> None:
        self.ghosts_released += 1

    def ghost_lock_left(self, backend: Backend, detail: str) -> None:
        self.ghosts_left += 1

    def applications_mixed(self, first: str, second: str) -> None:
        self.mixed_applications += 1

    # --- the configuration ---

    def reloaded(self, outcome: str) -> None:
        self.reloads[outcome] += 1
        self.is_last_reload_good = outcome in GOOD_RELOADS
        self.last_read_at = self._clock()
