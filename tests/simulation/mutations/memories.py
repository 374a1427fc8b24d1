"""Which memory is whose, and which has gone back in time: rules of design.md 5.1, each broken on purpose."""

from collections.abc import Iterator
from typing import Any

from partitioner.membership.backend import BackendId
from partitioner.membership.eras import Era
from partitioner.membership.health import Health, HealthRecord
from partitioner.membership.items import CanaryItem
from partitioner.membership.ledger import Ledger
from partitioner.membership.memories import Memories
from partitioner.membership.pool import Pool
from partitioner.membership.survey import Survey
from partitioner.routing.probes import Prober
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.roster import Roster
from partitioner.transport import authority
from partitioner.transport.authority import Beats
from tests.simulation.mutations.breaking import mutation, nothing, replaced, without

# --- those that are RECOVERING ---


@mutation
def a_recovering_server_is_given_nothing() -> Iterator[None]:
    """What lies on it does not count for whether a key is settled."""
    return replaced(Era, "written", Era.acting)


# --- tokens ---


@mutation
def trust_memories_that_are_out() -> Iterator[None]:
    """A memory that was forgotten, or was emptied in between, is read when it comes back."""
    original = Memories.doubted

    def doubted(self: Memories, record: HealthRecord, token: bytes, *times: float) -> HealthRecord:
        departed, self.departed = self.departed, {}
        try:
            return original(self, record, token, *times)
        finally:
            self.departed = departed

    return replaced(Memories, "doubted", doubted)


@mutation
def trust_unknown_memories() -> Iterator[None]:
    """A token that no record names is taken as it stands."""
    original = Memories.doubted

    def doubted(self: Memories, record: HealthRecord, token: bytes, *times: float) -> HealthRecord:
        trusts, self.trusts_unknown = self.trusts_unknown, True
        try:
            return original(self, record, token, *times)
        finally:
            self.trusts_unknown = trusts

    return replaced(Memories, "doubted", doubted)


@mutation
def trust_who_was_away_for_longer_than_any_session_lives() -> Iterator[None]:
    """Its marks have ended, and its clock may have stood still."""
    original = Memories.doubted

    def doubted(self: Memories, record: HealthRecord, token: bytes, *times: float) -> HealthRecord:
        is_away = record.health is Health.DOWN and record.served_incarnation == token
        return record if is_away and token not in self.departed else original(self, record, token, *times)

    return replaced(Memories, "doubted", doubted)


@mutation
def remove_where_nobody_knows_which_memory_answers() -> Iterator[None]:
    return replaced(Pool, "may_remove_from", lambda self, server, acting: True)


@mutation
def a_memory_that_has_moved_is_not_recognised() -> Iterator[None]:
    """A known token at another entry is taken for a memory of that entry's own."""
    original = Roster.probe_succeeded

    def probe_succeeded(self: Roster, name: BackendId, incarnation: bytes) -> None:
        with without(Pool, "maybe_holder_of", lambda self, incarnation, besides: None):
            original(self, name, incarnation)

    return replaced(Roster, "probe_succeeded", probe_succeeded)


@mutation
def both_entries_of_one_server_serve() -> Iterator[None]:
    """Nobody looks whether another entry leads to the same memory."""
    with without(Roster, "maybe_twin", lambda self, name, incarnation: None):
        yield from a_memory_that_has_moved_is_not_recognised()


@mutation
def a_reload_goes_by_names_and_addresses_alone() -> Iterator[None]:
    """What was just read at an address says nothing of who that is."""
    original = Roster.members_for

    def members_for(self: Roster, backends: Any, seen: Any = ()) -> Any:
        return original(self, backends, {})

    return replaced(Roster, "members_for", members_for)


@mutation
def a_token_is_planted_before_it_is_written_down() -> Iterator[None]:
    """The next router does not know of an empty memory that it is empty."""

    async def announce_token(self: RecordKeeper, server: str) -> bytes:
        return self._connector.canary.new_token().encode()

    return replaced(RecordKeeper, "announce_token", announce_token)


# --- beats ---


@mutation
def beats_are_not_compared() -> Iterator[None]:
    """An old file that was put back is read."""
    return replaced(Beats, "has_gone_back", lambda self, canary, before: False)


@mutation
def an_older_memory_keeps_its_token() -> Iterator[None]:
    """What is known of the memory that it was goes on being taken for true of it."""

    def named_anew(self: Prober, canary: CanaryItem) -> CanaryItem:
        self._roster.memory_went_back(self._identity, canary.token, canary.token)
        return canary

    return replaced(Prober, "_named_anew", named_anew)


@mutation
def an_older_memory_owes_no_removes() -> Iterator[None]:
    """Where each server may lack something, what it alone shows is taken for a session."""
    original = RecordKeeper._present_needs

    def present_needs(self: RecordKeeper) -> Any:
        self._roster.memories.unaccounted.clear()
        return original(self)

    return replaced(RecordKeeper, "_present_needs", present_needs)


@mutation
def a_beat_may_be_carried_out_after_its_connection_has_ended() -> Iterator[None]:
    """An old file is not noticed that is put back when a beat was just on its way."""
    return replaced(authority, "_has_seen_the_end", lambda error: False)


@mutation
def a_beat_may_be_carried_out_after_its_process_has_ended() -> Iterator[None]:
    return replaced(Beats, "note_end", nothing)


@mutation
def no_canary_tells_the_beats_of_others() -> Iterator[None]:
    """The next router notices no old file that is younger than some seconds."""
    return replaced(Survey, "_told", lambda self: {})


@mutation
def a_claim_compares_no_beats() -> Iterator[None]:
    """Nor does the next router notice one."""
    with without(Survey, "_told", lambda self: {}):
        yield from replaced(Survey, "gone_back", lambda self, record: ())


# --- ageing ---


@mutation
def marks_age_while_their_server_is_away() -> Iterator[None]:
    original = Ledger.sweep

    class Everybody:
        def __contains__(self, _: object) -> bool:
            return True

    return replaced(Ledger, "sweep", lambda self, now, answering: original(self, now, Everybody()))


@mutation
def marks_count_the_time_of_an_absence() -> Iterator[None]:
    """What a server that stood still holds has not aged meanwhile."""
    return replaced(Ledger, "note_answers_again", nothing)
