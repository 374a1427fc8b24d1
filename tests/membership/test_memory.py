"""A router that is started again: whom it believes, doubts, and still asks (design.md 7.5)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.errors import MalformedFile
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import (
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    cast_doubt,
    newcomer,
    observe_success,
    observe_symptom,
    put_aside,
)
from partitioner.membership.memory import (
    DepartedBackend,
    FormerMap,
    KnownBackend,
    KnownHole,
    Memory,
    doubt_everybody,
    read_memory,
    recall,
    recall_departed,
    recall_holes,
    remember,
    write_memory,
)
from partitioner.membership.pool import Member, Pool, first_pool, ranking_of
from partitioner.membership.redundancy import Hole
from tests.tables import each_case

POLICY = HealthPolicy(fall=1, rise=1, hold_down=0.0)
T_MAX = 3600.0
BEFORE, AFTER = 5_000.0, 70.0
"""The monotonic time when the memory is written, and when it is read: the machine was started anew."""

WALL = 1_700_000_000.0
"""The time on the wall when it is written."""

DOWNTIME = 100.0


def backend(name: str, port: int = 42424, intent: Intent = Intent.READY) -> Backend:
    return Backend(name, Address("10.0.0.1", port), intent=intent)


NEW = newcomer(POLICY)
UP = observe_success(NEW, b"life", 1.0, POLICY)
FELL = observe_symptom(UP, Symptom.TIMED_OUT, 2.0, POLICY, may_fall=True)
RESTARTED = observe_symptom(UP, Symptom.RESTARTED, 2.0, POLICY, may_fall=True)
RECOVERING = cast_doubt(UP, 9e9, b"life", 2.0)
PUT_ASIDE = put_aside(UP, 2.0, POLICY)
NEVER_UP = observe_symptom(NEW, Symptom.REFUSED, 2.0, POLICY, may_fall=True)


def pool_with(record: HealthRecord, removed_at: float | None = None, name: str = "b") -> Pool:
    """A pool of a, which is UP, and another one."""
    members = {"a": Member(backend("a"), UP), name: Member(backend(name), record, removed_at)}
    return Pool(3, members, ranking_of(members.values()), 2, 10.0)


def remembered(pool: Pool) -> Memory:
    return remember(pool, {}, (), T_MAX, BEFORE, WALL - BEFORE)


def recalled(memory: Memory, *configured: Backend, downtime: float = DOWNTIME) -> Pool:
    """The pool of a router that is started with this memory, and these backends in its configuration."""
    first = first_pool(configured or (backend("a"), backend("b")), POLICY, 2, AFTER)
    return recall(memory, first, POLICY, AFTER, WALL + downtime - AFTER)


def health_of(pool: Pool, life: bytes, identity: str = "b", at: float = AFTER + 1.0) -> Health:
    """What becomes of a backend that is found in this life."""
    return observe_success(pool.members[identity].record, life, at, POLICY).health


# --- Whom to believe -----------------------------------------------------------------------------------

FOUND: list[tuple[str, HealthRecord, Health, Health]] = [  # found in the life that was known, and in another
    ("UP", UP, Health.UP, Health.UP),
    ("DOWN", FELL, Health.RECOVERING, Health.UP),
    ("restarted, and not taken in yet", RESTARTED, Health.RECOVERING, Health.UP),
    ("RECOVERING", RECOVERING, Health.RECOVERING, Health.UP),
    ("in maintenance", PUT_ASIDE, Health.RECOVERING, Health.UP),
    ("never UP", NEVER_UP, Health.RECOVERING, Health.RECOVERING),  # whose life it is nobody knows
    ("not looked at yet", NEW, Health.RECOVERING, Health.RECOVERING),
]


@each_case(("case", "record", "same", "other"), FOUND, ids=[case for case, *_ in FOUND])
def test_found_again(case: str, record: HealthRecord, same: Health, other: Health) -> None:
    """Who was not UP may have missed something in the life that was known; a new life is empty."""
    pool = recalled(remembered(pool_with(record)))

    assert (same, other) == (health_of(pool, b"life"), health_of(pool, b"another life"))


def test_nobody_is_believed_to_be_up() -> None:
    """Whatever was known, a router that has just started has seen nobody yet."""
    assert recalled(remembered(pool_with(UP))).eligible == frozenset()


def test_doubt_ends() -> None:
    """Whatever was missed before the start has expired when T_max has passed since it."""
    pool = recalled(remembered(pool_with(FELL)))

    assert [Health.RECOVERING, Health.UP] == [
        health_of(pool, b"life", at=AFTER + after) for after in (T_MAX - 1, T_MAX)
    ]


def test_doubt_outlives_a_second_restart() -> None:
    """A router that ends before it has seen a backend knows no more of it than the one before."""
    once = recalled(remembered(pool_with(FELL)))
    twice = recalled(remember(once, {}, (), T_MAX, AFTER, WALL - AFTER))

    assert (Health.RECOVERING, Health.UP) == (health_of(twice, b"life"), health_of(twice, b"another life"))


def test_a_backend_that_is_new_in_the_configuration() -> None:
    """Nothing was written while it was not there, so there is nothing to doubt."""
    pool = recalled(remembered(pool_with(FELL)), backend("a"), backend("b"), backend("c"))

    assert Health.UP is health_of(pool, b"any life", "c")


def test_nothing_is_known() -> None:
    """Where the memory is lost, a canary that is found says nothing about what was missed."""
    first = first_pool((backend("a"), backend("b")), POLICY, 2, AFTER)
    pool = doubt_everybody(first, AFTER + T_MAX, AFTER)

    assert [Health.RECOVERING] * 2 == [health_of(pool, b"any life", name) for name in "ab"]


# --- Whom to ask ---------------------------------------------------------------------------------------


@each_case(
    ("removed_at", "downtime", "is_asked"),
    [
        (None, DOWNTIME, True),
        (None, 10 * T_MAX, True),  # until just now somebody might have written to it
        (BEFORE - T_MAX / 2, DOWNTIME, True),
        (BEFORE - T_MAX / 2, T_MAX, False),
    ],
)
def test_a_backend_that_is_not_configured_any_more(
    removed_at: float | None, downtime: float, is_asked: bool
) -> None:
    """It is asked for what it holds until that has expired; sessions are not placed on it."""
    pool = recalled(remembered(pool_with(UP, removed_at)), backend("a"), downtime=downtime)

    assert (is_asked, {"a"}) == ("b" in pool.possible_holders(b"key"), set(pool.places))


def test_since_when_it_is_removed() -> None:
    """The time of the removal is kept, so that it is forgotten in time."""
    pool = recalled(remembered(pool_with(UP, BEFORE - 1_000.0)), backend("a"))

    assert AFTER - 1_000.0 - DOWNTIME == pool.members["b"].removed_at


def test_a_removed_backend_that_is_configured_again() -> None:
    """It is the one that it was before."""
    pool = recalled(remembered(pool_with(FELL, BEFORE - 1.0)))

    assert (None, Health.RECOVERING) == (pool.members["b"].removed_at, health_of(pool, b"life"))


def test_a_backend_that_has_moved_house() -> None:
    """What it held stayed behind at its former address, which is still asked (design.md 5)."""
    pool = recalled(remembered(pool_with(UP)), backend("a"), backend("b", 42425))

    assert {"a": "a", "b": "b@10.0.0.1:42425"} == pool.places
    assert {"a", "b", "b@10.0.0.1:42425"} == set(pool.possible_holders(b"key"))


def test_a_backend_that_had_moved_house() -> None:
    """It keeps its identity for as long as the one before it is remembered."""
    identity = "b@10.0.0.1:42425"
    moved = replace(backend("b", 42425), identity=identity)
    members = pool_with(UP, removed_at=BEFORE).members | {identity: Member(moved, FELL)}
    memory = remembered(Pool(3, members, ranking_of(members.values()), 2, 10.0))
    pool = recalled(memory, backend("a"), backend("b", 42425))

    assert identity == pool.places["b"]
    assert [Health.UP, Health.RECOVERING] == [health_of(pool, b"life", each) for each in ("b", identity)]


def test_who_has_left_and_comes_back() -> None:
    """A backend that was forgotten missed what was written after that (design.md 5)."""
    departed = {("c", "10.0.0.1:42424"): BEFORE + 500.0}
    memory = remember(pool_with(UP), departed, (), T_MAX, BEFORE, WALL - BEFORE)
    names = (backend("a"), backend("b"), backend("c"))
    soon, late = recalled(memory, *names), recalled(memory, *names, downtime=501.0)

    assert [Health.RECOVERING, Health.UP] == [health_of(pool, b"life", "c") for pool in (soon, late)]
    assert {("c", "10.0.0.1:42424"): AFTER + 400.0} == recall_departed(memory, WALL + DOWNTIME - AFTER)


def test_former_maps_are_asked_in_large_pools() -> None:
    """Where not everybody is asked, those are whom a former map had put the session on (design.md 7.4)."""
    names = [f"s{number}" for number in range(40)]
    members = {name: Member(backend(name), UP) for name in names}
    before = Pool(1, members, ranking_of(members.values()), 2, 10.0)
    kept = {name: member for name, member in members.items() if name not in names[::2]}
    removed = {name: replace(members[name], removed_at=BEFORE) for name in names[::2]}
    after = before.succeeded_by(kept | removed, ranking_of(kept.values()), 2, BEFORE)
    pool = recalled(remembered(after), *(backend(name) for name in names[1::2]))

    for key in (b"key-%d" % number for number in range(20)):
        assert set(before.ranking.preference_list(key, 2)) <= set(pool.possible_holders(key))


@pytest.mark.parametrize("after", [1.0, T_MAX - 1.0])
def test_nobody_s_word_is_good_for_the_time_before(after: float) -> None:
    """A backend may have been restarted while no router was looking, so its 404 proves nothing."""
    pool = recalled(remembered(pool_with(UP)))
    for name in "ab":
        record = observe_success(pool.members[name].record, b"life", AFTER + 0.5, POLICY)
        pool = pool.with_record(name, record, AFTER + 0.5)

    assert not pool.has_always_held("a", b"key", AFTER + after - T_MAX)


def test_maps_are_kept_once() -> None:
    """However often health has changed, a map that was in force all the time is one, T_max long."""
    pool = pool_with(UP)
    for number in range(30):
        pool = pool.with_record("b", FELL if number % 2 == 0 else UP, 100.0 + number)
    (only,) = remembered(pool).maps

    assert (WALL - T_MAX, WALL) == (only.began_at, only.ended_at)


@pytest.mark.parametrize(("downtime", "eras"), [(DOWNTIME, 1), (2 * T_MAX, 0)])
def test_maps_that_matter_no_more(downtime: float, eras: int) -> None:
    """What was put anywhere more than T_max ago has expired."""
    assert eras == len(recalled(remembered(pool_with(UP)), downtime=downtime).eras)


def test_a_pool_of_all_times() -> None:
    """A pool that was never changed can be kept like any other."""
    memory = remembered(replace(pool_with(UP), changed_at=float("-inf")))

    assert memory == read_memory(write_memory(memory))


# --- What else is kept ---------------------------------------------------------------------------------


def test_holes() -> None:
    """What lacked copies still lacks them; what may have been missing anywhere is the start's business."""
    holes = (Hole("the router was started", 1.0), Hole("b went down", BEFORE - 40.0, "b", b"\xfflife"))
    memory = remember(pool_with(FELL), {}, holes, T_MAX, BEFORE, WALL - BEFORE)

    assert (Hole("b went down", AFTER - 40.0 - DOWNTIME, "b", b"\xfflife"),) == recall_holes(
        memory, AFTER, WALL + DOWNTIME - AFTER
    )


def test_a_wall_clock_that_went_backwards() -> None:
    """Nothing has happened in the future: it counts as having happened now."""
    holes = (Hole("b went down", BEFORE - 40.0, "b", b"life"),)
    memory = remember(pool_with(FELL, removed_at=BEFORE), {}, holes, T_MAX, BEFORE, WALL - BEFORE)
    pool = recalled(memory, backend("a"), downtime=-86_400.0)
    (hole,) = recall_holes(memory, AFTER, WALL - 86_400.0 - AFTER)

    assert (AFTER, AFTER) == (pool.members["b"].removed_at, hole.opened_at)


# --- As bytes ------------------------------------------------------------------------------------------

_times = st.floats(0, 4e9)
_texts = st.text(max_size=8)
_lives = st.none() | st.binary(max_size=6).map(lambda token: token.decode("latin-1"))
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
_memories = st.builds(
    Memory,
    _times,
    st.lists(st.builds(KnownBackend, _backends, st.booleans(), _lives, st.none() | _times)).map(tuple),
    st.lists(
        st.builds(
            FormerMap,
            st.dictionaries(_texts, st.floats(0.01, 100), max_size=3),
            st.dictionaries(_texts, _texts, max_size=3),
            st.integers(1, 64),
            _times,
            _times,
        ),
        max_size=3,
    ).map(tuple),
    st.lists(st.builds(DepartedBackend, _texts, _texts, _times), max_size=2).map(tuple),
    st.lists(st.builds(KnownHole, _texts, _times, _texts, _lives), max_size=2).map(tuple),
)


@given(memory=_memories)
def test_written_and_read(memory: Memory) -> None:
    """What is read is what was written."""
    assert memory == read_memory(write_memory(memory))


WRITTEN = write_memory(remembered(pool_with(FELL)))


@each_case("length", range(0, len(WRITTEN), 7))
def test_truncated(length: int) -> None:
    """However little is missing, nothing of it is believed."""
    with pytest.raises(MalformedFile):
        read_memory(WRITTEN[:length])


@each_case("place", range(len(WRITTEN)))
def test_a_flipped_bit(place: int) -> None:
    """One bit anywhere is enough to refuse it."""
    flipped = bytearray(WRITTEN)
    flipped[place] ^= 1

    with pytest.raises(MalformedFile):
        read_memory(bytes(flipped))


@each_case(
    ("written", "sentence"),
    [
        (b"", "foreign or damaged"),
        (b"{}", "foreign or damaged"),
        (WRITTEN.replace(b"format 1", b"format 2"), "has the format 2; this program reads format 1"),
        (WRITTEN + b" ", "wrong checksum"),
    ],
)
def test_what_is_wrong_is_said(written: bytes, sentence: str) -> None:
    """The operator learns whether the file is foreign, from another version, or damaged."""
    with pytest.raises(MalformedFile, match=sentence):
        read_memory(written)
