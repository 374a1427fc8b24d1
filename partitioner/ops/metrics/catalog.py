"""Every metric, in one table: /metrics, the documentation and the dashboards read it here.

Names are given without the prefix `partitioner_`. Units are seconds, bytes, and shares from 0 to 1. Labels
are bounded: a backend is one of the configuration, all other labels take one of a few values, which are
listed here. Never a session ID, which is a bearer secret (protocol.md 10.1.13), and never a session key.
"""

from dataclasses import dataclass
from enum import StrEnum

from partitioner.transport.traffic import DURATIONS

PREFIX = "partitioner_"

SIZES = (256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0)
"""Upper bounds in bytes, 256 B to 64 MiB, the default of limits.body."""


SIZES_BY_TWO = tuple(float(2**exponent) for exponent in range(8, 27))
"""The same bounds, and one between each two: fine enough to see a size double."""


class Kind(StrEnum):
    """What a number means; the words are Prometheus's own."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: what it is called, how it is read, and what it tells."""

    name: str  # without the prefix; a counter's ends in _total, an info's in _info
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()  # upper bounds, of a histogram

    @property
    def full_name(self) -> str:
        """The name by which Prometheus knows it."""
        return PREFIX + self.name


def _counter(name: str, labels: str, help: str) -> Metric:  # noqa: A002 - the word of the field
    return Metric(name, Kind.COUNTER, tuple(labels.split()), help)


def _gauge(name: str, labels: str, help: str) -> Metric:  # noqa: A002
    return Metric(name, Kind.GAUGE, tuple(labels.split()), help)


def _durations(name: str, labels: str, help: str) -> Metric:  # noqa: A002
    return Metric(name, Kind.HISTOGRAM, tuple(labels.split()), help, DURATIONS)


BUILD_INFO = Metric("build_info", Kind.INFO, ("version", "python"), "Always 1; the labels say what runs.")

# What router and state server have in common: both serve clients in the state protocol.
SERVING = (
    BUILD_INFO,
    _counter(
        "requests_total",
        "operation outcome",
        "Requests of clients, by what became of them: ok, miss (404), locked (423), rejected (400), or "
        "closed (the connection, instead of an answer). The operation is `unknown` where none was read.",
    ),
    _durations(
        "request_duration_seconds",
        "operation",
        "How long an answered request took, from the first byte of its head to the last byte of the answer.",
    ),
    Metric("session_size_bytes", Kind.HISTOGRAM, (), "Sizes of the sessions that clients saved.", SIZES),
    _gauge("requests_in_progress", "", "Requests that are being answered just now."),
    _gauge("client_connections", "", "Connections of clients that are open."),
    _gauge("client_connections_limit", "", "How many there may be; further clients wait to be accepted."),
    _counter(
        "clients_turned_away_total",
        "",
        "Connections from outside allow_clients, or beyond limits.per_client.",
    ),
    _counter("crashes_total", "", "Conversations that ended in a fault of this program. Please report it."),
    _counter(
        "log_lines_dropped_total",
        "",
        "Lines of the log that were dropped, because who reads it did not for a while.",
    ),
    _durations(
        "event_loop_lag_seconds", "", "How much later than due a timer of the event loop fires, each second."
    ),
)

ROUTER = (
    *SERVING,
    Metric(
        "application_session_size_bytes",
        Kind.HISTOGRAM,
        ("application",),
        "Sizes of the sessions that clients saved, by application: its ID and the beginning of its hash, of "
        "the ten that save most; `other` stands for the rest. One that saves more takes the place of one.",
        SIZES_BY_TWO,
    ),
    # --- backends ---
    _gauge("backend_up", "backend", "1 while the backend is UP, else 0."),
    _gauge("backend_state", "backend state", "1 for the backend's health: unknown, up, down, recovering."),
    _gauge("backend_intent", "backend intent", "1 for what operators want: ready, drain, maint, removed."),
    _counter("backend_state_changes_total", "backend state", "How often a backend's health became this."),
    _gauge(
        "backend_full",
        "backend",
        "1 for a minute after the backend refused a session for memory, else 0.",
    ),
    _gauge("backend_share", "backend", "The share of all sessions that the backend should hold, 0 to 1."),
    _counter(
        "backend_requests_total",
        "backend outcome",
        "Exchanges with a backend, for clients and of the router's own (copies, touches, repair): ok, miss "
        "(404), locked (423), rejected (400), failed.",
    ),
    _durations(
        "backend_request_duration_seconds", "backend", "How long a backend took for an exchange it answered."
    ),
    _counter(
        "backend_errors_total",
        "backend phase",
        "Exchanges with a backend that failed, by how far they had come: connecting, sending, reading.",
    ),
    _gauge("backend_connections", "backend state", "Connections to a backend: leased, idle, unanswered."),
    _gauge("backend_connections_limit", "", "How many of them a backend may have, idle ones not counted."),
    _gauge("backend_probe_seconds", "backend", "How long the last good probe of the backend took."),
    _counter(
        "failovers_total",
        "backend",
        "Requests that another backend answered, because this one, the first choice, was out or failed them.",
    ),
    _gauge("backends_serving", "", "Backends that are READY and UP; for a standby, READY and answering."),
    _gauge("ready", "", "1 while web servers should be sent here, as /readyz says, else 0."),
    # --- which router is active ---
    _gauge("active", "", "1 while this router is the active one of its farm, 0 while it is a standby."),
    _gauge("term", "", "The number of the term by which it is that; each claim has a higher one. Else 0."),
    _counter("superseded_total", "", "How often another router has become the active one in its stead."),
    _counter(
        "record_written_total",
        "result",
        "Writes of the record, which tells the next router what it must know: ok, or failed (a state server "
        "that answers has not taken it).",
    ),
    _gauge(
        "backend_dirty",
        "backend",
        "1 while the record says that the backend may lack changes, else 0.",
    ),
    # --- copies ---
    _gauge("copies", "", "How many servers should hold each session."),
    _counter("copies_written_total", "backend result", "Writes of copies to a backend: ok or failed."),
    _counter("degraded_writes_total", "", "Saves that were answered with fewer copies than there should be."),
    _gauge("redundant", "", "1 while any one backend may fail without the loss of a session, else 0."),
    _gauge("redundant_for_seconds", "", "For how long that has been so; 0 while it is not."),
    _gauge(
        "t_max_seconds",
        "",
        "For how long the past matters: the longest timeout of the sessions that were saved, within "
        "session_timeout and session_timeout_max.",
    ),
    _counter(
        "sessions_moved_total",
        "reason",
        "Sessions that were put where they belong: missed (found elsewhere when used), saved, drained.",
    ),
    _counter("sessions_repaired_total", "", "Copies that had to be put right, and were."),
    _counter(
        "sessions_healed_total",
        "reason",
        "Sessions that healing has put right: lacking (a copy), differing (from the primary), misplaced.",
    ),
    _gauge(
        "sessions_lacking",
        "",
        "Sessions that lacked a copy when all servers were walked through last; 0 once that has counted.",
    ),
    _gauge(
        "healing_pending",
        "",
        "1 from a change of the pool until a walk has found every session with all its copies, where all "
        "servers that answer can list what they hold; else 0.",
    ),
    _counter(
        "sessions_lost_total",
        "reason",
        "Sessions that were declared lost, and why the backends that may have held them could not be asked: "
        "timed_out (for lost_after), recovering, maintenance, removed, died.",
    ),
    _gauge("keys_marked", "backend", "Sessions for which the backend is not read, until it is put right."),
    # --- locks ---
    _gauge("locks_held", "", "Locks that pages hold."),
    _gauge("oldest_lock_seconds", "", "The age of the oldest of them; 0 where there is none."),
    _counter("lost_updates_total", "", "Saves answered 423: their pages' changes are gone without an error."),
    _counter("locks_taken_over_total", "", "Locks that outlived their backend: the router stood for them."),
    _counter("ghost_locks_released_total", "", "Locks released whose answer had never reached a client."),
    _counter("ghost_locks_left_total", "", "Such locks that could not be released; web servers break them."),
    _counter(
        "mixed_applications_total",
        "",
        "Session IDs that came under two application hashes within a minute: the web servers of that farm do "
        "not share their application ID or machine key.",
    ),
    # --- drains ---
    _gauge("drain_sessions_moved", "backend", "Sessions that a draining backend has handed off."),
    _gauge("drain_sessions_left", "backend", "Sessions that it still has, where it can be asked."),
    _gauge("drain_stalled", "backend", "1 while a drain that is not done has stalled, else 0."),
    # --- the router itself ---
    _counter(
        "loop_stalls_total",
        "",
        "How often the router stood still for more than 2 s (stopped, paused, asleep). It closes everything.",
    ),
    _gauge("pool_epoch", "", "The number of the pool in force; it grows with each change."),
    _gauge(
        "map_fingerprint",
        "",
        "A number that is the same on all routers that place sessions in the same way.",
    ),
    _gauge("ledger_keys", "", "Sessions of which the router remembers something: a lock, or marks."),
    _gauge("ledger_keys_limit", "", "How many there may be, before whole backends are put in doubt."),
    _gauge("held_body_bytes", "", "Bodies that are held in memory until their copies are written."),
    _gauge("held_body_bytes_limit", "", "How much that may be; then reading from clients pauses."),
    _counter("config_reloads_total", "outcome", "Reloads: applied, unchanged, refused, invalid."),
    _gauge("config_last_reload_successful", "", "1 unless the last reload was refused or invalid."),
    _gauge("config_last_reload_timestamp_seconds", "", "When the configuration was read last, as Unix time."),
)

# What a state server holds, and a router whose state servers are embedded in it: all of them together.
HOLDING = (
    _gauge(
        "sessions",
        "",
        "Sessions that the state server holds; what routers keep there for themselves is none.",
    ),
    _gauge("session_bytes", "", "Memory that they take, as --max-memory counts it."),
    _gauge("session_bytes_limit", "", "How much that may be: --max-memory; 0 where there is no limit."),
    _counter("sessions_expired_total", "", "Sessions that expired."),
    _counter("creations_refused_total", "", "New sessions that were refused for want of memory."),
)

# A state server whose sessions are on an engine.
STORE = (
    *SERVING,
    _gauge("ready", "", "1 while web servers should be sent here, as /readyz says, else 0."),
    _gauge("engine_up", "", "The share of the engine's primaries that carry requests out, 0 to 1."),
    _gauge(
        "engine_trouble",
        "reason",
        "1 while one of them does not, for this reason: lost, too_slow, unfit (password, ACL, "
        "maxmemory-policy: it has to be set up otherwise), empty (it has lost the sessions), unreachable.",
    ),
    _gauge("engine_degraded", "", "1 while replicas are missing that should have every change, else 0."),
    _durations(
        "engine_request_duration_seconds",
        "",
        "How long the engine took for a batch of requests, the acknowledgement by its replicas included.",
    ),
    _counter(
        "engine_reconnects_total",
        "reason",
        "How often the engine was given up: lost, too_slow, unfit, empty, unreachable.",
    ),
    _gauge("engine_clock_offset_seconds", "", "By how much the engine's clock is ahead of this machine's."),
    _gauge("engine_memory_used_ratio", "", "The share of its maxmemory that the engine uses; 0 without one."),
    _gauge("workers_serving", "", "Processes that serve clients at this port; see the key `workers`."),
    _counter(
        "worker_restarts_total", "", "How often one of them had ended by itself, and was started again."
    ),
    _counter("requests_again_total", "", "Requests that were sent to the engine again, under their id."),
    _counter(
        "requests_degraded_total", "", "Requests answered although a replica did not have their change."
    ),
    _counter("requests_late_total", "", "Requests to which the engine came after their deadline."),
    _counter("locks_given_back_total", "", "Locks of pages that had failed, given back."),
    _counter("locks_left_total", "", "Such locks that could not be; web servers break them after 110 s."),
    _counter("foreign_records_total", "", "Requests that found something else where a session should be."),
    _counter("creations_refused_total", "", "New sessions that were refused for want of memory."),
)

STATE_SERVER = (*SERVING, *HOLDING)
EMBEDDING_ROUTER = (*ROUTER, *HOLDING)

PROCESS = {
    "process_resident_memory_bytes": (Kind.GAUGE, "Memory that the process occupies."),
    "process_open_fds": (Kind.GAUGE, "Open files, connections among them."),
    "process_max_fds": (Kind.GAUGE, "How many there may be."),
    "process_cpu_seconds_total": (Kind.COUNTER, "Time of a processor that the process has used."),
    "process_start_time_seconds": (Kind.GAUGE, "When the process was started, as Unix time."),
}
"""What is told of the process, under names that every program uses: without the prefix, and no labels."""
