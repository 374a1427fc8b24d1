"""What the log says about a router, its backends, and the sessions that it looks after."""

from collections.abc import Callable

from partitioner import __version__
from partitioner.errors import BackendEjected, BackendFailure
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import AMBIGUOUS, HealthRecord, Symptom
from partitioner.membership.losses import LossReason, LostSessions
from partitioner.membership.pool import Pool
from partitioner.ops.log import Log
from partitioner.ops.metrics.counters import is_recorded
from partitioner.protocol.messages import Operation
from partitioner.transport.observer import Observer
from partitioner.units import format_length

_FATE = {
    LostSessions.NEW: "its users get new sessions on the other servers",
    LostSessions.CLOSE: "its users are refused until it is back",
}
"""What becomes of the users of a server that is down, where their sessions have no copies."""

_REFUSED_FIRST = "its users are refused until lost_after has passed, then get new sessions"

_WANTED = {
    Intent.READY: "it serves as soon as it is up",
    Intent.DRAIN: "it takes no new sessions",
    Intent.MAINT: "it is not spoken to until it is made ready",
}
"""What follows from what an operator wants."""


class RouterLog(Observer):
    """Writes what is worth a line."""

    def __init__(self, log: Log, pool_size: int = 0, lost_sessions: LostSessions = LostSessions.NEW) -> None:
        """`pool_size` is the number of backends that may serve, for "2 of 3 serve"."""
        self._log = log
        self._pool_size: Callable[[], int] = lambda: pool_size
        self._eligible: Callable[[], int] = lambda: pool_size
        self._copies: Callable[[], int] = lambda: 1
        self._lost_sessions: Callable[[], LostSessions] = lambda: lost_sessions

    def follow(self, pool: Callable[[], Pool], lost_sessions: Callable[[], LostSessions]) -> None:
        """From now on, reckon with the pool, and with the fate of lost sessions, that these return."""
        self._pool_size = lambda: len(pool().ready)
        self._eligible = lambda: len(pool().eligible)
        self._copies = lambda: pool().copies
        self._lost_sessions = lost_sessions

    def note_start(self, name: str, address: Address, eligible: int, standby: str | None = None) -> None:
        """Write the line that says that a router begins to serve.

        `standby` says why it is not the active one, if so; then `eligible` servers answer it.
        """
        write = self._log.note if eligible else self._log.complain
        facts = {"name": name, "version": __version__, "listen": str(address)}
        if standby is None:
            write("router started", **facts, backends=self._serving(eligible))
            return
        write(
            "router started as a standby",
            **facts,
            backends=f"{eligible} of {self._pool_size()} answer",
            cause=standby,
            consequence="it serves no client; `partitioner claim` makes it the active one at once"
            if eligible
            else "it serves no client until a state server answers",
        )

    # --- backends ---

    def backend_full(self, backend: Backend) -> None:
        self._log.warn_at_times(
            f"full {backend.identity}",
            "backend is full",
            backend=backend.name,
            address=str(backend.address),
            cause="it has refused a session that it did not hold yet (400)",
            consequence="the next server of the session's list takes it; where none does, its page fails",
        )

    def backend_missing(self, backend: Backend, detail: str, eligible: int) -> None:
        self._log.warn(
            "backend is not there yet",
            backend=backend.name,
            address=str(backend.address),
            cause=detail,
            consequence=f"{self._fate(eligible)}; {self._serving(eligible)}",
        )

    def backend_entered_twice(self, backend: Backend, detail: str, eligible: int) -> None:
        self._log.complain(
            "backend does not serve",
            backend=backend.name,
            address=str(backend.address),
            cause=f"it {detail}",
            consequence="its share of the sessions is served by the other servers; correct its address, or "
            f"remove it from the configuration; {self._serving(eligible)}",
        )

    def backend_came_up(
        self, backend: Backend, after: Symptom | None, has_new_incarnation: bool | None, eligible: int
    ) -> None:
        consequence = f"takes its sessions; {self._serving(eligible)}"
        if after is None or has_new_incarnation is None:
            cause = "it answers, and remembers what is stored there"
            self._log.note("backend is up", backend=backend.name, cause=cause, consequence=consequence)
            return
        self._log.warn(
            "backend is back",
            backend=backend.name,
            after=after.value,
            cause="it was restarted, and starts empty"
            if has_new_incarnation
            else "it still holds what it held",
            consequence=consequence,
        )

    def backend_ejected(self, backend: Backend, record: HealthRecord, detail: str, eligible: int) -> None:
        held_for = record.held_until - record.since
        self._log.complain(
            "backend is down",
            backend=backend.name,
            address=str(backend.address),
            cause="it was restarted: " + detail if record.symptom is Symptom.RESTARTED else detail,
            consequence=f"{self._fate(eligible, record.symptom)}; {self._serving(eligible)}",
            **({"stays_out_at_least": format_length(held_for)} if held_for > 0 else {}),
        )

    def ejection_withheld(self, backend: Backend, detail: str) -> None:
        self._log.complain(
            "backend is kept although it does not answer",
            backend=backend.name,
            cause=detail,
            consequence="its requests wait and fail; too many do not answer at once, so the router's own "
            "network is the likelier cause",
        )

    def backend_answers_again(self, backend: Backend) -> None:
        self._log.warn(
            "backend answers again",
            backend=backend.name,
            cause="whatever kept its answers away is over",
            consequence="its requests are served again; it was never ejected",
        )

    def backend_troubled(self, failure: BackendFailure) -> None:
        if not isinstance(failure, BackendEjected):
            self._log.warn_at_times(
                f"trouble {failure.name} {type(failure).__name__}",
                "exchange with a backend failed",
                backend=failure.name,
                phase=failure.phase.value,
                cause=failure.detail,
            )

    def backend_falls_short(self, backend: Backend, detail: str) -> None:
        self._log.warn(
            "backend is not a state server that web servers take",
            backend=backend.name,
            address=str(backend.address),
            cause=f"it {detail}",
            consequence="pages that need it fail; `partitioner check --connect` refuses it",
        )

    def backend_moved(self, backend: Backend, former: Backend) -> None:
        self._log.warn(
            "backend has moved",
            backend=backend.name,
            address=str(backend.address),
            was=f"{former.name} ({former.address})",
            cause="its canary was found at another name or address",
            consequence="what is known of it goes with it; nothing is removed from it",
        )

    def memory_was_copied(self, backend: Backend, original: Backend) -> None:
        self._log.warn(
            "backend began as a copy of another one",
            backend=backend.name,
            address=str(backend.address),
            cause=f"it showed the canary of {original.name}, which answers too",
            consequence="it has a canary of its own now, and is recovering",
        )

    def other_farm_seen(self, backend: Backend) -> None:
        self._log.warn(
            "backend is used by another farm of this name",
            backend=backend.name,
            address=str(backend.address),
            cause="it has a record of another lineage; expected each farm to have a `name` of its own",
            consequence="what it holds is not read, unless it is trusted",
        )

    def backend_doubted(self, backend: Backend, duration: float, eligible: int) -> None:
        self._log.warn(
            "backend is recovering",
            backend=backend.name,
            address=str(backend.address),
            cause="it answers, and what it missed is not known",
            consequence=f"it is written to, and not read for {format_length(round(duration))}, unless "
            f"`partitioner ready {backend.name} --force` trusts it; {self._serving(eligible)}",
        )

    def backend_trusted(self, backend: Backend, eligible: int) -> None:
        self._log.warn(
            "backend has recovered",
            backend=backend.name,
            cause="whatever it missed has expired since, or an operator trusted it",
            consequence=f"it is read again; {self._serving(eligible)}",
        )

    # --- what operators want ---

    def intent_changed(self, backend: Backend, before: Intent, eligible: int, cause: str) -> None:
        self._log.note(
            "intent changed",
            backend=backend.name,
            before=before.value,
            now=backend.intent.value,
            cause=cause,
            consequence=f"{_WANTED[backend.intent]}; {self._serving(eligible)}",
        )

    def drain_began(self, backend: Backend, at_most: float) -> None:
        how = "as they are used" if backend.admin is None else "one after the other"
        self._log.note(
            "drain began",
            backend=backend.name,
            at_most=format_length(round(at_most)),
            cause="its intent is drain",
            consequence=f"its sessions move to the other servers, {how}",
        )

    def drain_stalled(self, backend: Backend, reason: str) -> None:
        self._log.warn(
            "drain stalled",
            backend=backend.name,
            cause=reason,
            consequence="only sessions that are used move meanwhile; it is retried every few seconds",
        )

    def drain_went_on(self, backend: Backend) -> None:
        self._log.note("drain resumed", backend=backend.name, consequence="its sessions move again")

    def drain_ended(self, backend: Backend, moved: int, reason: str) -> None:
        self._log.note("drain ended", backend=backend.name, moved=moved, cause=reason)

    # --- which router is active ---

    def claimed(self, term: str, cause: str, duration: float) -> None:
        self._log.note(
            "this router is the active one",
            term=term,
            cause=cause,
            took=format_length(round(duration, 3)),
            consequence="it serves; every other router of this farm is a standby",
        )

    def claim_failed(self, reason: str) -> None:
        self._log.warn_at_times(
            f"claim {reason}",
            "this router could not become the active one",
            cause=reason,
            consequence="it is a standby, and closes clients; the next one that comes has it retry",
        )

    def superseded(self, term: str) -> None:
        self._log.warn(
            "superseded: another router is the active one",
            term=term,
            cause="it has claimed, and its term is higher",
            consequence="this router is a standby: it has closed its connections, and writes nothing",
        )

    def active_router_seen(self) -> None:
        self._log.note(
            "standby: another router is active",
            cause="its beats move on the state servers",
            consequence="clients that come here are closed while it is used; `partitioner claim` makes this "
            "router the active one at once",
        )

    def active_router_lost(self) -> None:
        self._log.warn(
            "standby: no router is active",
            cause="the last one has stopped, or its beats have stood still for 5 s",
            consequence="the next client that comes here makes this router the active one",
        )

    def record_written(self, servers: int, wanted: int) -> None:
        if is_recorded(servers, wanted):
            return
        self._log.warn_at_times(
            "record",
            "record not written everywhere",
            cause=f"{servers} of {wanted} state servers have taken it",
            consequence="it is retried; changes that the next router must know of wait until it is safe",
        )

    def record_set_aside(self, place: str, reason: str) -> None:
        self._log.warn(
            "record set aside",
            place=place,
            cause=f"it {reason}",
            consequence="the newest of the other records is believed; without any, servers are taken as they "
            "stand",
        )

    # --- sessions ---

    def session_moved(self, source: Backend, reason: str) -> None:
        self._log.count("sessions moved to where they belong")

    def write_degraded(self, without: tuple[Backend, ...], operation: Operation) -> None:
        names = " and ".join(sorted(backend.name for backend in without))
        cause = f"{names} {'have' if len(without) > 1 else 'has'} none"
        if not without:
            cause = "there is no server left to put one on"
        self._log.warn_at_times(
            f"degraded {names}",
            "session saved with too few copies",
            cause=cause,
            consequence="the next failure may lose it, until it has been repaired or saved again",
        )

    def redundancy_lost(self, reasons: tuple[str, ...]) -> None:
        self._log.warn(
            "pool is not redundant",
            cause="; ".join(reasons),
            consequence="if another server fails now, sessions may be lost",
        )

    def redundancy_regained(self, after: float) -> None:
        self._log.note(
            "pool is redundant again",
            after=format_length(round(after)),
            consequence="any one server may fail",
        )

    def healing_ended(self, seen: int, healed: int, duration: float) -> None:
        if not seen:
            return  # as at the start, when there is no session yet
        self._log.note(
            "healing ended",
            looked_at=seen,
            healed=healed,
            took=format_length(round(duration, 1)),
            cause="the pool has changed",
            consequence=self._wholeness(),
        )

    def _wholeness(self) -> str:
        """What a walk that has left nothing to be put right says of the sessions."""
        serving, copies = self._eligible(), self._copies()
        if serving >= copies:
            return "every session has all its copies"
        serve = "1 server serves" if serving == 1 else f"{serving} servers serve"
        return f"every session is wherever it can be, but {serve}, and copies is {copies}"

    def walk_refused(self, backend: Backend, reason: str) -> None:
        self._log.warn(
            "backend not healed",
            backend=backend.name,
            cause=reason,
            consequence="what it holds is not known; nothing is removed because of it",
        )

    def loss_declared(self, operation: Operation, silent: tuple[str, ...], reason: LossReason) -> None:
        who = ", ".join(silent)
        self._log.warn_at_times(
            f"lost {who}",
            "session declared lost",
            cause=f"only {who} may have it, and cannot be asked: {reason.value.replace('_', ' ')}",
            consequence="its user gets a new one, and the old one never comes back",
        )

    def lock_taken_over(self, backend: Backend) -> None:
        self._log.warn_at_times(
            f"taken over {backend.name}",
            "lock outlived its backend",
            cause=f"{backend.name} granted it, and cannot be reached",
            consequence="its page's save is taken by the other servers",
        )

    def ghost_lock_released(self, backend: Backend) -> None:
        self._log.warn_at_times(
            f"ghost {backend.name}",
            "ghost lock released",
            backend=backend.name,
            cause="the answer that granted it never reached its client",
        )

    def ghost_lock_left(self, backend: Backend, detail: str) -> None:
        self._log.warn(
            "ghost lock could not be released",
            backend=backend.name,
            cause=detail,
            consequence="its session stays locked until a web server breaks the lock, after 110 s by default",
        )

    # --- what they have in common ---

    def _serving(self, eligible: int) -> str:
        return f"{eligible} of {self._pool_size()} serve"

    def _fate(self, eligible: int, symptom: Symptom | None = None) -> str:
        """What becomes of the sessions of a server that is down."""
        if self._copies() > 1 and eligible > 0:
            return "its sessions are served by their copies"
        lost_sessions = self._lost_sessions()
        if lost_sessions is LostSessions.NEW and symptom in AMBIGUOUS:
            return _REFUSED_FIRST
        return _FATE[lost_sessions]
