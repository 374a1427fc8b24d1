"""When a standby may claim, by the beats that it sees (design.md 5.3)."""

from partitioner.membership.items import (
    CanaryItem,
    Term,
    TermItem,
)
from partitioner.membership.tenure import STANDS_STILL, Sightings, next_term
from tests.identities import STATE_1, STATE_2, STATE_3
from tests.tables import each_case

TOKEN = b"token"


def seen(*beats: tuple[float, int, bool, bool]) -> Sightings:
    """What a standby has seen of one server since time 0: when, the beat, whether used, whether the last."""
    sightings = Sightings(0.0)
    for at, beat, is_used, is_last in beats:
        sightings.note(STATE_1, CanaryItem(TOKEN, beat, is_used, is_last), at)
    return sightings


@each_case(
    ("case", "sightings", "now", "may_claim"),
    [
        ("nobody answers", Sightings(0.0), 1.0, True),
        ("watched for too short a time", seen((0.0, 5, False, False)), 4.9, False),
        ("stood still", seen((0.0, 5, True, False), (5.0, 5, True, False)), 5.0, True),
        ("not looked at since", seen((0.0, 5, True, False), (4.0, 6, True, False)), 60.0, False),
        ("moved while nobody looked", seen((0.0, 5, True, False), (60.0, 9, True, False)), 60.0, False),
        ("moves and is used", seen((4.0, 6, True, False), (8.9, 6, True, False)), 9.5, False),
        ("has stood still since", seen((4.0, 6, True, False), (9.0, 6, True, False)), 9.0, True),
        ("moves and is idle", seen((0.0, 5, False, False), (5.0, 6, False, False)), 5.0, True),
        ("was used once", seen((0.0, 5, True, False), (5.0, 6, False, False)), 5.0, True),
        ("has stopped", seen((0.0, 5, True, False), (1.0, 6, False, True)), 1.0, True),
        ("another one has begun", seen((0.0, 5, False, True), (1.0, 6, True, False)), 2.0, False),
    ],
)
def test_may_claim(case: str, sightings: Sightings, now: float, may_claim: bool) -> None:
    """A client makes a standby claim when the beats stood still or said idle for five seconds, or stop."""
    assert may_claim is (sightings.why_not_claim(now) is None)


def of_two(second: CanaryItem, at: float) -> Sightings:
    """Two servers; the beat of the first has stood still since time 0."""
    sightings = seen((0.0, 5, True, False), (9.0, 5, True, False))
    sightings.note(STATE_2, second, at)
    return sightings


def test_one_server_whose_beat_moves_is_enough() -> None:
    """The active router may reach a part of the servers only."""
    sightings = of_two(CanaryItem(TOKEN, 8, is_used=True), 9.0)

    assert "another router is active and used" == sightings.why_not_claim(9.0)


def test_who_cannot_be_asked_does_not_count() -> None:
    """A server that has died shows what it showed, for ever."""
    sightings = of_two(CanaryItem(TOKEN, 8, is_used=True), 9.0)
    sightings.forget(STATE_2)
    sightings.forget(STATE_3)

    assert (None, 1) == (sightings.why_not_claim(9.0), len(sightings))


def test_a_stop_counts_until_another_router_has_begun() -> None:
    """The last beat of one server is enough, as long as none is newer anywhere."""
    stopped = of_two(CanaryItem(TOKEN, 8, is_last=True), 1.0)
    begun = of_two(CanaryItem(TOKEN, 8, is_last=True), 1.0)
    begun.note(STATE_3, CanaryItem(TOKEN, 9, is_used=True), 2.0)

    assert (None, 8) == (stopped.why_not_claim(2.0), stopped.newest_beat)
    assert (True, 9) == (begun.why_not_claim(2.0) is not None, begun.newest_beat)


def test_a_canary_without_a_beat_shows_no_router() -> None:
    """It was planted by one that wrote no beats, or is about to."""
    assert seen((0.0, 0, False, False)).is_active_router_seen(0.0) is None
    assert seen((0.0, 0, False, False)).is_active_router_seen(STANDS_STILL) is False


def test_terms_are_ordered_by_number_then_word() -> None:
    """Of two routers that claim at the same time the one with the greater word has it."""
    assert Term(1, "z") < Term(2, "a") < Term(2, "b")


def test_the_next_term_is_higher_and_names_those_with_records() -> None:
    """Those of which there are records; claims that never came to their end have left none."""
    item = next_term({Term(3, "a"), Term(2, "b"), Term(1, "c")}, {Term(1, "c"), Term(2, "b")}, "word")

    assert TermItem(Term(4, "word"), (Term(2, "b"), Term(1, "c"))) == item
    assert Term(1, "word") == next_term((), (), "word").term
