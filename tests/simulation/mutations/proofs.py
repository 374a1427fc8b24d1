"""What catches each mutation: a seed of the simulation, or a unit test.

A seed is the better proof: nobody thought of its history beforehand. A unit test is named where no seed was
found within some dozens: the moment that the rule is about is a rare one, another rule guards the same
promise, or what breaks costs availability and no promise. Both kinds are run by test_simulation.py.
"""

from collections.abc import Iterator

from tests.simulation.scenario import SWITCHES

BY_SEED: dict[str, tuple[int, str | None]] = {
    "a beat may be carried out after its connection has ended": (31_338, "healing"),
    "a failed save leaves no mark": (195, None),
    "a lock ends with its server": (24, None),
    "a lock of what is missed is released nowhere": (9_100_090, "router, one away"),
    "a memory that has moved is not recognised": (20_002, "moves"),
    "beats are not compared": (20_028, "memories"),
    "creates not copied": (2, None),
    "drop one copy": (2, None),
    "forget a granted lock": (24, None),
    "give no lock back": (40, None),
    "healing does not look how long copies live": (31_178, "healing"),
    "healing does not look for locks": (9_630_050, "healing"),
    "give up at once what timed out": (SWITCHES + 1, None),
    "no canary tells the beats of others": (40_012, "old files"),
    "no canary on new connections": (165, None),
    "no fill on miss": (6, None),
    "no removes elsewhere": (23, None),
    "no touches": (30_002, None),
    "read a marked server": (9, None),
    "read from a recovering server": (30_026, "router, one away"),
    "removes not copied": (2, None),
    "retry an acquire": (30_011, None),
    "skip one mark": (24, None),
    "the next router reads dirty servers": (20_026, "crowd over a crash"),
    "unanswered requests leave no mark": (47, None),
    "who was in doubt had all copies while too few served": (9_690_019, "memories"),
}
"""For each mutation a seed that catches it, and its theme."""

_MARKS = "tests/membership/test_marks.py"
_QUARANTINE = "tests/membership/test_quarantine.py"
_AGREEMENT = "tests/routing/test_agreement.py"
_FULL = "tests/routing/test_full_servers.py"
_HEALING = "tests/routing/test_healing.py"
_KEEPER = "tests/routing/test_record_keeper.py"
_UNCHANGED, _RECORD = "tests/membership/test_unchanged.py", "tests/membership/test_record.py"
_LOCK_QUARANTINE = "tests/routing/test_lock_quarantine.py"
_LOSSES = "tests/routing/test_losses.py"
_MOVING = "tests/routing/test_moving_memories.py"
_UNSETTLED = "tests/fastpath/test_unsettled.py"
_TENURE = "tests/routing/test_tenure.py"

BY_UNIT_TEST = {
    "last copies are not guarded": "tests/routing/test_withdrawal.py::test_single_copies",
    "several are stopped at once": "tests/routing/test_withdrawal.py::test_what_has_copies_elsewhere",
    "answer 404 when the owner is unreachable": (
        "tests/routing/test_silent.py::test_a_server_that_is_not_down_yet_may_have_it"
    ),
    "no gate": "tests/routing/test_one_at_a_time.py::test_the_second_waits_for_the_first",
    "no lock quarantine": f"{_LOCK_QUARANTINE}::test_a_lock_on_a_server_that_is_not_read",
    "no repair": "tests/routing/test_repair.py::test_a_server_that_is_back_is_repaired",
    "a claim compares no beats": f"{_TENURE}::test_a_memory_that_went_back_before_the_claim",
    "a claim reads records before it writes its term": (
        f"{_TENURE}::test_the_term_is_written_before_the_record_is_read"
    ),
    "a claim without a written record serves": f"{_TENURE}::test_a_record_that_cannot_be_written",
    "a copy in doubt expires early": (
        "tests/routing/test_expiry_sync.py"
        "::test_the_copy_in_doubt_of_a_pool_of_two_lives_as_long_as_its_primary"
    ),
    "a copy that cannot be touched is not marked": (
        "tests/routing/test_expiry_sync.py::test_a_copy_that_cannot_be_touched_is_marked"
    ),
    "count a walk though the pool has changed": (
        f"{_HEALING}::test_a_walk_during_which_the_pool_changes_does_not_count"
    ),
    "a walk settles what was in use": f"{_HEALING}::test_a_walk_settles_all_keys",
    "any walk settles all keys": (f"{_HEALING}::test_a_walk_without_a_server_that_is_away_settles_nothing"),
    "heal outside the gate": f"{_HEALING}::test_a_session_that_is_in_use_is_healed_after_that",
    "no half close": "tests/transport/test_exchanges_given_up.py::test_half_closed",
    "heal from a recovering server": (f"{_HEALING}::test_what_only_a_doubtful_server_has_is_not_the_session"),
    "a full ledger doubts nobody": (
        "tests/routing/test_ledger_keeper.py::test_beyond_the_bound_one_server_goes_without_its_marks"
    ),
    "a key is settled while it is marked": (
        "tests/membership/test_settled.py::test_a_mark_unsettles_its_key"
    ),
    "a key is settled though an era differs": (
        f"{_UNCHANGED}::test_the_fall_of_one_server_unsettles_what_it_held"
    ),
    "a key that was settled stays settled": (
        "tests/membership/test_settled.py::test_another_acting_set_unsettles"
    ),
    "a 404 is the truth though a remove may have been cut off": (
        "tests/routing/test_restarts.py::test_a_remove_that_was_cut_off_with_its_router"
    ),
    "a restart unsettles nothing though no marks were left": (
        f"{_RECORD}::test_eras_of_a_router_that_left_no_marks_count_as_ended_at_the_claim"
    ),
    "incarnations do not matter to what is settled": (
        f"{_RECORD}::test_a_server_that_is_found_empty_unsettles_what_it_held"
    ),
    "a recovering server is given nothing": (
        f"{_UNCHANGED}::test_what_a_recovering_server_was_given_lies_there"
    ),
    "what is away grows old": f"{_UNCHANGED}::test_a_short_absence_keeps_leftovers_alive",
    "a lock keeps dirty servers from agreeing for ever": f"{_AGREEMENT}::test_a_lock_is_released_at_all",
    "a lock of before the claim is released at one server": (
        f"{_LOCK_QUARANTINE}::test_the_holder_releases_it_everywhere"
    ),
    "a full server turns users away": f"{_FULL}::test_the_next_of_the_list_takes_it",
    "a loss leaves no mark": (f"{_LOSSES}::test_what_was_declared_lost_does_not_come_back"),
    "a lock of before the claim renews nothing": (
        f"{_LOCK_QUARANTINE}::test_what_is_shown_to_be_locked_lives_on"
    ),
    "a lock that nobody was told of refuses the holder": (
        f"{_LOCK_QUARANTINE}::test_a_lock_beside_that_of_the_holder"
    ),
    "a lower term stays": f"{_TENURE}::test_a_lower_term_is_written_over",
    "a reload goes by names and addresses alone": f"{_MOVING}::test_identities_go_by_tokens",
    "a server that has begun anew shows no lock": (
        f"{_LOCK_QUARANTINE}::test_a_server_that_has_forgotten_the_lock"
    ),
    "a standby claims at once": f"{_TENURE}::test_a_second_router_stands_by",
    "a standstill goes unnoticed": "tests/transport/test_standstill.py::test_it_is_noticed",
    "flags stay where nobody can be told": (
        "tests/routing/test_copied_removes.py::test_a_server_that_cannot_be_told_of_a_flag"
    ),
    "a set leaves a flag on a marked server": (
        "tests/routing/test_copied_removes.py::test_a_server_that_cannot_be_told_of_a_flag"
    ),
    "a superseded claim serves all the same": f"{_TENURE}::test_two_start_at_once",
    "a superseded router keeps what it knew": f"{_TENURE}::test_a_superseded_router_forgets_its_locks",
    "a token is planted before it is written down": (
        f"{_KEEPER}::test_a_token_is_written_down_before_it_is_planted"
    ),
    "acknowledge without writing down": f"{_KEEPER}::test_without_a_record_nothing_is_acknowledged",
    "an older save that was carried out late is the session": (
        f"{_LOSSES}::test_an_older_save_that_was_carried_out_late_is_not_the_session"
    ),
    "any lock makes room for another": (
        "tests/routing/test_ledger_keeper.py::test_as_many_sessions_are_locked_as_may_be"
    ),
    "any operation declares a loss": (f"{_LOSSES}::test_others_declare_no_loss"),
    "any record is current": f"{_TENURE}::test_a_record_is_current",
    "copies count as soon as their server is not in doubt": (
        "tests/membership/test_redundancy.py::test_three_servers"
    ),
    "forget a copy that was not touched": (
        f"{_MARKS}::test_a_missing_copy_is_remembered_while_the_session_is_served"
    ),
    "an older memory keeps its token": f"{_KEEPER}::test_a_memory_that_went_back",
    "an older memory owes no removes": f"{_KEEPER}::test_a_memory_that_went_back",
    "a beat may be carried out after its process has ended": (
        "tests/routing/test_beats.py::test_a_beat_that_went_with_its_process"
    ),
    "any server is trusted": "tests/membership/test_eras.py",
    "both entries of one server serve": f"{_MOVING}::test_a_server_that_is_entered_twice",
    "copies release locks of before the claim": f"{_LOCK_QUARANTINE}::test_no_copy_breaks_it",
    "creates leave what a copy holds": (
        "tests/routing/test_copied_removes.py::test_what_a_copy_should_not_have_is_removed_before_a_create"
    ),
    "dirty servers are read without agreement": f"{_AGREEMENT}::test_they_do_not_agree",
    "doubt is forgotten at a clean stop": "tests/membership/test_record.py::test_found_again",
    "end a mark too early": _MARKS,
    "equal numbers are equal terms": f"{_TENURE}::test_two_start_at_once",
    "flags are consumed on one server": (
        "tests/routing/test_copied_removes.py::test_the_first_get_consumes_the_flag_of_the_copy"
    ),
    "former maps are not inherited": (
        "tests/membership/test_record.py::test_former_maps_are_asked_in_large_pools"
    ),
    "hand over to a server that has changed meanwhile": (
        "tests/routing/test_drain.py::test_a_server_keeps_what_it_has_where_the_pool_changes_meanwhile"
    ),
    "marked servers are not written": "tests/routing/test_copies.py::test_a_marked_primary_is_written_too",
    "marks age while their server is away": f"{_MARKS}::test_marks_of_a_server_that_is_away_stay",
    "marks and locks are not handed over": f"{_TENURE}::test_marks_are_handed_over",
    "marks and locks of any former router are taken over": (
        f"{_TENURE}::test_a_ledger_goes_with_the_record_that_it_names"
    ),
    "marks count the time of an absence": (
        f"{_MARKS}::test_a_server_that_is_back_begins_the_time_of_its_marks_anew"
    ),
    "no term after a record": f"{_KEEPER}::test_a_claim_between_a_save_and_its_record",
    "no term on new connections": f"{_TENURE}::test_superseded",
    "one server is safe": f"{_KEEPER}::test_what_a_record_needs",
    "quarantine ends with the first candidate": f"{_QUARANTINE}::test_candidates",
    "quarantine knows the last map alone": f"{_QUARANTINE}::test_every_map_of_the_last_two_minutes_counts",
    "remove where nobody knows which memory answers": (
        f"{_MOVING}::test_nothing_is_removed_while_somebody_may_be_anybody"
    ),
    "count no failover for a client that has left": (
        "tests/fastpath/test_failovers.py::test_a_client_that_resets_before_its_answer"
    ),
    "a remove that is under way is not waited for": (
        f"{_UNSETTLED}::test_a_remove_that_is_under_way_where_the_session_belongs_by_now"
    ),
    "the fast path answers before it is written down": (
        f"{_UNSETTLED}::test_what_is_not_written_down_is_not_answered"
    ),
    "the fast path ends a search under another pool": f"{_UNSETTLED}::test_the_pool_changes_during_a_search",
    "the fast path goes by no mark": f"{_UNSETTLED}::test_a_mark_of_who_can_be_asked",
    "the fast path marks nobody who is away": f"{_UNSETTLED}::test_a_save_passes_by_who_is_away",
    "the fast path removes nothing elsewhere": (
        f"{_UNSETTLED}::test_a_write_is_removed_elsewhere_once_its_copies_are_written"
    ),
    "the fast path searches for nothing": f"{_UNSETTLED}::test_a_mark_that_is_made_during_a_search",
    "the fast path takes any answer for a miss": f"{_UNSETTLED}::test_only_a_404_says_that_it_is_not_there",
    "the fast path trusts anybody for who is silent": f"{_UNSETTLED}::test_one_that_cannot_be_asked",
    "routes are shared between maps": "tests/fastpath/test_routes.py::test_each_route_is_what_the_pool_says",
    "repair keeps the flag": "tests/routing/test_repair.py::test_a_flag_is_given_back",
    "send a remove before it is written down": (
        f"{_KEEPER}::test_a_remove_is_written_down_before_it_is_sent"
    ),
    "serve in the place of a server without writing down": (
        f"{_KEEPER}::test_what_is_served_in_the_place_of_a_server_is_written_down_first"
    ),
    "take bits back while they are true": f"{_KEEPER}::test_who_is_down_is_written_down",
    "the disk alone is safe": f"{_KEEPER}::test_what_a_record_needs_beside_a_disk",
    "the newest serial is ignored": f"{_TENURE}::test_who_was_away_is_not_read",
    "the only server that took a write counts as a leftover": (
        "tests/routing/test_copies.py::test_the_only_server_that_took_a_write_keeps_it"
    ),
    "the server of a lock that was taken over is not marked": (
        "tests/routing/test_locks.py::test_the_lock_is_gone_on_its_server_too"
    ),
    "trust memories that are out": (f"{_MOVING}::test_a_memory_that_was_forgotten_comes_back"),
    "trust unknown memories": f"{_TENURE}::test_a_memory_that_no_record_names",
    "trust who was away for longer than any session lives": (
        "tests/routing/test_unsettled.py::test_who_was_away_for_longer_than_any_session_lives"
    ),
    "trust who was waited for in vain": f"{_TENURE}::test_who_was_waited_for_in_vain",
    "what a server that is away may have is nowhere": f"{_UNSETTLED}::test_a_miss_while_one_is_away",
    "what a silent server may have is nowhere": (
        "tests/routing/test_unsettled.py::test_what_may_be_on_a_silent_server_is_not_settled"
    ),
    "what a server lacks is safe with that server": (
        f"{_KEEPER}::test_a_server_is_no_witness_of_what_it_lacks"
    ),
    "what is stale is the session": (f"{_MARKS}::test_a_change_passes_by_whom_it_did_not_reach"),
    "what is too large to be held is alike": (
        "tests/routing/test_large_sessions.py::test_what_was_taken_while_marked_is_known_by_its_fingerprint"
    ),
    "what the network gave up is worked off": (
        "tests/transport/test_forgotten.py::test_what_was_sent_may_still_be_carried_out"
    ),
    "what nobody has stored is lost": (f"{_LOSSES}::test_what_nobody_has_stored_is_not_lost"),
    "what outlived a remove is the session": (
        f"{_LOSSES}::test_a_save_that_was_carried_out_after_a_remove_is_not_the_session"
    ),
    "what was declared lost is removed": (f"{_LOSSES}::test_a_loss_removes_nothing_anywhere"),
    "who owes a remove may agree": (f"{_AGREEMENT}::test_one_alone_has_it_and_may_have_missed_its_remove"),
    "what is asked in doubt is read after it": f"{_LOCK_QUARANTINE}::test_what_is_asked_lives_on",
}
"""For each mutation for which no seed is known that shows nothing else, a test that turns red."""

HARMLESS = {
    "leave a leftover": "the next save of unsettled times clears it, and it expires before they end",
    "relay what an ejected server says": "safety rests on gate, incarnations, ledger; to cut saves waiting",
    "retry a set": "the first sending has marked its server, so the second goes to another one",
}
"""Mutations that nothing catches, and why: what they break is guarded a second time."""


def lines() -> Iterator[str]:
    """A table of all mutations, with what catches each."""
    caught = {name: _seed(*proof) for name, proof in BY_SEED.items()} | BY_UNIT_TEST
    caught |= {name: f"nothing: {why}" for name, why in HARMLESS.items()}
    width = max(map(len, caught))
    for name, proof in sorted(caught.items()):
        yield f"{name:{width}}  {proof}"


def _seed(seed: int, theme: str | None) -> str:
    return f"seed {seed}" if theme is None else f"seed {seed} of {theme!r}"
