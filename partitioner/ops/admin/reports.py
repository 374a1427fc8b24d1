"""What operators are told. The names of the fields are those of the JSON, which others script against.

Times are ages in seconds, or lengths of time: a router's clock says nothing to anybody else. Sessions
are counted and never named: a session ID is a bearer secret (protocol.md 10.1.13).
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DrainReport:
    """How far a backend has come with handing its sessions off."""

    backend: str  # its name
    for_seconds: float  # since it began
    moved: int  # sessions
    left: int | None  # sessions; None if unknown
    rate: float  # sessions a second, since it began
    estimate: float | None  # seconds until it is done, at that rate; None if unknown
    done: bool
    stalled: str | None  # why nothing moves just now


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """What a backend was asked in the last minute, by clients and by the router itself."""

    rate: float  # exchanges a second
    share: float  # of the exchanges with all backends, 0 to 1
    failed: int  # exchanges
    p50: float | None  # seconds within which half of those answered were answered; None if there were none
    p99: float | None  # seconds; the same for 99 of 100


@dataclass(frozen=True, slots=True)
class BackendReport:
    """One backend: what the operator wants of it, what is observed, and what it holds."""

    name: str
    identity: str  # its name, unless another backend of this name was removed not long ago
    address: str
    weight: float
    intent: str
    health: str
    health_for: float | None  # seconds; None if nothing has been concluded yet
    trouble: str | None  # what is wrong with it now
    serves: bool
    removed: bool  # from the configuration; it is still asked for what it holds
    share: float  # of all sessions, 0 to 1, while every ready backend is well
    traffic: TrafficReport
    probe: float | None  # seconds that its last probe took; None if that failed, or there was none
    keys_marked: int  # sessions for which it has still to be put right
    dirty: tuple[str, ...]  # what it may lack, as it is written down for the next router: see Mark
    recovering_for: (
        float | None
    )  # seconds until it is read again, at the latest; None if it is not recovering
    safe_to_stop: bool
    not_safe_to_stop: tuple[str, ...]  # why not
    drain: DrainReport | None
    shortcomings: tuple[str, ...] = ()  # what it does that web servers fail by, a sentence each
    why_out: str | None = (
        None  # why it does not serve or is full, until when, and what helps: a sentence without its name
    )


@dataclass(frozen=True, slots=True)
class HealingReport:
    """How far a walk has come that puts sessions right."""

    for_seconds: float  # since it began
    seen: int  # sessions listed so far, copies counted
    told: int  # that there are
    healed: int  # sessions
    left: int  # sessions that are locked, or cannot be asked for, and are retried
    rate: float  # sessions healed a second, since it began
    estimate: float | None  # seconds until it is done; None if unknown


@dataclass(frozen=True, slots=True)
class Status:
    """The router as a whole."""

    name: str
    version: str
    uptime: float  # seconds since the router's start
    epoch: int
    role: str  # of this router in its farm: active, claiming or standby
    role_for: float  # seconds since it became, or ceased to be, the active one
    term: str | None  # by which it is the active one, a number and a word; None if it is not, or needs none
    superseded: int  # how often another router has become the active one in its stead, since its start
    standby_because: str | None  # why it is not the active one; None if it is
    watched_for: float | None  # seconds for which a standby has looked out for an active router
    servers_seen: int | None  # servers that answered a standby when it looked last
    map_fingerprint: str  # the same on all routers that place sessions in the same way; hex digits
    ready: bool
    not_ready: tuple[str, ...]  # why not
    redundant_since: float | None  # seconds ago; None while a failure could lose a session
    not_redundant: tuple[str, ...]  # why not
    copies: int
    t_max: float  # for how long the past matters, in seconds
    unsettled_for: float | None  # seconds until every session is where it belongs; None: they all are
    moved: int  # sessions that were put where they belong since the router's start
    clients: int  # connections
    requests: dict[str, float]  # of clients, a second, by what became of them; over the last minute
    locks_held: int
    oldest_lock: float | None  # its age in seconds
    keys_marked: int
    serving: int  # backends
    backends: tuple[BackendReport, ...]
    drains: tuple[DrainReport, ...]
    healing: HealingReport | None = None  # None while no walk goes on
    not_healed: dict[str, str] = field(default_factory=dict)  # why backends cannot be walked, by name
    healing_pending: bool = False  # no walk has counted since the pool has changed, and one could

    @property
    def wanted(self) -> tuple[BackendReport, ...]:
        """The backends that should serve: operators have taken the others out."""
        return tuple(each for each in self.backends if not each.removed and each.intent == "ready")


STEPS = 120
"""That an hour has."""

WORST_FIRST = (
    "down",
    "claiming",
    "standby",
    "recovering",
    "unknown",
    "maint",
    "drain",
    "removed",
    "active",
    "up",
)
"""What is shown of a step in which a server, or the router's role, was in several states."""


@dataclass(frozen=True, slots=True)
class TrackReport:
    """What the last hour was like for a backend, or for the clients of the router; the oldest step first."""

    rates: tuple[float, ...]  # exchanges a second
    p99: tuple[float | None, ...]  # seconds; None where nothing was answered
    failed: tuple[int, ...]  # exchanges; of clients, those that were closed instead of answered
    states: tuple[str, ...]  # the worst of each step; of the router, its role
    has_flapped: bool  # more than twice another state


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """What one of the project's own state servers holds."""

    sessions: int
    used: int  # bytes of sessions
    limit: int | None  # bytes; None: no limit
    ago: float  # seconds since it was asked


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """The last hour, in steps; a backend that joined meanwhile has fewer of them."""

    step: float  # seconds
    router: TrackReport
    lacking: tuple[int, ...]  # sessions that are known to lack a copy, the most in each step
    backends: dict[str, TrackReport]  # by identity
    memory: dict[str, MemoryReport]  # by identity: of those that can be asked


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """What came of a claim."""

    term: str | None  # a number and a word; None where no other router can serve these servers
    was_active: bool  # this router was the active one already, and nothing was done
    took: float  # seconds


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """One thing that a reload has changed."""

    subject: str  # the backend's name, or the configuration's key
    what: str
    consequence: str


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What came of a reload that was applied."""

    outcome: str  # applied, or unchanged: the file says what is in force already
    changes: tuple[ChangeReport, ...]
    moved_share: float  # of all sessions, 0 to 1: those whose first server is another one now


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a walk through all sessions has found so far."""

    done: bool
    took: float | None  # seconds; None while it goes on
    estimate: float | None  # seconds until it is done; None if unknown
    seen: int  # sessions listed so far, copies counted
    told: int  # that there are
    sessions: int
    on_servers: dict[str, int]  # sessions, by the number of servers that hold them
    lacking: int  # sessions without all their copies
    differing: int  # sessions that are not the same on all servers
    misplaced: int  # sessions on servers where they do not belong
    refused: dict[str, str]  # why backends were not walked, by name
    pool_changed: bool  # meanwhile: some flaws may come of that
    whole: bool  # done, and every session of every server was seen to be as it should be


@dataclass(frozen=True, slots=True)
class LockReport:
    """One lock that is held. Its cookie is left out: anyone who knows it can break the lock."""

    key: str  # eight hex digits of the SHA-256 of the session's key: enough to tell locks apart
    server: str
    reachable: bool  # if not, the router itself stands for the lock
    age: float


@dataclass(frozen=True, slots=True)
class Locks:
    """The oldest locks, and how many there are in all."""

    held: int
    locks: tuple[LockReport, ...]


@dataclass(frozen=True, slots=True)
class EventReport:
    """One line of the log."""

    at: str  # ISO 8601, UTC
    ago: float  # seconds
    level: str
    event: str
    cause: str | None
    consequence: str | None
    facts: dict[str, str]  # whatever else was said


@dataclass(frozen=True, slots=True)
class AcceptedLoss:
    """What became of the order to take an engine as it stands."""

    said: str  # a sentence


@dataclass(frozen=True, slots=True)
class ShardReport:
    """One primary, as operators are told of it. Times are seconds."""

    primary: str | None  # its address; None while there is none
    is_serving: bool
    trouble: str | None  # why it does not
    replicas: int | None  # that have to acknowledge a change
    is_degraded: bool  # they have not, the last time
    memory_used: float | None  # 0 to 1; None while it is not known
    clock_offset: float | None  # of its clock, from ours


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One of the processes that serve at the same port. Times are seconds."""

    number: int  # from 1
    pid: int | None  # None while there is no process
    is_serving: bool
    uptime: float  # of the process
    clients: int
    requests: int  # that it has answered
    restarts: int  # times that it had ended, and was started again


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """How a state server with a store is; its numbers are those of all its workers."""

    name: str
    version: str
    uptime: float
    ready: bool
    reasons: tuple[str, ...]
    shards: tuple[ShardReport, ...]
    clients: int
    requests: int  # that were answered since the start
    closed: int
    locks_to_give_back: int
    workers: tuple[WorkerReport, ...] = ()  # where there are several processes
    rates: dict[str, float] = field(default_factory=dict)  # requests a second by outcome, of the last minute


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """Where a session is."""

    key: str
    item: str  # the engine's name of it
    primary: str | None
