"""Who may hold a lock of the router before this one (design.md 5.2.6)."""

from dataclasses import replace

from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.entry import LONGEST_PAGE
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.quarantine import Quarantine
from partitioner.membership.record import FormerMap, MemberEntry, Record
from partitioner.placement.rendezvous import Ranking
from tests.identities import identities
from tests.tables import each_case

NOW = 1_700_000_000_000
LATELY, LONG_AGO = NOW - 50_000, NOW - 200_000
NAMES = identities("abc")
KEY = b"key"
FIRST, SECOND, THIRD = identities(Ranking(dict.fromkeys(NAMES, 1.0)).preference_list(KEY))


def entry(name: str) -> MemberEntry:
    """A server that has been well for long."""
    backend = Backend(name, Address("10.0.0.1", 42424))
    return MemberEntry(backend, f"incarnation of {name}", "up", wavered_at=LONG_AGO)


def record(**changed: MemberEntry) -> Record:
    entries = tuple(changed.get(name, entry(name)) for name in NAMES)
    places: dict[str, BackendId] = {name: name for name in NAMES}
    only = FormerMap(dict.fromkeys(NAMES, 1.0), places, 2, LONG_AGO, NOW)
    return Record("farm", "lineage", 1, "word", 1, NOW, 3600.0, entries, (only,))


def candidates(left: Record) -> list[BackendId]:
    return list(Quarantine(left, FarmClock(NOW, 0.0), 0.0).candidates(KEY))


def out(name: str, since: int) -> MemberEntry:
    return replace(entry(name), health="down", out_since=since, wavered_at=NOW)


@each_case(
    ("case", "left", "expected"),
    [
        ("all are well", record(), [FIRST]),
        (
            "the first wavered lately",
            record(**{FIRST: replace(entry(FIRST), wavered_at=LATELY)}),
            [FIRST, SECOND],
        ),
        (
            "the first is dirty",
            record(**{FIRST: replace(entry(FIRST), dirty=frozenset({"lock"}))}),
            [FIRST, SECOND],
        ),
        ("the first went out lately", record(**{FIRST: out(FIRST, LATELY)}), [FIRST, SECOND]),
        ("the first has been out for long", record(**{FIRST: out(FIRST, LONG_AGO)}), [SECOND]),
        (
            "two went out lately",
            record(**{FIRST: out(FIRST, LATELY), SECOND: out(SECOND, LATELY)}),
            [FIRST, SECOND, THIRD],
        ),
        (
            "the first is being drained",
            record(
                **{FIRST: replace(entry(FIRST), backend=Backend(FIRST, Address("h", 1), intent=Intent.DRAIN))}
            ),
            [FIRST, SECOND],
        ),
    ],
)
def test_candidates(case: str, left: Record, expected: list[str]) -> None:
    """Of the key's list, those that served lately, up to the first that did not waver."""
    assert expected == candidates(left)


def test_every_map_of_the_last_two_minutes_counts() -> None:
    """A lock may lie where a map had put its session that was in force when it was granted."""
    left = record()
    (only,) = left.maps
    without: dict[str, float] = {name: 1.0 for name in NAMES if name != FIRST}
    former = replace(only, weights=without, ended_at=LATELY)
    old = replace(former, ended_at=LONG_AGO)

    assert [FIRST, SECOND] == sorted(
        candidates(replace(left, maps=(former, only))), key=[FIRST, SECOND].index
    )
    assert [FIRST] == candidates(replace(left, maps=(old, only)))


def test_the_map_in_force_counts_however_long_ago_it_was_written_down() -> None:
    """Where nothing has changed for hours the record is that old, and its last map is that of all locks."""
    hours_later = FarmClock(NOW + 7_200_000, 0.0)

    assert [FIRST] == list(Quarantine(record(), hours_later, 0.0).candidates(KEY))


def test_who_is_not_remembered_is_passed_over() -> None:
    """A map may name a server that was forgotten since; it cannot have had a lock lately."""
    left = record()
    known = tuple(each for each in left.members if each.backend.name != FIRST)

    assert [SECOND] == candidates(replace(left, members=known))


def test_nobody_was_there() -> None:
    """Where all were out for long no lock was granted."""
    assert [] == candidates(record(**{name: out(name, LONG_AGO) for name in NAMES}))


def test_a_renamed_server_is_asked_by_its_memory() -> None:
    """ConnectionLimit say which memory a name stood for; the same one is asked once, under however many
    maps."""
    left = record()
    (only,) = left.maps
    former = replace(only, places=only.places | {FIRST: SECOND, SECOND: FIRST}, ended_at=LATELY)

    assert [FIRST, SECOND] == candidates(replace(left, maps=(only, former)))


@each_case(("wavered_at", "expected"), [(NOW - 110_000, [FIRST, SECOND]), (NOW - 110_001, [FIRST])])
def test_the_time_that_counts(wavered_at: int, expected: list[str]) -> None:
    """A page runs for 110 s at most: what has wavered before that has no lock elsewhere any more."""
    assert expected == candidates(record(**{FIRST: replace(entry(FIRST), wavered_at=wavered_at)}))


def test_the_token_of_then_is_told() -> None:
    """A server that has begun anew since has lost the lock, and it is not known whether it had one."""
    quarantine = Quarantine(record(), FarmClock(NOW, 0.0), 0.0)

    assert {FIRST: f"incarnation of {FIRST}".encode()} == quarantine.candidates(KEY)


def test_it_ends() -> None:
    """A page runs no longer, and a key that was answered has no lock of before."""
    quarantine = Quarantine(record(), FarmClock(NOW, 0.0), 10.0)
    before = quarantine.is_answered(KEY)
    quarantine.note_answered(KEY)

    assert (False, True) == (before, quarantine.is_answered(KEY))
    assert [False, True] == [quarantine.is_over(10.0 + LONGEST_PAGE + after) for after in (-0.1, 0.0)]
