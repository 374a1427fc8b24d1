"""The record, claims, terms and lock quarantine: rules of design.md 5.2 to 5.5, each broken on purpose."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from partitioner.errors import NoBackendLeft
from partitioner.membership import inheritance
from partitioner.membership.backend import Backend, BackendId
from partitioner.membership.eras import Era
from partitioner.membership.health import HealthRecord, newcomer
from partitioner.membership.items import CanaryItem, Term, TermItem
from partitioner.membership.ledger import Ledger
from partitioner.membership.legacy import Legacy
from partitioner.membership.pool import Pool
from partitioner.membership.quarantine import Quarantine
from partitioner.membership.record import MemberEntry, Record
from partitioner.membership.survey import Survey
from partitioner.membership.tenure import Role, Sightings
from partitioner.placement.rendezvous import Ranking
from partitioner.placement.session_id import SessionRef
from partitioner.routing import record_keeper, succession
from partitioner.routing.answering import Answering
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lock_quarantine import LockQuarantine
from partitioner.routing.lookup import Lookup
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.router import Router
from partitioner.routing.succession import Succession
from partitioner.routing.surveyor import Surveyor
from partitioner.routing.tenure import Tenure
from partitioner.transport.authority import Authority
from partitioner.transport.channel import Channel
from partitioner.transport.connector import Connector
from partitioner.transport.standstill import Standstills
from tests.simulation.mutations.breaking import mutation, nothing, nothing_later, replaced

# --- what is written down, and when (design.md 5.2.1 to 5.2.3) ---


@mutation
def acknowledge_without_writing_down() -> Iterator[None]:
    return replaced(RecordKeeper, "ensure", nothing_later)


@mutation
def serve_in_the_place_of_a_server_without_writing_down() -> Iterator[None]:
    """Nobody waits until it is written down that a server is DOWN."""
    return replaced(Pool, "_unrecorded", lambda self: iter(()))


@mutation
def send_a_remove_before_it_is_written_down() -> Iterator[None]:
    return replaced(Router, "_note_remove", nothing_later)


@mutation
def the_disk_alone_is_safe() -> Iterator[None]:
    original = record_keeper._is_safe

    def is_safe(has_it: set[BackendId], reachable: list[BackendId], suspects: Any, on_disk: bool) -> bool:
        return on_disk or original(has_it, reachable, suspects, on_disk)

    return replaced(record_keeper, "_is_safe", is_safe)


@mutation
def one_server_is_safe() -> Iterator[None]:
    return replaced(record_keeper, "ENOUGH", 1)


@mutation
def what_a_server_lacks_is_safe_with_that_server() -> Iterator[None]:
    original = RecordKeeper._write

    async def write(self: RecordKeeper, suspects: Any, *, has_stopped: bool = False) -> bool:
        return await original(self, {}, has_stopped=has_stopped)

    return replaced(RecordKeeper, "_write", write)


@mutation
def take_bits_back_while_they_are_true() -> Iterator[None]:
    return replaced(RecordKeeper, "_present_needs", lambda self: {})


# --- what the next router begins with (design.md 5.2.3 to 5.2.5) ---


@mutation
def the_next_router_reads_dirty_servers() -> Iterator[None]:
    def health(self: Any, entry: MemberEntry) -> HealthRecord:
        token = None if entry.token is None else entry.token.encode("latin-1")
        return replace(newcomer(self.policy), served_incarnation=token)

    return replaced(inheritance._Heir, "_health", health)


@mutation
def doubt_is_forgotten_at_a_clean_stop() -> Iterator[None]:
    return replaced(HealthRecord, "is_doubted", lambda self, now: False)


@mutation
def marks_and_locks_are_not_handed_over() -> Iterator[None]:
    return replaced(Succession, "left_by", lambda self, record: None)


@mutation
def marks_and_locks_of_any_former_router_are_taken_over() -> Iterator[None]:
    """Whichever record they belong to."""

    def left_by(self: Succession, record: Record | None) -> Legacy | None:
        return None if self._disk is None or record is None else self._disk.ledger()

    return replaced(Succession, "left_by", left_by)


@mutation
def former_maps_are_not_inherited() -> Iterator[None]:
    return replaced(inheritance._Heir, "eras", lambda self, ranking: ())


@mutation
def a_restart_unsettles_nothing_though_no_marks_were_left() -> Iterator[None]:
    """The eras of a router that was killed count like those of one that stopped in order."""
    original = inheritance._Heir.eras

    def eras(self: Any, ranking: Ranking) -> tuple[Era, ...]:
        return original(replace(self, is_clean=True), ranking)

    return replaced(inheritance._Heir, "eras", eras)


@mutation
def a_404_is_the_truth_though_a_remove_may_have_been_cut_off() -> Iterator[None]:
    return replaced(Pool, "may_lack_removes", lambda self, since: False)


@mutation
def any_record_is_current() -> Iterator[None]:
    """No server that may have a later one is waited for, or doubted."""
    return replaced(Survey, "shows_latest", lambda self, record: True)


@mutation
def trust_who_was_waited_for_in_vain() -> Iterator[None]:
    return replaced(Survey, "doubting_the_late", lambda self, inheritance, record, now: inheritance)


@mutation
def the_newest_serial_is_ignored() -> Iterator[None]:
    """Any record of the last term will do."""

    def order(record: Record | None) -> tuple[Term, int]:
        return (Term(-1, ""), -1) if record is None else (record.order[0], -record.serial)

    return replaced(succession, "order_of", order)


@mutation
def dirty_servers_are_read_without_agreement() -> Iterator[None]:
    """Where all may lack something, the first that has the session will do (design.md 5.5.5)."""

    async def agree(self: Lookup, missed: SessionRef) -> bool:
        self._ledger_keeper.ledger.note_agreed(missed.key)
        return True

    return replaced(Lookup, "agree", agree)


@mutation
def who_owes_a_remove_may_agree() -> Iterator[None]:
    """A session that only servers have that may have missed its remove is taken for one (design.md 5.5.5)."""
    original = Lookup.agree

    async def agree(self: Lookup, missed: SessionRef) -> bool:
        before = self._roster.pool
        self._roster.pool = replace(before, dirty={})
        try:
            return await original(self, missed)
        finally:
            if self._roster.pool.epoch == before.epoch:
                self._roster.pool = before

    return replaced(Lookup, "agree", agree)


# --- lock quarantine (design.md 5.2.6) ---


@mutation
def no_lock_quarantine() -> Iterator[None]:
    return replaced(Tenure, "maybe_quarantine", lambda self: None)


@mutation
def what_is_asked_in_doubt_is_read_after_it() -> Iterator[None]:
    """As if to ask a server did not start the time-out of its stale content anew."""
    return replaced(LedgerKeeper, "note_read_in_doubt", lambda self, session, server, reply: None)


@mutation
def quarantine_ends_with_the_first_candidate() -> Iterator[None]:
    """Whoever comes first in the list is asked, however it wavered."""
    return replaced(Quarantine, "_has_wavered", lambda self, entry: False)


@mutation
def quarantine_knows_the_last_map_alone() -> Iterator[None]:
    original = Quarantine.candidates

    def candidates(self: Quarantine, placement: bytes) -> dict[BackendId, bytes | None]:
        maps, self._maps = self._maps, self._maps[-1:]
        try:
            return original(self, placement)
        finally:
            self._maps = maps

    return replaced(Quarantine, "candidates", candidates)


@mutation
def a_server_that_has_begun_anew_shows_no_lock() -> Iterator[None]:
    """And is believed, although it may have granted one in the memory that it had before."""
    original = Quarantine.candidates

    class AnyToken(bytes):
        def __ne__(self, _: object) -> bool:
            return False

    def candidates(self: Quarantine, placement: bytes) -> dict[str, Any]:
        return dict.fromkeys(original(self, placement), AnyToken())

    return replaced(Quarantine, "candidates", candidates)


@mutation
def a_lock_of_before_the_claim_is_released_at_one_server() -> Iterator[None]:
    """Other candidates that have it are not told."""

    async def release(self: LockQuarantine, *_: object) -> list[Any]:
        return []

    return replaced(LockQuarantine, "release_elsewhere", release)


@mutation
def a_lock_that_nobody_was_told_of_refuses_the_holder() -> Iterator[None]:
    """Its save is lost without a word: the lock of its page is on another server."""
    return replaced(LockQuarantine, "confirm_refusal", nothing_later)


@mutation
def a_lock_of_what_is_missed_is_released_nowhere() -> Iterator[None]:
    """Where the server that is read misses the session, other candidates are not told."""
    return replaced(Answering, "_release_missed", nothing_later)


@mutation
def a_lock_keeps_dirty_servers_from_agreeing_for_ever() -> Iterator[None]:
    return replaced(Answering, "_release_everywhere", nothing_later)


@mutation
def copies_release_locks_of_before_the_claim() -> Iterator[None]:
    return replaced(LedgerKeeper, "may_be_anothers", lambda self, lock, sent_at: False)


# --- terms and claims (design.md 5.3) ---


@mutation
def no_term_on_new_connections() -> Iterator[None]:
    async def read(self: Connector, channel: Channel) -> CanaryItem | None:
        return await self.canary.read(channel)

    return replaced(Connector, "read", read)


@mutation
def no_term_after_a_record() -> Iterator[None]:
    """A record is stored whoever has claimed meanwhile."""

    def storing(self: RecordKeeper, record: Record, written: bytes) -> Any:
        async def store(channel: Channel) -> None:
            await self._connector.canary.write_record(channel, record.order[0], written)

        return store

    return replaced(RecordKeeper, "_storing", storing)


@mutation
def a_claim_reads_records_before_it_writes_its_term() -> Iterator[None]:
    original = Surveyor._read_all

    async def read_all(
        self: Surveyor,
        backend: Backend,
        channel: Channel,
        survey: Survey,
        records_of: Iterable[Term] | None,
        claims: bool,
    ) -> None:
        await original(self, backend, channel, survey, records_of, False)
        if claims:
            await self._authority.assert_over(channel, survey.terms[backend.identity])

    return replaced(Surveyor, "_read_all", read_all)


@mutation
def a_standby_claims_at_once() -> Iterator[None]:
    return replaced(Sightings, "why_not_claim", lambda self, now: None)


@mutation
def a_lower_term_stays() -> Iterator[None]:
    """A server that was away over a claim keeps the former router's term, which may go on writing there."""
    original = Authority.assert_over

    async def assert_over(self: Authority, channel: Channel, found: TermItem | None) -> None:
        is_lower = found is not None and self.term is not None and found.term < self.term.term
        if self.role is Role.CLAIMING or not is_lower:
            await original(self, channel, found)

    return replaced(Authority, "assert_over", assert_over)


@mutation
def equal_numbers_are_equal_terms() -> Iterator[None]:
    """Two routers that claimed at the same time both go on, whatever their words."""
    original = Authority.assert_over

    async def assert_over(self: Authority, channel: Channel, found: TermItem | None) -> None:
        ours = self.term
        if found is None or ours is None or found.term.number != ours.term.number:
            await original(self, channel, found)

    return replaced(Authority, "assert_over", assert_over)


@mutation
def a_superseded_claim_serves_all_the_same() -> Iterator[None]:
    original = Tenure._claim

    async def claim(self: Tenure, cause: str) -> None:
        try:
            await original(self, cause)
        except NoBackendLeft:
            if self.authority.term is not None:
                raise
            self.authority.role = Role.ACTIVE
            self._tell()

    return replaced(Tenure, "_claim", claim)


@mutation
def a_superseded_router_keeps_what_it_knew() -> Iterator[None]:
    """And takes it for true when it claims again."""
    return replaced(Ledger, "clear", nothing)


@mutation
def a_claim_without_a_written_record_serves() -> Iterator[None]:
    original = RecordKeeper.write

    async def write(self: RecordKeeper, *, has_stopped: bool = False) -> bool:
        await original(self, has_stopped=has_stopped)
        return True

    return replaced(RecordKeeper, "write", write)


# --- standing still (design.md 5.4) ---


@mutation
def a_standstill_goes_unnoticed() -> Iterator[None]:
    return replaced(Standstills, "look", lambda self: False)
