"""The log: one line per change of state, with cause and consequence.

What can happen thousands of times a second is said at most once a minute for each subject, with the
number of times that it was not said; a counter, not the log, is the place for the rest. No session ID
is ever written: it is a bearer secret (protocol.md 10.1.13).
"""

import time
from collections.abc import Callable

import structlog

from partitioner import __version__
from partitioner.errors import BackendEjected, BackendFailure
from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.health import AMBIGUOUS, HealthRecord, Symptom
from partitioner.membership.losses import LossReason, LostSessions
from partitioner.membership.pool import Pool
from partitioner.ops.event_log import EventLog, EventLogger
from partitioner.ops.metrics.counters import Counters, is_recorded
from partitioner.ops.throttle import MOST_SUBJECTS, Throttle
from partitioner.protocol.messages import Operation
from partitioner.transport.observer import Observer
from partitioner.units import format_duration, format_size

ONCE_A_MINUTE = 60.0

_FATE = {
    LostSessions.NEW: "its users get new sessions on the other servers",
    LostSessions.CLOSE: "its users are refused until it is back",
}
"""What becomes of the users of a server that is down, where their sessions have no copies."""

_REFUSED_FIRST = "its users are refused until lost_after has passed, then get new sessions"

_ONE_FARM = (
    "give the site the same ID in IIS, in the same letter case, and the same machineKey on every web server "
    '(docs/operate.md, "The web servers"). If these are two sites that share a session cookie on purpose, '
    "all is well"
)

_WANTED = {
    Intent.READY: "it serves as soon as it is up",
    Intent.DRAIN: "it takes no new sessions",
    Intent.MAINT: "it is not spoken to until it is made ready",
}
"""What follows from what an operator wants."""


class LogObserver(Observer):
    """Writes what is worth a line."""

    def __init__(
        self,
        pool_size: int = 0,
        lost_sessions: LostSessions = LostSessions.NEW,
        event_log: EventLog | None = None,
    ) -> None:
        """`pool_size` is the number of backends that may serve, for "2 of 3 serve"."""
        self.lost_sessions = lost_sessions
        self._log = EventLogger(structlog.get_logger(), EventLog() if event_log is None else event_log)
        self._pool_size: Callable[[], int] = lambda: pool_size
        self._copies: Callable[[], int] = lambda: 1
        self._throttle = Throttle(ONCE_A_MINUTE, time.monotonic)
        self._last_said: dict[str, tuple[str, dict[str, object]]] = {}  # by subject, the oldest first
        self._moved = 0  # sessions, since that was last said

    def follow(self, pool: Callable[[], Pool]) -> None:
        """From now on, reckon with the pool that this answers."""
        self._pool_size = lambda: len(pool().ready)
        self._copies = lambda: pool().copies

    def note(self, event: str, **facts: object) -> None:
        """Write a line about the program itself."""
        self._log.info(event, **facts)

    def warn(self, event: str, **facts: object) -> None:
        """Write a line about something that is allowed and probably not meant."""
        self._log.warning(event, **facts)

    def complain(self, event: str, **facts: object) -> None:
        """Write a line about something that was wanted of the program and did not come to be."""
        self._log.error(event, **facts)

    def note_start(self, name: str, address: Address, eligible: int, standby: str | None = None) -> None:
        """Write the line that says that a router begins to serve.

        `standby` says why it is not the active one, if so; then `eligible` servers answer it.
        """
        log = self._log.info if eligible else self._log.error
        facts = {"name": name, "version": __version__, "listen": str(address)}
        if standby is None:
            log("router started", **facts, backends=self._serving(eligible))
            return
        log(
            "router started as a standby",
            **facts,
            backends=f"{eligible} of {self._pool_size()} answer",
            cause=standby,
            consequence="it serves no client; `partitioner claim` makes it the active one at once"
            if eligible
            else "it serves no client until a state server answers",
        )

    def repeat_held_back(self) -> None:
        """Say how often that happened again which was said once: called every minute, and at the end."""
        if self._moved:
            self._log.info("sessions moved to where they belong", count=self._moved)
            self._moved = 0
        for subject, count in self._throttle.take_held_back().items():
            if subject in self._last_said:
                event, facts = self._last_said[subject]
                self._log.warning(event, **facts, times_more=count)

    def note_end(self, counters: Counters) -> None:
        """Write the last line, with what was counted since the start."""
        self.repeat_held_back()
        counted = {
            "answered": counters.answered,
            "refused": counters.malformed,
            "closed": counters.closed.total(),
        }
        self._log.info("stopped", **counted, moved=counters.moved.total())

    def client_turned_away(self, peer: str, reason: str) -> None:
        self.warn_at_times(f"turned away {peer}", "client turned away", client=peer, cause=reason)

    def clients_filled_up(self, limit: int) -> None:
        self.warn_at_times(
            "full",
            "client connections are at their limit",
            limit=limit,
            consequence="further ones have to wait",
        )

    def accepting_failed(self, reason: str) -> None:
        self.warn_at_times(
            "accepting", "clients cannot be accepted just now", cause=reason, consequence="they have to wait"
        )

    def request_rejected(self, peer: str, reason: str) -> None:
        self.warn_at_times(
            f"rejected {peer}",
            "malformed request refused",
            client=peer,
            cause=reason,
            consequence="answered 400 and closed; no server saw it",
        )

    def exchange_was_slow(self, peer: str, operation: Operation, duration: float, backend: str) -> None:
        self.warn_at_times(
            f"slow {backend}",
            "slow exchange",
            client=peer,
            operation=operation.value,
            **({"backend": backend} if backend else {}),
            took=format_duration(round(duration, 2)),
            consequence="answered, and its page waited for it",
        )

    def exchange_closed(self, peer: str, operation: Operation | None, reason: str) -> None:
        self.warn_at_times(
            f"closed {reason}",
            "client connection closed instead of an answer",
            client=peer,
            operation=operation.value if operation else "none yet",
            cause=reason,
        )

    def applications_mixed(self, first: str, second: str) -> None:
        is_one_id = first.rpartition("(")[0] == second.rpartition("(")[0]
        unlike = "machine key or their framework version" if is_one_id else "application ID"
        self.warn_at_times(
            f"mixed {first} {second}",
            "one session ID comes under two applications",
            applications=f"{first} and {second}",
            cause=f"likely the web servers of a farm do not share their {unlike}",
            consequence="a user has a session of its own on each of them, and seems logged out on the others",
            remedy=_ONE_FARM,
        )

    def stood_still(self, duration: float) -> None:
        self.complain(
            f"stood still for {duration:.1f} s: all connections were closed",
            cause="the process or its machine was stopped, paused or asleep, or a step took that long",
            consequence="servers are looked at anew before they are sent anything",
        )

    def conversation_crashed(self, peer: str, error: Exception) -> None:
        self._log.error("a conversation ended in a fault of this program", client=peer, exc_info=error)

    def backend_full(self, backend: Backend) -> None:
        self.warn_at_times(
            f"full {backend.identity}",
            "backend is full",
            backend=backend.name,
            address=str(backend.address),
            cause="it has refused a session that it did not hold yet (400)",
            consequence="the next server of the session's list takes it; where none does, its page fails",
        )

    def backend_missing(self, backend: Backend, detail: str, eligible: int) -> None:
        self._log.warning(
            "backend is not there yet",
            backend=backend.name,
            address=str(backend.address),
            cause=detail,
            consequence=f"{self._fate(eligible)}; {self._serving(eligible)}",
        )

    def backend_entered_twice(self, backend: Backend, detail: str, eligible: int) -> None:
        self._log.error(
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
            self._log.info("backend is up", backend=backend.name, cause=cause, consequence=consequence)
            return
        self._log.warning(
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
        self._log.error(
            "backend is down",
            backend=backend.name,
            address=str(backend.address),
            cause="it was restarted: " + detail if record.symptom is Symptom.RESTARTED else detail,
            consequence=f"{self._fate(eligible, record.symptom)}; {self._serving(eligible)}",
            **({"stays_out_at_least": format_duration(held_for)} if held_for > 0 else {}),
        )

    # --- which router is active ---

    def claimed(self, term: str, cause: str, duration: float) -> None:
        self._log.info(
            "this router is the active one",
            term=term,
            cause=cause,
            took=format_duration(round(duration, 3)),
            consequence="it serves; every other router of this farm is a standby",
        )

    def claim_failed(self, reason: str) -> None:
        self.warn_at_times(
            f"claim {reason}",
            "this router could not become the active one",
            cause=reason,
            consequence="it is a standby, and closes clients; the next one that comes has it retry",
        )

    def superseded(self, term: str) -> None:
        self._log.warning(
            "superseded: another router is the active one",
            term=term,
            cause="it has claimed, and its term is higher",
            consequence="this router is a standby: it has closed its connections, and writes nothing",
        )

    def active_router_seen(self) -> None:
        self._log.info(
            "standby: another router is active",
            cause="its beats move on the state servers",
            consequence="clients that come here are closed while it is used; `partitioner claim` makes this "
            "router the active one at once",
        )

    def active_router_lost(self) -> None:
        self._log.warning(
            "standby: no router is active",
            cause="the last one has stopped, or its beats have stood still for 5 s",
            consequence="the next client that comes here makes this router the active one",
        )

    def record_written(self, servers: int, wanted: int) -> None:
        if is_recorded(servers, wanted):
            return
        self.warn_at_times(
            "record",
            "record not written everywhere",
            cause=f"{servers} of {wanted} state servers have taken it",
            consequence="it is retried; changes that the next router must know of wait until it is safe",
        )

    def record_set_aside(self, place: str, reason: str) -> None:
        self._log.warning(
            "record set aside",
            place=place,
            cause=f"it {reason}",
            consequence="the newest of the other records is believed; without any, servers are taken as they "
            "stand",
        )

    def backend_moved(self, backend: Backend, former: Backend) -> None:
        self._log.warning(
            "backend has moved",
            backend=backend.name,
            address=str(backend.address),
            was=f"{former.name} ({former.address})",
            cause="its canary was found at another name or address",
            consequence="what is known of it goes with it; nothing is removed from it",
        )

    def backend_falls_short(self, backend: Backend, detail: str) -> None:
        self._log.warning(
            "backend is not a state server that web servers take",
            backend=backend.name,
            address=str(backend.address),
            cause=f"it {detail}",
            consequence="pages that need it fail; `partitioner check --connect` refuses it",
        )

    def memory_was_copied(self, backend: Backend, original: Backend) -> None:
        self._log.warning(
            "backend began as a copy of another one",
            backend=backend.name,
            address=str(backend.address),
            cause=f"it showed the canary of {original.name}, which answers too",
            consequence="it has a canary of its own now, and is recovering",
        )

    def other_farm_seen(self, backend: Backend) -> None:
        self._log.warning(
            "backend is used by another farm of this name",
            backend=backend.name,
            address=str(backend.address),
            cause="it has a record of another lineage; expected each farm to have a `name` of its own",
            consequence="what it holds is not read, unless it is trusted",
        )

    def backend_doubted(self, backend: Backend, duration: float, eligible: int) -> None:
        self._log.warning(
            "backend is recovering",
            backend=backend.name,
            address=str(backend.address),
            cause="it answers, and what it missed is not known",
            consequence=f"it is written to, and not read for {format_duration(round(duration))}, unless "
            f"`partitioner ready {backend.name} --force` trusts it; {self._serving(eligible)}",
        )

    def backend_trusted(self, backend: Backend, eligible: int) -> None:
        self._log.warning(
            "backend has recovered",
            backend=backend.name,
            cause="whatever it missed has expired since, or an operator trusted it",
            consequence=f"it is read again; {self._serving(eligible)}",
        )

    def ejection_withheld(self, backend: Backend, detail: str) -> None:
        self._log.error(
            "backend is kept although it does not answer",
            backend=backend.name,
            cause=detail,
            consequence="its requests wait and fail; too many do not answer at once, so the router's own "
            "network is the likelier cause",
        )

    def backend_answers_again(self, backend: Backend) -> None:
        self._log.warning(
            "backend answers again",
            backend=backend.name,
            cause="whatever kept its answers away is over",
            consequence="its requests are served again; it was never ejected",
        )

    def backend_troubled(self, failure: BackendFailure) -> None:
        if not isinstance(failure, BackendEjected):
            self.warn_at_times(
                f"trouble {failure.backend} {type(failure).__name__}",
                "exchange with a backend failed",
                backend=failure.backend,
                phase=failure.phase.value,
                cause=failure.detail,
            )

    def intent_changed(self, backend: Backend, before: Intent, eligible: int, cause: str) -> None:
        self._log.info(
            "intent changed",
            backend=backend.name,
            before=before.value,
            now=backend.intent.value,
            cause=cause,
            consequence=f"{_WANTED[backend.intent]}; {self._serving(eligible)}",
        )

    def drain_began(self, backend: Backend, at_most: float) -> None:
        how = "as they are used" if backend.admin is None else "one after the other"
        self._log.info(
            "drain began",
            backend=backend.name,
            at_most=format_duration(round(at_most)),
            cause="its intent is drain",
            consequence=f"its sessions move to the other servers, {how}",
        )

    def drain_stalled(self, backend: Backend, reason: str) -> None:
        self._log.warning(
            "drain stalled",
            backend=backend.name,
            cause=reason,
            consequence="only sessions that are used move meanwhile; it is retried every few seconds",
        )

    def drain_went_on(self, backend: Backend) -> None:
        self._log.info("drain resumed", backend=backend.name, consequence="its sessions move again")

    def drain_ended(self, backend: Backend, moved: int, reason: str) -> None:
        self._log.info("drain ended", backend=backend.name, moved=moved, cause=reason)

    def healing_ended(self, seen: int, healed: int, duration: float) -> None:
        if not seen:
            return  # as at the start, when there is no session yet
        self._log.info(
            "healing ended",
            looked_at=seen,
            healed=healed,
            took=format_duration(round(duration, 1)),
            cause="the pool has changed",
            consequence="every session has all its copies",
        )

    def walk_refused(self, backend: Backend, reason: str) -> None:
        self._log.warning(
            "backend not healed",
            backend=backend.name,
            cause=reason,
            consequence="what it holds is not known; nothing is removed because of it",
        )

    def ghost_lock_released(self, backend: Backend) -> None:
        self.warn_at_times(
            f"ghost {backend.name}",
            "ghost lock released",
            backend=backend.name,
            cause="the answer that granted it never reached its client",
        )

    def ghost_lock_left(self, backend: Backend, detail: str) -> None:
        self._log.warning(
            "ghost lock could not be released",
            backend=backend.name,
            cause=detail,
            consequence="its session stays locked until a web server breaks the lock, after 110 s by default",
        )

    def redundancy_lost(self, reasons: tuple[str, ...]) -> None:
        self._log.warning(
            "pool is not redundant",
            cause="; ".join(reasons),
            consequence="if another server fails now, sessions may be lost",
        )

    def redundancy_regained(self, after: float) -> None:
        self._log.info(
            "pool is redundant again",
            after=format_duration(round(after)),
            consequence="any one server may fail",
        )

    def write_degraded(self, without: tuple[Backend, ...], operation: Operation) -> None:
        names = " and ".join(sorted(backend.name for backend in without))
        cause = f"{names} {'have' if len(without) > 1 else 'has'} none"
        if not without:
            cause = "there is no server left to put one on"
        self.warn_at_times(
            f"degraded {names}",
            "session saved with too few copies",
            cause=cause,
            consequence="the next failure may lose it, until it has been repaired or saved again",
        )

    def session_moved(self, source: Backend, reason: str) -> None:
        self._moved += 1

    def loss_declared(self, operation: Operation, silent: tuple[BackendId, ...], reason: LossReason) -> None:
        who = ", ".join(silent)
        self.warn_at_times(
            f"lost {who}",
            "session declared lost",
            cause=f"only {who} may have it, and cannot be asked: {reason.value.replace('_', ' ')}",
            consequence="its user gets a new one, and the old one never comes back",
        )

    def lock_taken_over(self, backend: Backend) -> None:
        self.warn_at_times(
            f"taken over {backend.name}",
            "lock outlived its backend",
            cause=f"{backend.name} granted it, and cannot be reached",
            consequence="its page's save is taken by the other servers",
        )

    def creation_refused(self, sessions: int, used_memory: int) -> None:
        self.warn_at_times(
            "memory",
            "new session refused",
            cause=f"the memory limit is reached: {sessions} sessions, {format_size(used_memory)}",
            consequence="answered 400; existing sessions are kept",
        )

    def _serving(self, eligible: int) -> str:
        return f"{eligible} of {self._pool_size()} serve"

    def _fate(self, eligible: int, symptom: Symptom | None = None) -> str:
        """What becomes of the sessions of a server that is down."""
        if self._copies() > 1 and eligible > 0:
            return "its sessions are served by their copies"
        if self.lost_sessions is LostSessions.NEW and symptom in AMBIGUOUS:
            return _REFUSED_FIRST
        return _FATE[self.lost_sessions]

    def warn_at_times(self, subject: str, event: str, **facts: object) -> None:
        """Write a line about what may come thousands of times: once a minute for each subject."""
        if self._throttle.admit(subject):
            self._last_said.pop(subject, None)
            self._last_said[subject] = (event, facts)
            if len(self._last_said) > 2 * MOST_SUBJECTS:
                del self._last_said[next(iter(self._last_said))]
            self._log.warning(event, **facts)
