"""What lower floors report: facts, in the past tense. Logs and metrics listen.

Every method does nothing here, so that a listener overrides what it cares for. Reports are made on
the event loop in the middle of exchanges: a listener is quick and never raises.
"""

from partitioner.errors import BackendFailure
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.health import HealthRecord, Symptom
from partitioner.membership.losses import LossReason
from partitioner.protocol.messages import Operation


class Observer:
    """Hears facts. Addresses are texts; durations are seconds."""

    # --- clients ---

    def client_turned_away(self, peer: str, reason: str) -> None:
        """A client may not connect, or not once more; its connection was closed."""

    def clients_filled_up(self, limit: int) -> None:
        """As many clients are connected as are allowed; further ones wait to be accepted."""

    def accepting_failed(self, reason: str) -> None:
        """A client could not be accepted, mostly for want of files; it waits."""

    def request_rejected(self, peer: str, reason: str) -> None:
        """A malformed request was answered 400, and its connection closed."""

    def exchange_finished(self, operation: Operation, status: int, duration: float, size: int) -> None:
        """A client was answered; with its request it had sent a session of so many bytes, or none."""

    def session_saved(self, application: bytes, size: int) -> None:
        """A client was told that its session of so many bytes, at least one, is saved.

        `application` is what stands before the session ID in the target (placement.application.spelling_of).
        """

    def exchange_was_slow(self, peer: str, operation: Operation, duration: float, backend: str) -> None:
        """A client was answered, and late; by this backend, or, if it is empty, by none."""

    def exchange_closed(self, peer: str, operation: Operation | None, reason: str) -> None:
        """A client's connection was closed instead of an answer."""

    def conversation_crashed(self, peer: str, error: Exception) -> None:
        """A fault of ours ended a client's conversation."""

    def stood_still(self, duration: float) -> None:
        """This process has not run for so long; all connections were closed."""

    # --- backends ---

    def backend_full(self, backend: Backend) -> None:
        """A backend has refused a session that it did not hold yet: its memory is used up."""

    def backend_missing(self, backend: Backend, detail: str, eligible: int) -> None:
        """A backend of which nothing was known is DOWN from the start; so many can serve now."""

    def backend_entered_twice(self, backend: Backend, detail: str, eligible: int) -> None:
        """A backend never serves, because it is the same server as another one; so many can serve now."""

    def backend_came_up(
        self, backend: Backend, after: Symptom | None, has_new_incarnation: bool | None, eligible: int
    ) -> None:
        """A backend is UP, after this symptom if any; so many can serve now.

        A new incarnation is an empty one; None where it has not served this router before.
        """

    def backend_ejected(self, backend: Backend, record: HealthRecord, detail: str, eligible: int) -> None:
        """A backend is DOWN, for the symptom in its record; so many can serve now."""

    def backend_moved(self, backend: Backend, former: Backend) -> None:
        """The server that was known by the former name and address is at these now."""

    def memory_was_copied(self, backend: Backend, original: Backend) -> None:
        """A backend began as a copy of the memory of another one, which goes on."""

    def other_farm_seen(self, backend: Backend) -> None:
        """This backend has the record of another farm of the same name."""

    # --- which router is active ---

    def claimed(self, term: str, cause: str, duration: float) -> None:
        """This router is the active one now, by this term; the claim took so many seconds."""

    def claim_failed(self, reason: str) -> None:
        """This router could not become the active one."""

    def superseded(self, term: str) -> None:
        """Another router has become the active one, by this term; this one is a standby."""

    def active_router_seen(self) -> None:
        """This router, a standby, sees that another one is active."""

    def active_router_lost(self) -> None:
        """This router, a standby, sees no active one any more, or has seen none for some seconds."""

    def record_written(self, servers: int, wanted: int) -> None:
        """The record was written to so many servers, of so many that should have it."""

    def record_set_aside(self, place: str, reason: str) -> None:
        """The record that was found there is not believed, for this reason, which completes a sentence."""

    def backend_doubted(self, backend: Backend, duration: float, eligible: int) -> None:
        """A backend answers, but what it missed is not known: for so long it is written to and not read."""

    def backend_trusted(self, backend: Backend, eligible: int) -> None:
        """A backend that was in doubt is read again."""

    def ejection_withheld(self, backend: Backend, detail: str) -> None:
        """A backend would have been ejected, but too many look cut off at once."""

    def backend_answers_again(self, backend: Backend) -> None:
        """A backend that was kept although it seemed cut off answers probes again."""

    def backend_falls_short(self, backend: Backend, detail: str) -> None:
        """A backend does what no state server does, and web servers fail by. Told once of each memory."""

    def failed_over(self, backend: Backend) -> None:
        """A request was answered by another backend, because this one, the first choice, was out of use."""

    def backend_troubled(self, failure: BackendFailure) -> None:
        """An exchange with a backend failed; what that means for its health is reported apart."""

    # --- what operators want ---

    def backend_put_aside(self, backend: Backend) -> None:
        """A backend is DOWN because it is not to be spoken to; the change of its intent is reported apart."""

    def intent_changed(self, backend: Backend, before: Intent, eligible: int, cause: str) -> None:
        """An operator wants something else of a backend, and how that was said; so many can serve now."""

    def drain_began(self, backend: Backend, at_most: float) -> None:
        """A backend hands its sessions off, which takes so many seconds at most."""

    def drain_stalled(self, backend: Backend, reason: str) -> None:
        """Its sessions cannot be moved one after the other just now, or those that are left for a minute."""

    def drain_went_on(self, backend: Backend) -> None:
        """The drain is no longer stalled."""

    def drain_ended(self, backend: Backend, moved: int, reason: str) -> None:
        """It does not do so any more; so many sessions have been moved."""

    # --- healing ---

    def healing_ended(self, seen: int, healed: int, duration: float) -> None:
        """Every session was looked at in so many seconds, copies counted, and has all its copies now."""

    def session_healed(self, reason: str) -> None:
        """A session was put right that was lacking, differing or misplaced."""

    def walk_refused(self, backend: Backend, reason: str) -> None:
        """It cannot be told what this backend holds, for this reason, so nothing is concluded from it."""

    # --- locks ---

    def ghost_lock_released(self, backend: Backend) -> None:
        """A lock whose answer never reached its client was released again."""

    def ghost_lock_left(self, backend: Backend, detail: str) -> None:
        """Such a lock could not be released: its session is locked until the client breaks it (110 s)."""

    # --- copies ---

    def copy_written(self, backend: Backend, is_good: bool) -> None:
        """A save was brought to a backend that should have a copy of it, or could not be."""

    def write_degraded(self, without: tuple[Backend, ...], operation: Operation) -> None:
        """A write was acknowledged with fewer copies than it should have; these backends have none (if there
        are none of these, no backend is left that could hold one)."""

    def session_moved(self, source: Backend, reason: str) -> None:
        """A session was put where it belongs, from where it was."""

    def session_repaired(self, backend: Backend) -> None:
        """A backend that was marked for a session holds what it should again."""

    def loss_declared(self, operation: Operation, silent: tuple[str, ...], reason: LossReason) -> None:
        """A session was declared lost: only these backends, which are out for this reason, may have it."""

    def lock_taken_over(self, backend: Backend) -> None:
        """The backend of a lock cannot be reached: from here on the router itself stands for the lock."""

    def redundancy_lost(self, reasons: tuple[str, ...]) -> None:
        """The next backend may not fail any more, for these reasons, a sentence each."""

    def redundancy_regained(self, after: float) -> None:
        """After so long, every session has all its copies again."""

    # --- the farm, and the file ---

    def applications_mixed(self, first: str, second: str) -> None:
        """One session ID has come under these two application hashes, not long after each other: the web
        servers of that farm do not share their application ID or machine key."""

    def reloaded(self, outcome: str) -> None:
        """The configuration was to be read again; this came of it: applied, unchanged, refused, invalid."""

    # --- the state server ---

    def creation_refused(self, sessions: int, used_memory: int) -> None:
        """A new session was refused because the state server is full."""
