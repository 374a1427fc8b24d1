"""The record: what a router leaves to the next one, and what that one makes of it (design.md 5.2)."""

import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from partitioner.errors import MalformedFile
from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.entry import LOCK, MISSING, REMOVE, WRITE
from partitioner.membership.eras import MOST_ERAS
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.health import (
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    newcomer,
    observe_success,
    observe_symptom,
    put_aside,
    suspect,
)
from partitioner.membership.inheritance import Inheritance, inherit
from partitioner.membership.items import MOST_RECORD_BYTES
from partitioner.membership.pool import (
    Member,
    Pool,
    first_pool,
    ranking_of,
)
from partitioner.membership.record import (
    FormerGap,
    FormerMap,
    FormerMemory,
    Knowledge,
    MemberEntry,
    Record,
    record_of,
)
from partitioner.membership.record_format import VERSION, read_record, write_record
from partitioner.membership.redundancy import RedundancyGap
from tests.identities import A, B, C, D, identities
from tests.tables import each_case

POLICY = HealthPolicy(fall=1, rise=1, hold_down=0.0)
T_MAX = 3600.0
BEFORE, AFTER = 5_000.0, 70.0
"""The monotonic time when the record is written, and when it is read: the machine was started anew."""

WALL = 1_700_000_000_000
"""Milliseconds by the farm's clock when it is written; the newest beat that is found later is this, too."""

WRITER, READER = FarmClock(WALL, BEFORE), FarmClock(WALL, AFTER)
FIRST = Record("farm", "lineage", 7, "word", 0, 0, 0.0, ())
"""What a router that has claimed begins with."""


def backend(name: str, port: int = 42424, intent: Intent = Intent.READY) -> Backend:
    return Backend(name, Address("10.0.0.1", port), intent=intent)


NEW = newcomer(POLICY)
UP = observe_success(NEW, b"incarnation", 1.0, POLICY)
FELL = observe_symptom(UP, Symptom.TIMED_OUT, 2.0, POLICY, may_fall=True)
RESTARTED = observe_symptom(UP, Symptom.RESTARTED, 2.0, POLICY, may_fall=True)
RECOVERING = suspect(UP, 9e9, b"incarnation", 2.0)
PUT_ASIDE = put_aside(UP, 2.0, POLICY)


def pool_with(record: HealthRecord, removed_at: float | None = None, name: BackendId = B) -> Pool:
    """A pool of a, which is UP, and another one."""
    known = replace(UP, incarnation=b"incarnation of a", served_incarnation=b"incarnation of a")
    members = {A: Member(backend("a"), known), name: Member(backend(name), record, removed_at)}
    return Pool(3, members, ranking_of(members.values()), 2, 10.0)


def written(
    pool: Pool,
    dirty: dict[BackendId, frozenset[str]] | None = None,
    former: Record = FIRST,
    at: float = BEFORE,
) -> Record:
    known = Knowledge(T_MAX, {b"gone": BEFORE + 60.0}, frozenset({b"planted"}), dirty or {}, {A: 5, B: 6})
    return record_of(former, pool, known, at, WRITER)


def inherited(record: Record, *configured: Backend, is_clean: bool = False) -> Inheritance:
    """What a router begins with that finds this record, and has these backends in its configuration."""
    first = first_pool(configured or (backend("a"), backend("b")), POLICY, 2, AFTER)
    return inherit(record, first, POLICY, AFTER, READER, is_clean=is_clean)


def health_of(pool: Pool, incarnation: bytes, identity: BackendId = B, at: float = AFTER + 1.0) -> Health:
    """What becomes of a backend that is found in this incarnation."""
    return observe_success(pool.members[identity].record, incarnation, at, POLICY).health


# --- Whom to believe -----------------------------------------------------------------------------------

NOTHING: frozenset[str] = frozenset()
FOUND: list[tuple[str, HealthRecord, frozenset[str], bool, Health]] = [
    ("UP and not dirty", UP, NOTHING, False, Health.UP),
    ("UP, may lack a lock alone", UP, frozenset({LOCK}), False, Health.UP),
    ("UP, may lack locks and copies", UP, frozenset({LOCK, MISSING}), False, Health.UP),
    ("UP, may lack a copy and a write", UP, frozenset({MISSING, WRITE}), False, Health.RECOVERING),
    ("UP, may lack a write", UP, frozenset({LOCK, WRITE}), False, Health.RECOVERING),
    ("UP, may lack a remove", UP, frozenset({REMOVE}), False, Health.RECOVERING),
    ("UP, may lack a write, and its marks are there", UP, frozenset({WRITE}), True, Health.UP),
    ("DOWN", FELL, frozenset({WRITE}), False, Health.RECOVERING),
    ("DOWN, and its marks are there", FELL, frozenset({WRITE}), True, Health.UP),
    ("restarted, and not taken in yet", RESTARTED, NOTHING, False, Health.RECOVERING),
    ("RECOVERING", RECOVERING, frozenset({WRITE}), False, Health.RECOVERING),
    ("RECOVERING, and the marks of its router are there", RECOVERING, NOTHING, True, Health.RECOVERING),
    ("in maintenance", PUT_ASIDE, NOTHING, False, Health.RECOVERING),
]


@each_case(("case", "record", "dirty", "is_clean", "health"), FOUND, ids=[case for case, *_ in FOUND])
def test_found_again(
    case: str, record: HealthRecord, dirty: frozenset[str], is_clean: bool, health: Health
) -> None:
    """What may lack a change is not read, unless marks say what it lacks; an empty memory lacks nothing."""
    pool = inherited(written(pool_with(record), {B: dirty}), is_clean=is_clean).pool

    assert (health, Health.UP) == (health_of(pool, b"incarnation"), health_of(pool, b"another"))


def test_nobody_is_believed_to_be_up() -> None:
    """Whatever was known, a router that has just started has seen no server yet."""
    assert frozenset() == inherited(written(pool_with(UP))).pool.eligible


def test_doubt_ends() -> None:
    """Whatever was missed before the start has expired when T_max has passed since it."""
    pool = inherited(written(pool_with(FELL))).pool

    assert [Health.RECOVERING, Health.UP] == [
        health_of(pool, b"incarnation", at=AFTER + after) for after in (T_MAX - 1, T_MAX)
    ]


def test_doubt_outlives_a_second_restart() -> None:
    """A router that ends before it has seen a backend knows no more of it than the one before."""
    once = inherited(written(pool_with(FELL)))
    known = Knowledge(T_MAX, {}, NOTHING_EMPTY, {}, {})
    again = record_of(FIRST, once.pool, known, AFTER + 1.0, FarmClock(WALL, AFTER))

    assert Health.RECOVERING is health_of(inherited(again, is_clean=True).pool, b"incarnation")


NOTHING_EMPTY: frozenset[bytes] = frozenset()


# --- Who is who ----------------------------------------------------------------------------------------


def test_a_backend_that_is_new_in_the_configuration() -> None:
    """Nothing was written while it was not there; its memory is one that no record names."""
    pool = inherited(written(pool_with(FELL)), backend("a"), backend("b"), backend("c")).pool

    assert NEW == pool.members[C].record


def test_an_address_with_another_name_may_be_anybody() -> None:
    """The memory of the name is remembered apart; who answers at the new place shows with its first probe."""
    pool = inherited(written(pool_with(UP)), backend("a"), backend("b", port=42425)).pool

    assert {"a", "b@10.0.0.1:42425", "b"} == set(pool.members)
    assert (b"incarnation", AFTER) == (pool.members[B].incarnation, pool.members[B].removed_at)
    assert pool.members[BackendId("b@10.0.0.1:42425")].incarnation is None


def test_one_that_was_removed_is_asked_until_its_sessions_have_expired() -> None:
    """A member that left the configuration a while ago is remembered for the rest of T_max."""
    lately = written(pool_with(UP, removed_at=BEFORE - 600.0))
    long_ago = written(pool_with(UP, removed_at=BEFORE - T_MAX - 1.0))

    assert AFTER - 600.0 == inherited(lately, backend("a")).pool.members[B].removed_at
    assert {"a"} == set(inherited(long_ago, backend("a")).pool.members)


def test_memories_that_are_out_and_empty_ones() -> None:
    """Both are handed on, and no other is trusted."""
    inheritance = inherited(written(pool_with(UP), {B: frozenset({WRITE})}))

    assert {b"gone": AFTER + 60.0} == inheritance.departed  # the reader starts at the time of the record
    assert frozenset({b"planted"}) == inheritance.empty
    assert {"b": frozenset({WRITE})} == inheritance.dirty
    assert (False, T_MAX) == (inheritance.trusts_unknown, inheritance.longest_life)


def test_what_is_out_is_not_empty() -> None:
    """The memory was planted on an empty server, served, and was replaced: what it holds is old."""
    out = replace(FIRST, longest_life=T_MAX, written_at=WALL, former=(FormerMemory("token", WALL + 60_000),))

    assert frozenset() == inherited(replace(out, empty=("token",))).empty


def test_no_memory_is_out_for_longer_than_any_session_lives() -> None:
    """Whatever time a record names, in T_max everything has expired."""
    far = FormerMemory("token", WALL + 10**12)

    assert {b"token": AFTER + T_MAX} == inherited(replace(FIRST, longest_life=T_MAX, former=(far,))).departed


def test_a_planted_memory_is_named_until_it_is_seen() -> None:
    """From then on it is a member's; so there are never more than were planted and not seen yet."""
    tokens = frozenset({b"planted", b"incarnation of a", b"gone"})
    known = Knowledge(T_MAX, {b"gone": BEFORE + 60.0}, tokens, {}, {})

    assert ("planted",) == record_of(FIRST, pool_with(UP), known, BEFORE, WRITER).empty


def test_identities_are_never_shared() -> None:
    """A new backend may be named and placed as another memory's identity says, and is not that memory."""
    known = BackendId("b@10.0.0.1:2")
    renamed = Backend("c", Address("10.0.0.1", 2), identity=known)
    left = replace(
        FIRST,
        longest_life=T_MAX,
        members=(
            MemberEntry(backend("b"), "one", "up"),
            MemberEntry(renamed, "two", "up"),
        ),
    )
    pool = inherited(left, backend("c", port=3), backend("b", port=2)).pool

    assert {"c", "b@10.0.0.1:2#2", "b", "b@10.0.0.1:2"} == set(pool.members)
    assert [b"one", b"two"] == [pool.members[B].incarnation, pool.members[known].incarnation]


def test_who_serves_goes_before_who_was_removed() -> None:
    """A memory that moved away leaves an entry of the same name and address behind."""
    there, moved = identities(("here", "away"))
    away = MemberEntry(replace(backend("b"), identity=moved), "old", "down", removed_at=WALL - 1000)
    here = MemberEntry(replace(backend("b"), identity=there), "new", "up")
    pool = inherited(replace(FIRST, longest_life=T_MAX, members=(away, here)), backend("b")).pool

    assert [None, AFTER - 1.0] == [pool.members[there].removed_at, pool.members[moved].removed_at]


def test_whether_the_marks_of_a_lock_are_there_is_all_the_same_for_reading() -> None:
    """A server that may lack a lock alone holds what was saved last; it stays dirty for the next record."""
    inheritance = inherited(written(pool_with(UP), {B: frozenset({LOCK})}))

    assert Health.UP is health_of(inheritance.pool, b"incarnation")
    assert {"b": frozenset({LOCK})} == inheritance.dirty


# --- Former maps ---------------------------------------------------------------------------------------


def test_former_maps_are_asked_in_large_pools() -> None:
    """Where not everybody is asked, those are whom a former map had put the session on (design.md 7.4)."""
    names = identities(f"s{number}" for number in range(40))
    members = {name: Member(backend(name), UP) for name in names}
    before = Pool(1, members, ranking_of(members.values()), 2, 10.0)
    kept = {name: member for name, member in members.items() if name not in names[::2]}
    removed = {name: replace(members[name], removed_at=BEFORE) for name in names[::2]}
    after = before.succeeded_by(kept | removed, ranking_of(kept.values()), 2, BEFORE)
    pool = inherited(written(after), *(backend(name) for name in names[1::2])).pool

    for key in (b"key-%d" % number for number in range(20)):
        assert set(before.ranking.preference_list(key, 2)) <= set(pool.possible_holders(key))


def test_the_map_in_force_stays_so_until_its_router_ends() -> None:
    """The record was written long before, since nothing has changed; its last map was in force since."""
    record = written(pool_with(UP))
    ended = replace(record.maps[0], weights={"a": 1.0}, places={"a": A}, ended_at=WALL - 1_000)
    later = FarmClock(WALL + 5 * round(T_MAX * 1000), AFTER)
    first = first_pool([backend("a"), backend("b")], POLICY, 2, AFTER)
    pool = inherit(
        replace(record, maps=(ended, *record.maps)), first, POLICY, AFTER, later, is_clean=True
    ).pool

    assert [({"a": 1.0, "b": 1.0}, AFTER)] == [(era.ranking.weights, era.ended_at) for era in pool.eras]


def test_eras_are_kept_once() -> None:
    """However often health has changed, who served under one map is kept once, each time it was so."""
    pool = pool_with(UP)
    for number in range(30):
        pool = pool.with_record(B, FELL if number % 2 == 0 else UP, BEFORE - 100 + number)
    both, alone = written(pool).maps

    assert [{"a", "b"}, {"a"}] == [set(each.served) for each in (both, alone)]
    assert (WALL - round(T_MAX * 1000), WALL) == (both.began_at, both.ended_at)
    assert (WALL - 100_000, WALL - 71_000) == (alone.began_at, alone.ended_at)


@each_case("after", [1.0, T_MAX - 1.0])
def test_nobody_s_word_is_good_for_the_time_before(after: float) -> None:
    """A backend may have been restarted while no router was looking, so its 404 proves nothing."""
    pool = inherited(written(pool_with(UP))).pool
    for name, incarnation in ((A, b"incarnation of a"), (B, b"incarnation")):
        record = observe_success(pool.members[name].record, incarnation, AFTER + 0.5, POLICY)
        pool = pool.with_record(name, record, AFTER + 0.5)

    assert not pool.has_always_held(A, b"key", AFTER + after - T_MAX)


# --- settled or not, from one router to the next (design.md 5.2.5, 7.4) --------------------------------

FOUR = identities("abcd")
KEYS = [b"%d" % number for number in range(40)]
LATER = BEFORE + 10 * T_MAX
"""When the record is written of a router that has served for long."""


def up(name: str, incarnation: bytes | None = None) -> HealthRecord:
    token = incarnation or b"incarnation of %b" % name.encode()
    return replace(UP, incarnation=token, served_incarnation=token)


def steady_pool() -> Pool:
    """Four servers that have served for long."""
    members = {name: Member(backend(name), up(name)) for name in FOUR}
    return Pool(3, members, ranking_of(members.values()), 2, 10.0)


def left(pool: Pool, **changes: object) -> Record:
    """The record of a pool that was written down before, when nothing had changed for long."""
    first = written(steady_pool(), at=BEFORE)
    return replace(written(pool, former=first, at=LATER), **changes)  # type: ignore[arg-type]


def next_pool(
    record: Record, *, is_clean: bool, found: dict[str, bytes] | None = None, drained: str = ""
) -> Pool:
    """The pool of the next router, that has found all servers as they were but for these incarnations."""
    intents = {name: Intent.DRAIN if name in drained else Intent.READY for name in FOUR}
    first = first_pool([backend(name, intent=intents[name]) for name in FOUR], POLICY, 2, AFTER)
    reader = FarmClock(WRITER.at(LATER), AFTER)
    pool = replace(inherit(record, first, POLICY, AFTER, reader, is_clean=is_clean).pool, is_served=False)
    for name in FOUR:
        token = (found or {}).get(name, b"incarnation of %b" % name.encode())
        record_now = observe_success(pool.members[name].record, token, AFTER + 0.5, POLICY)
        pool = pool.with_record(name, record_now, AFTER + 0.5)
    return replace(pool, is_served=True)


def unsettled(pool: Pool, now: float = AFTER + 1.0) -> set[bytes]:
    return {key for key in KEYS if now - pool.unchanged_since(key).moment <= T_MAX}


def of(name: str) -> set[bytes]:
    """The keys that are kept on this server."""
    return {key for key in KEYS if name in steady_pool().ranking.preference_list(key, 2)}


@each_case("is_clean", [True, False])
def test_a_restart_of_the_router_unsettles_nothing(is_clean: bool) -> None:
    """With a current record, the same map and no server dirty, all keys are as settled as they were."""
    assert set() == unsettled(next_pool(left(steady_pool()), is_clean=is_clean))


def test_what_changed_before_the_restart_goes_on_to_matter() -> None:
    """A server fell and was back before the router stopped: what it holds is unsettled until T_max."""
    pool = steady_pool().with_record(C, FELL, LATER - 100.0).with_record(C, up("c"), LATER - 90.0)
    after = next_pool(left(pool), is_clean=True)

    assert of("c") == unsettled(after)
    assert of("c") == unsettled(after, AFTER - 90.0 + T_MAX)
    assert set() == unsettled(after, AFTER - 89.0 + T_MAX)


def test_eras_of_a_router_that_left_no_marks_count_as_ended_at_the_claim() -> None:
    """It is not known what happened after its last record (design.md 5.2.5)."""
    pool = steady_pool().with_record(C, FELL, LATER - 100.0).with_record(C, up("c"), LATER - 90.0)
    after = next_pool(left(pool), is_clean=False)

    assert of("c") == unsettled(after, AFTER + T_MAX)
    assert set() == unsettled(after, AFTER + T_MAX + 1.0)


def test_a_server_that_is_found_empty_unsettles_what_it_held() -> None:
    """While no router looked, it has begun anew."""
    after = next_pool(left(steady_pool()), is_clean=True, found={"b": b"another"})

    assert of("b") == unsettled(after)


def test_a_server_that_had_marks_unsettles_what_it_held_where_these_are_lost() -> None:
    """The next of its list may have served meanwhile, and hold what was not removed there yet."""
    first = written(steady_pool(), at=BEFORE)
    marked = written(steady_pool(), {D: frozenset({WRITE})}, first, LATER - 10.0)
    record = written(steady_pool(), former=marked, at=LATER)

    assert of("d") == unsettled(next_pool(record, is_clean=False))
    assert set() == unsettled(next_pool(record, is_clean=True))


def test_the_return_of_a_server_may_not_have_been_written_down() -> None:
    """It was out in the last record of a router that was killed: keys may have been stored there since."""
    record = left(steady_pool().with_record(A, FELL, LATER - 2 * T_MAX))
    record = replace(record, maps=record.maps[-1:])
    reader = FarmClock(WRITER.at(LATER), AFTER)
    first = first_pool([backend(name) for name in FOUR], POLICY, 2, AFTER)
    eras = inherit(record, first, POLICY, AFTER, reader, is_clean=False).pool.eras

    assert {frozenset("abcd"), frozenset("bcd")} <= {era.eligible for era in eras}


@each_case(("is_clean", "expected"), [(True, False), (False, True)])
def test_removes_may_have_been_cut_off(is_clean: bool, expected: bool) -> None:
    """For T_max after a router that was killed a 404 is no proof, and no server is a witness."""
    pool = next_pool(left(steady_pool()), is_clean=is_clean)
    (name, *_) = identities(pool.ranking.preference_list(KEYS[0]))

    assert expected is pool.may_lack_removes(AFTER + 1.0 - T_MAX)
    assert (not expected) is pool.has_always_held(name, KEYS[0], AFTER + 1.0 - T_MAX)
    assert not pool.may_lack_removes(AFTER + 1.0)


def test_what_lies_on_a_server_that_was_away_has_not_grown_old() -> None:
    """It is found again after the restart, and what it held before its sessions moved is looked for."""
    pool = steady_pool()
    drained = replace(pool.members[A], backend=backend("a", intent=Intent.DRAIN))
    pool = pool.succeeded_by(pool.members | {A: drained}, pool.ranking, 2, LATER - 100.0)
    after = next_pool(left(pool.with_record(A, FELL_OF_A, LATER - 90.0)), is_clean=True, drained="a")

    assert of("a") == unsettled(after, AFTER + T_MAX)
    assert set() == unsettled(after, AFTER + T_MAX + 1.0)


FELL_OF_A = observe_symptom(up("a"), Symptom.TIMED_OUT, LATER - 90.0, POLICY, may_fall=True)


def test_before_the_first_router_nothing_is_known() -> None:
    """A router that had started a while ago itself knows no more than since then; its heir neither."""
    pool = replace(steady_pool(), known_since=LATER - 60.0)
    after = next_pool(left(pool), is_clean=True)

    assert set(KEYS) == unsettled(after, AFTER - 60.0 + T_MAX)
    assert set() == unsettled(after, AFTER - 59.0 + T_MAX)


def test_what_keeps_copies_away_is_inherited() -> None:
    """Gaps are told to the next router; a server that was read has one until it is found as it was."""
    known = replace(
        Knowledge(T_MAX, {}, frozenset(), {}, {}),
        gaps=(RedundancyGap("c was restarted", BEFORE - 9.0, C, b"before"),),
    )
    record = record_of(FIRST, steady_pool(), known, BEFORE, WRITER)
    gaps = inherited(record, *(backend(name) for name in FOUR), is_clean=True).gaps

    assert RedundancyGap("c was restarted", AFTER - 9.0, C, b"before") == gaps[0]
    assert {("a", b"incarnation of a"), ("b", b"incarnation of b")} <= {
        (each.identity, each.incarnation) for each in gaps[1:]
    }


def test_too_few_servers_are_told_of() -> None:
    """With one server for two copies, those that missed writes may not be marked for them."""
    gaps = inherited(written(pool_with(FELL)), is_clean=True).gaps

    assert ["there were too few servers for all copies until"] == [
        each.event for each in gaps if each.identity is None
    ]


def test_a_server_that_was_away_for_long_is_in_doubt_after_a_clean_stop_too() -> None:
    """What it missed is marked for no longer than T_max, and its clock may have stood still."""
    out = written(pool_with(FELL))
    later = written(pool_with(FELL), former=out, at=BEFORE + T_MAX + 1.0)
    first = first_pool([backend("a"), backend("b")], POLICY, 2, AFTER)
    reader = FarmClock(WRITER.at(BEFORE + T_MAX + 1.0), AFTER)
    pool = inherit(later, first, POLICY, AFTER, reader, is_clean=True).pool

    assert Health.RECOVERING is health_of(pool, b"incarnation")


# --- What a record says from one to the next -----------------------------------------------------------


def test_serials_rise() -> None:
    """Of two records of one router the later one is the higher; of two routers, that of the later term."""
    first = written(pool_with(UP))
    second = written(pool_with(UP), former=first)

    assert FIRST.order < first.order < second.order < replace(FIRST, term=8).order


def entry_of(record: Record) -> MemberEntry:
    entry = record.entry(B)
    assert entry is not None
    return entry


def test_when_a_server_wavered() -> None:
    """That is as long as it is dirty or not UP, and the moment in which it is well again."""
    well = entry_of(first := written(pool_with(UP), at=100.0))
    still = entry_of(second := written(pool_with(UP), former=first, at=200.0))
    down = entry_of(third := written(pool_with(FELL), {B: frozenset({WRITE})}, second, 300.0))
    longer = entry_of(fourth := written(pool_with(FELL), {B: frozenset({WRITE})}, third, 400.0))
    back = entry_of(fifth := written(pool_with(UP), former=fourth, at=500.0))
    since = entry_of(written(pool_with(UP), former=fifth, at=600.0))
    at = [WRITER.at(moment) for moment in (100.0, 100.0, 300.0, 400.0, 500.0, 500.0)]

    assert at == [each.wavered_at for each in (well, still, down, longer, back, since)]
    assert [None, None, at[2], at[2], None, None] == [
        each.out_since for each in (well, still, down, longer, back, since)
    ]


def test_the_beat_is_that_of_the_last_change() -> None:
    """A server that was not UP is behind if it is below the beat that it had answered then."""
    first = written(pool_with(FELL))
    known = Knowledge(T_MAX, {}, NOTHING_EMPTY, {}, {A: 50, B: 60})

    assert (6, 6) == (
        entry_of(first).beat,
        entry_of(record_of(first, pool_with(FELL), known, 1.0, WRITER)).beat,
    )
    assert 60 == entry_of(record_of(first, pool_with(UP), known, 1.0, WRITER)).beat


# --- As bytes ------------------------------------------------------------------------------------------

_times = st.integers(0, 4_000_000_000_000)
_texts = st.text(max_size=8)
_known_tokens = st.binary(max_size=6).map(lambda token: token.decode("latin-1"))
_tokens = st.none() | _known_tokens
_addresses = st.builds(Address, _texts, st.integers(0, 65535))
_backends = st.builds(
    Backend,
    _texts,
    _addresses,
    st.floats(0.01, 100),
    st.sampled_from(Intent),
    st.none() | _addresses,
    st.text(min_size=1, max_size=8),
)
_reasons = st.frozensets(st.sampled_from((LOCK, WRITE, REMOVE)))
_entries = st.builds(
    MemberEntry,
    _backends,
    _tokens,
    st.sampled_from([health.value for health in Health]),
    _times,
    _reasons,
    st.none() | _times,
    st.none() | _times,
    st.none() | _times,
    st.booleans(),
    st.none() | _times,
)
_maps = st.builds(
    lambda places, *others: FormerMap(dict.fromkeys(places, 0.1 + len(places)), places, *others),
    st.dictionaries(_texts, _texts, max_size=3),
    st.integers(1, 64),
    _times,
    _times,
    st.dictionaries(_texts, _tokens, max_size=3),
    st.booleans(),
)
_gaps = st.builds(FormerGap, _texts, _times, st.none() | _texts, _tokens)
_records = st.builds(
    Record,
    st.just("farm"),
    _texts,
    st.integers(0, 10**12),
    _texts,
    st.integers(0, 10**12),
    st.integers(0, WALL),
    st.floats(0, 1e6),
    st.lists(_entries, max_size=3).map(tuple),
    st.lists(_maps, max_size=2).map(tuple),
    st.lists(st.builds(FormerMemory, _known_tokens, _times, _reasons), max_size=2).map(tuple),
    st.lists(_known_tokens, max_size=2).map(tuple),
    st.booleans(),
    _times,
    st.lists(_gaps, max_size=2).map(tuple),
)


@given(record=_records)
def test_written_and_read(record: Record) -> None:
    """What is read is what was written."""
    assert record == read_record(write_record(record), "farm", WALL)


WRITTEN = write_record(written(pool_with(FELL)))


@each_case("length", range(0, len(WRITTEN), 7))
def test_truncated(length: int) -> None:
    """However little is missing, nothing of it is believed."""
    with pytest.raises(MalformedFile):
        read_record(WRITTEN[:length], "farm", WALL)


@each_case("place", range(len(WRITTEN)))
def test_a_flipped_bit(place: int) -> None:
    """One bit anywhere is enough to refuse it."""
    flipped = bytearray(WRITTEN)
    flipped[place] ^= 1

    with pytest.raises(MalformedFile):
        read_record(bytes(flipped), "farm", WALL)


FAR = write_record(replace(FIRST, written_at=WALL + 400 * 86_400_000))
HUGE = write_record(replace(FIRST, lineage="x" * 5_000_000))
ENTRY = MemberEntry(backend("b"), "one", "up")
ONLY_MAP = FormerMap({"b": 1.0}, {"b": B}, 2, 0, 1)


def packed(plain: bytes) -> bytes:
    """A record that says this, whatever it is, with a right checksum."""
    content = zlib.compress(plain)
    checksum = xxh3_64_hexdigest(content).encode()
    return b"partitioner record, format %d, checksum %b\n" % (VERSION, checksum) + content


def saying(before: bytes, after: bytes) -> bytes:
    """A record of one member and one map, with one part of it replaced."""
    _, _, content = write_record(replace(FIRST, members=(ENTRY,), maps=(ONLY_MAP,))).partition(b"\n")
    plain = zlib.decompress(content)
    assert before in plain
    return packed(plain.replace(before, after))


@each_case(
    ("content", "sentence"),
    [
        (b"", "foreign or damaged"),
        (b"{}", "foreign or damaged"),
        (WRITTEN.replace(b"format 2", b"format 1"), "has the format 1; this program reads format 2"),
        (WRITTEN.replace(b"format 2", b"format 3"), "has the format 3; this program reads format 2"),
        (WRITTEN + b" ", "wrong checksum"),
        (write_record(replace(FIRST, farm="other")), "belongs to the farm 'other'; expected 'farm'"),
        (FAR, "clock that is more than a year ahead"),
        (HUGE, "more than 4194304 bytes"),
        (WRITTEN.replace(b"format 2", b"format " + b"9" * 5000), "foreign or damaged"),
        (packed(b""), "does not say what a record says"),
        (packed(b"[1]"), "does not say what a record says"),
        (saying(b'"term":7', b'"term":"x"'), "does not say what a record says: term: "),
        (saying(b'"token":"one"', '"token":"\u20ac"'.encode()), "does not say what a record says"),
        (saying(b'{"b":1.0}', b'{"b":0.0}'), "is not a weight; expected a number above 0"),
        (saying(b'{"b":1.0}', b'{"b":1e999}'), "is not a weight; expected a number above 0"),
        (saying(b'{"b":1.0}', b'{"c":1.0}'), "other names in its weights than in its places"),
        (saying(b'"longest_life":0.0', b'"longest_life":1e999'), "longest timeout"),
        (saying(b'"health":"up"', b'"health":"fine"'), "does not say what a record says"),
        (saying(b'"weight":1.0', b'"weight":-1.0'), "-1.0 is not a weight"),
    ],
)
def test_what_is_wrong_is_said(content: bytes, sentence: str) -> None:
    """The operator learns whether it is foreign, of another version or farm, damaged, or far ahead."""
    with pytest.raises(MalformedFile, match=sentence) as raised:
        read_record(content, "farm", WALL)

    assert "\n" not in str(raised.value)


NAMES = identities(f"state-server-{number}.example.com" for number in range(200))


def large_farm(maps: Callable[[int], dict[str, float]], count: int = MOST_ERAS) -> Record:
    """The record of 200 servers, each one dirty, and as many former maps."""
    members = tuple(
        MemberEntry(
            Backend(name, Address(name, 42424)),
            f"{xxh3_64_intdigest(name.encode()):032x}",
            "up",
            WALL - number,
            frozenset({LOCK, WRITE, REMOVE}),
            WALL - 7 * number,
        )
        for number, name in enumerate(NAMES)
    )
    places: dict[str, BackendId] = {name: name for name in NAMES}
    former = tuple(FormerMap(maps(each), places, 2, WALL + each, WALL + each + 1) for each in range(count))
    return replace(FIRST, longest_life=T_MAX, members=members, maps=former)


def one_after_the_other(number: int) -> dict[str, float]:
    """As when an operator changes the weight of one server after the other."""
    return {name: 2.0 if each < number else 1.0 for each, name in enumerate(NAMES)}


def all_at_once(number: int) -> dict[str, float]:
    """As no operator would: each server has another weight each time."""
    return {name: 1.0 + (xxh3_64_intdigest(name.encode(), seed=number) % 10_000) / 100 for name in NAMES}


def test_a_large_farm_fits() -> None:
    """The record of 200 servers and as many maps as are ever remembered is read whole."""
    record = large_farm(one_after_the_other)
    as_bytes = write_record(record)

    assert len(as_bytes) <= MOST_RECORD_BYTES
    assert record == read_record(as_bytes, "farm", WALL)


def test_what_does_not_fit_is_left_out() -> None:
    """First tokens, which are in doubt where no record names them; then the maps that ended first."""
    tokens = tuple(f"{xxh3_64_intdigest(b'%d' % number):016x}" * 2 for number in range(5_000))
    crowded = replace(large_farm(all_at_once), empty=tokens)
    as_bytes = write_record(crowded)
    found = read_record(as_bytes, "farm", WALL)

    assert len(as_bytes) <= MOST_RECORD_BYTES
    assert crowded.members == found.members
    assert () == found.empty
    assert 0 < len(found.maps) < MOST_ERAS
    assert crowded.maps[-len(found.maps) :] == found.maps


def test_no_record_is_larger_than_a_reader_unpacks() -> None:
    """However well it can be packed."""
    names = {"x" * 3_000 + str(number): 1.0 for number in range(40)}
    former = FormerMap(names, dict(zip(names, identities(names), strict=True)), 2, WALL, WALL + 1)
    many = replace(FIRST, maps=tuple(replace(former, ended_at=WALL + each) for each in range(MOST_ERAS)))
    found = read_record(write_record(many), "farm", WALL)

    assert 0 < len(found.maps) < MOST_ERAS
