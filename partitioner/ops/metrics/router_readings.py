"""The numbers of a router: its clients, its backends, copies, locks, drains, and itself.

What is told of each backend is a few numbers that are kept anyway; nothing here walks through sessions,
keys or locks, of which there may be a million.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import trio

from partitioner.errors import Phase
from partitioner.membership.backend import Address, BackendId, Intent
from partitioner.membership.fingerprint import map_fingerprint
from partitioner.membership.health import Health
from partitioner.membership.losses import LossReason
from partitioner.membership.pool import Member, Pool
from partitioner.membership.tenure import Role
from partitioner.membership.wholeness import REASONS
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.readings import OUTCOMES, Readings, note_holding, note_serving
from partitioner.ops.standing import dirty_of, role_of
from partitioner.routing.core import RouterCore
from partitioner.sessions.table import SessionTable
from partitioner.transport.backend_connections import Upstream
from partitioner.transport.listener import Downstream

HEALTHS = tuple(each.value for each in Health)
REMOVED = "removed"  # from the configuration; it is still asked for what it holds
INTENTS = (*(each.value for each in Intent), REMOVED)
CHANGES = (Health.UP, Health.DOWN, Health.RECOVERING)
"""What a backend's health may become; that nothing is known of it is only so at first."""

RESULTS = {True: "ok", False: "failed"}
MOVES = ("missed", "saved", "drained")
RELOADS = ("applied", "unchanged", "refused", "invalid")


@dataclass(frozen=True, slots=True)
class RouterReading:
    """Reads the numbers of one router. This is a Read."""

    core: RouterCore
    downstream: Downstream
    counters: Counters
    why_not_ready: Callable[[], tuple[str, ...]]
    embedded: Mapping[Address, SessionTable] = field(default_factory=dict)  # tables of its own servers

    def __call__(self) -> Readings:
        """Read them all, without waiting for anything."""
        readings = Readings()
        note_serving(readings, self.counters, self.downstream)
        for name, sizes in self.counters.by_application.read():
            readings.note("application_session_size_bytes", sizes, name)
        for identity, label in backend_labels(self.core.roster.pool).items():
            self._note_backend(readings, identity, label)
        self._note_shares(readings)
        self._note_copies(readings)
        self._note_locks(readings)
        self._note_drains(readings)
        self._note_role(readings)
        self._note_router(readings)
        if self.embedded:
            note_holding(readings, self.embedded.values())
        return readings

    # --- backends ---

    def _note_backend(self, readings: Readings, identity: BackendId, label: str) -> None:
        note, counters = readings.note, self.counters
        member = self.core.roster.pool.members[identity]
        note("backend_up", float(member.record.is_up), label)
        readings.note_choice("backend_state", member.record.health.value, HEALTHS, label)
        readings.note_choice("backend_intent", _intent(member), INTENTS, label)
        for health in CHANGES:
            changes = counters.state_changes[identity, health]
            note("backend_state_changes_total", changes, label, health.value)
        note("failovers_total", counters.failovers[identity], label)
        for is_good, result in RESULTS.items():
            note("copies_written_total", counters.copies[identity, is_good], label, result)
        note("backend_full", float(self.counters.is_full(identity)), label)
        note("backend_dirty", float(bool(dirty_of(self.core, identity))), label)
        note("keys_marked", self.core.ledger.marks_of(identity), label)
        _note_traffic(readings, self.core.roster.upstreams[identity], label)

    def _note_shares(self, readings: Readings) -> None:
        pool = self.core.roster.pool
        weights = {each: pool.members[each].backend.weight for each in pool.ready}
        all_weights = sum(weights.values()) or 1.0
        for identity, label in backend_labels(pool).items():
            readings.note("backend_share", weights.get(identity, 0.0) / all_weights, label)

    # --- sessions ---

    def _note_copies(self, readings: Readings) -> None:
        note, counters, roster, now = readings.note, self.counters, self.core.roster, trio.current_time()
        is_active = role_of(self.core) is Role.ACTIVE
        since = roster.redundancy.redundant_since(now) if is_active else None
        note("backends_serving", len(roster.pool.eligible))
        note("ready", float(not self.why_not_ready()))
        note("copies", roster.pool.copies)
        note("degraded_writes_total", counters.degraded_writes)
        note("redundant", float(since is not None))
        note("redundant_for_seconds", 0.0 if since is None else now - since)
        note("t_max_seconds", self.core.ledger.longest_life)
        for reason in MOVES:
            note("sessions_moved_total", counters.moved[reason], reason)
        note("sessions_repaired_total", counters.repaired)
        for flaw in REASONS:
            note("sessions_healed_total", counters.healed[flaw], flaw)
        note("sessions_lacking", self.core.healing.lacking)
        note("healing_pending", float(is_active and self.core.healing.is_pending))
        for loss in LossReason:
            note("sessions_lost_total", counters.lost[loss], loss.value)

    def _note_locks(self, readings: Readings) -> None:
        note, counters, ledger = readings.note, self.counters, self.core.ledger
        oldest = next((lock for _, lock in ledger.locks()), None)
        note("locks_held", ledger.locks_held)
        note("oldest_lock_seconds", 0.0 if oldest is None else trio.current_time() - oldest.since)
        note("lost_updates_total", counters.lost_updates)
        note("locks_taken_over_total", counters.locks_taken_over)
        note("ghost_locks_released_total", counters.ghosts_released)
        note("ghost_locks_left_total", counters.ghosts_left)
        note("mixed_applications_total", counters.mixed_applications)

    def _note_drains(self, readings: Readings) -> None:
        labels = backend_labels(self.core.roster.pool)
        for identity, drain in self.core.handoff.drains().items():
            if identity not in labels:
                continue  # it has just been forgotten
            label = labels[identity]
            readings.note("drain_sessions_moved", drain.moved, label)
            if drain.left is not None:
                readings.note("drain_sessions_left", drain.left, label)
            is_stalled = drain.stalled is not None and not drain.is_done
            readings.note("drain_stalled", float(is_stalled), label)

    # --- the router itself ---

    def _note_role(self, readings: Readings) -> None:
        note, tenure = readings.note, self.core.tenure
        is_active = role_of(self.core) is Role.ACTIVE
        term = None if tenure is None or not is_active else tenure.authority.term
        note("active", float(is_active))
        note("term", 0 if term is None else term.term.number)
        note("superseded_total", self.counters.superseded_times)
        for is_good, result in RESULTS.items():
            note("record_written_total", self.counters.records[is_good], result)

    def _note_router(self, readings: Readings) -> None:
        note, counters, core = readings.note, self.counters, self.core
        note("backend_connections_limit", core.policy.upstream.connections)
        note("loop_stalls_total", counters.standstills)
        note("pool_epoch", core.roster.pool.epoch)
        note("map_fingerprint", map_fingerprint(core.roster.pool, core.policy.hash_key))
        note("ledger_keys", len(core.ledger))
        note("ledger_keys_limit", core.policy.ledger.keys)
        note("held_body_bytes", core.body_budget.used)
        note("held_body_bytes_limit", core.policy.body_memory)
        for outcome in RELOADS:
            note("config_reloads_total", counters.reloads[outcome], outcome)
        note("config_last_reload_successful", float(counters.is_last_reload_good))
        note("config_last_reload_timestamp_seconds", counters.last_read_at)


def backend_labels(pool: Pool) -> dict[BackendId, str]:
    """How each backend of the pool is called in metrics, by its identity; no two are called the same.

    A configured one goes by its name. Of a removed one that is still asked the name may be another's by
    now; then it goes by its identity, or by its name and address.
    """
    labels = {identity: name for name, identity in pool.places.items()}
    taken = set(labels.values())
    for identity, member in pool.members.items():
        if identity not in labels:
            labels[identity] = next(each for each in _names_of(identity, member) if each not in taken)
            taken.add(labels[identity])
    return {identity: labels[identity] for identity in pool.members}


def _names_of(identity: BackendId, member: Member) -> Iterator[str]:
    yield identity
    name = f"{member.backend.name}@{member.backend.address}"
    while True:
        yield name
        name += "'"


def _intent(member: Member) -> str:
    return member.backend.intent.value if member.removed_at is None else REMOVED


def _note_traffic(readings: Readings, upstream: Upstream, label: str) -> None:
    note, traffic = readings.note, upstream.traffic
    for status, outcome in OUTCOMES.items():
        note("backend_requests_total", traffic.answers[status], label, outcome)
    note("backend_requests_total", sum(traffic.failures.values()), label, "failed")
    readings.note_copy("backend_request_duration_seconds", traffic.durations, label)
    for phase in Phase:
        note("backend_errors_total", traffic.failures[phase], label, phase.value)
    note("backend_connections", upstream.leased, label, "leased")
    note("backend_connections", upstream.idle, label, "idle")
    note("backend_connections", upstream.half_closed.unanswered, label, "unanswered")
    if traffic.last_probe is not None:
        note("backend_probe_seconds", traffic.last_probe, label)
