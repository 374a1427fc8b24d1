"""The pool: snapshots, who acts, and who may be ejected (design.md 5, 7)."""

from dataclasses import replace
from itertools import combinations

import pytest

from partitioner.errors import EmptyPool
from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.health import (
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    newcomer,
    observe_success,
    observe_symptom,
)
from partitioner.membership.pool import Member, Pool, first_pool
from partitioner.placement.rendezvous import Ranking
from tests.identities import A, B
from tests.tables import each_case

POLICY = HealthPolicy(fall=3, rise=2, max_down_share=0.5)
INCARNATION = b"one incarnation"
ME = BackendId("me")
NAMES = ("a", "b", "c", "d")
KEYS = [b"key-%d" % number for number in range(50)]
NOW = 1_000.0
T_MAX = 3_600.0

UP_RECORD = HealthRecord(health=Health.UP, since=0.0, incarnation=INCARNATION)
DOWN_RECORD = HealthRecord(health=Health.DOWN, since=0.0)
RECOVERING_RECORD = HealthRecord(health=Health.RECOVERING, since=0.0, incarnation=INCARNATION)


def backend(name: str, intent: Intent = Intent.READY, weight: float = 1.0) -> Backend:
    return Backend(name, Address("127.0.0.1", 42424), weight, intent)


def pool_of(
    members: dict[str, HealthRecord],
    maint: frozenset[str] = frozenset(),
    *,
    drain: frozenset[str] = frozenset(),
    copies: int = 1,
) -> Pool:
    """A pool of equal weights, by name and record, that never changed before."""
    ranking = Ranking(dict.fromkeys(members, 1.0))
    intents = dict.fromkeys(drain, Intent.DRAIN) | dict.fromkeys(maint, Intent.MAINT)
    return Pool(
        7,
        {
            BackendId(name): Member(backend(name, intents.get(name, Intent.READY)), record)
            for name, record in members.items()
        },
        ranking,
        copies,
    )


def all_up(names: tuple[str, ...] = NAMES, maint: frozenset[str] = frozenset(), *, copies: int = 1) -> Pool:
    return pool_of(dict.fromkeys(names, UP_RECORD), maint, copies=copies)


def primary_of(pool: Pool, key: bytes) -> str | None:
    acting = pool.acting_set(key)
    return None if acting is None else acting.primary


def failing(symptom: Symptom, times: int) -> HealthRecord:
    """The record of a backend that was UP and could not be spared."""
    record = observe_success(newcomer(POLICY), INCARNATION, 0.0, POLICY)
    for number in range(times):
        record = observe_symptom(record, symptom, number * POLICY.timeout, POLICY, may_fall=False)
    return record


# --- The first snapshot -----------------------------------------------------------------------------


def test_first_pool_is_epoch_0() -> None:
    """The count of snapshots begins with the first one."""
    assert first_pool([backend("a")], POLICY).epoch == 0


def test_first_pool_knows_nothing_of_anybody() -> None:
    """At the router's start no server is UP, and each is a newcomer (design.md 5)."""
    pool = first_pool([backend(name) for name in NAMES], POLICY)

    assert {name: newcomer(POLICY) for name in NAMES} == {
        name: member.record for name, member in pool.members.items()
    }
    assert pool.eligible == frozenset()


def test_unknown_backends_hold_their_places() -> None:
    """No session is placed elsewhere before it is known that their server is down."""
    pool = first_pool([backend(name) for name in NAMES], POLICY)

    assert primary_of(pool, b"key") == pool.first_choice(b"key").name


def test_first_pool_keeps_the_order_of_the_configuration() -> None:
    """Lists of backends look as the operator wrote them."""
    assert list(first_pool([backend(name) for name in "cab"], POLICY).members) == ["c", "a", "b"]


def test_first_pool_places_by_weight() -> None:
    """The configured weights place the sessions (design.md 4)."""
    pool = first_pool([backend("a", weight=1.0), backend("b", weight=3.0)], POLICY)

    assert Ranking({"a": 1.0, "b": 3.0}).weights == pool.ranking.weights


def test_maint_backends_are_placed_too() -> None:
    """Intent filters the preference list, it does not change it (design.md 4)."""
    pool = first_pool([backend("a"), backend("b", Intent.MAINT)], POLICY)

    assert {"a", "b"} == set(pool.ranking.preference_list(b"key"))


# --- The next snapshot ------------------------------------------------------------------------------

CHANGES = [
    (UP_RECORD, DOWN_RECORD, 1),
    (DOWN_RECORD, UP_RECORD, 1),
    (UP_RECORD, replace(UP_RECORD, incarnation=b"another incarnation"), 1),
    (UP_RECORD, replace(UP_RECORD, failures=2, symptom=Symptom.TIMED_OUT), 0),
    (UP_RECORD, replace(UP_RECORD, successes=9), 0),
]


@each_case(("before", "after", "step"), CHANGES)
def test_epoch_counts_changes_of_health_and_incarnation(
    before: HealthRecord, after: HealthRecord, step: int
) -> None:
    """A new epoch begins with a change of health or incarnation (design.md 7.4)."""
    pool = pool_of({"a": before, "b": UP_RECORD})

    assert pool.epoch + step == pool.with_record(A, after, NOW).epoch


def test_with_record_changes_one_member() -> None:
    """The next snapshot has the new record, and all else as it was."""
    pool = all_up()
    later = pool.with_record(B, DOWN_RECORD, NOW)

    assert pool.members | {"b": Member(backend("b"), DOWN_RECORD)} == later.members


def test_a_snapshot_does_not_change() -> None:
    """A request keeps the snapshot that it took: what comes later does not touch it (design.md 5)."""
    pool = all_up()
    expected = (7, {name: Member(backend(name), UP_RECORD) for name in NAMES}, frozenset(NAMES))
    pool.with_record(B, DOWN_RECORD, NOW)

    assert expected == (pool.epoch, pool.members, pool.eligible)


# --- Who acts ---------------------------------------------------------------------------------------


@each_case("key", KEYS)
def test_acting_primary_is_the_first_choice_if_all_are_well(key: bytes) -> None:
    """The acting primary is the first READY and UP server of the preference list (design.md 7)."""
    pool = all_up()

    assert pool.ranking.preference_list(key)[0] == primary_of(pool, key)


@each_case("out", [set(names) for size in range(5) for names in combinations(NAMES, size)])
def test_acting_primary_skips_down(out: set[str]) -> None:
    """A server that is DOWN is skipped, whatever its place in the list (design.md 7)."""
    pool = pool_of({name: DOWN_RECORD if name in out else UP_RECORD for name in NAMES})
    for key in KEYS:
        expected = next((name for name in pool.ranking.preference_list(key) if name not in out), None)

        assert expected == primary_of(pool, key)


@each_case("out", [set(names) for size in range(5) for names in combinations(NAMES, size)])
def test_acting_primary_skips_maint(out: set[str]) -> None:
    """A server in MAINT is not spoken to, however well it is (design.md 5)."""
    pool = all_up(maint=frozenset(out))
    for key in KEYS:
        expected = next((name for name in pool.ranking.preference_list(key) if name not in out), None)

        assert expected == primary_of(pool, key)


def test_maint_and_down_together() -> None:
    """Both have to be right: READY and UP (design.md 7)."""
    pool = pool_of({"a": UP_RECORD, "b": DOWN_RECORD, "c": UP_RECORD}, maint=frozenset({"b", "c"}))

    assert frozenset({"a"}) == pool.eligible


def test_acting_primary_returns_with_its_server() -> None:
    """A server that comes back gets its own sessions back, and no others (design.md 4)."""
    pool = all_up()
    down_and_up = pool.with_record(A, DOWN_RECORD, NOW).with_record(A, UP_RECORD, NOW)

    assert [primary_of(pool, key) for key in KEYS] == [primary_of(down_and_up, key) for key in KEYS]


@each_case("out", NAMES)
def test_preference_list_does_not_change_with_health(out: BackendId) -> None:
    """Health never changes the preference list: it only filters it (design.md 4)."""
    pool = all_up()
    ill = pool.with_record(out, DOWN_RECORD, NOW)
    lists = [pool.ranking.preference_list(key) for key in KEYS]

    assert lists == [ill.ranking.preference_list(key) for key in KEYS]


@each_case("out", NAMES)
def test_first_choice_does_not_change_with_health(out: BackendId) -> None:
    """The first choice is the first READY server of the list, in whatever health."""
    pool = all_up().with_record(out, DOWN_RECORD, NOW)

    assert [pool.ranking.preference_list(key)[0] for key in KEYS] == [
        pool.first_choice(key).name for key in KEYS
    ]


def test_first_choice_skips_maint() -> None:
    """A server in MAINT takes no sessions, so it is no session's first choice (design.md 5)."""
    pool = all_up(maint=frozenset({"a", "b"}))
    expected = [pool.ranking.first_choice(key, {"c", "d"}) for key in KEYS]

    assert expected == [pool.first_choice(key).name for key in KEYS]


def test_first_choice_of_nobody() -> None:
    """With every server in MAINT there is no first choice."""
    with pytest.raises(EmptyPool):
        all_up(maint=frozenset(NAMES)).first_choice(b"key")


# --- Who may be ejected -----------------------------------------------------------------------------

TIMING_OUT = failing(Symptom.TIMED_OUT, times=3)
ONE_SLOW_PROBE = failing(Symptom.TIMED_OUT, times=1)
REFUSING = failing(Symptom.REFUSED, times=3)
UNREACHABLE = failing(Symptom.UNREACHABLE, times=3)

# The pool's other servers, and whether one more may be ejected because it times out.
SHARES = [
    ("alone", [], False),  # 1 of 1
    ("of two", [UP_RECORD], True),  # 1 of 2
    ("the second of two", [TIMING_OUT], False),  # 2 of 2
    ("of three", [UP_RECORD, UP_RECORD], True),  # 1 of 3
    ("the second of three", [TIMING_OUT, UP_RECORD], False),  # 2 of 3
    ("the second of four", [TIMING_OUT, UP_RECORD, UP_RECORD], True),  # 2 of 4
    ("the third of four", [TIMING_OUT, TIMING_OUT, UP_RECORD], False),  # 3 of 4
    (
        "the second of three, by another way",
        [UNREACHABLE, UP_RECORD],
        False,
    ),  # no way there: also the network
    ("others once slow", [ONE_SLOW_PROBE, ONE_SLOW_PROBE], True),  # a slow probe is not yet a time-out
    ("others refusing", [REFUSING, REFUSING], True),  # they are gone; the network is well
]


@each_case(("case", "others", "expected"), SHARES, ids=[case for case, _, _ in SHARES])
def test_may_fall_for_a_time_out(case: str, others: list[HealthRecord], expected: bool) -> None:
    """If more than max_down_share of the READY servers time out, no more are ejected (design.md 5)."""
    pool = pool_of({ME: UP_RECORD} | {f"other-{number}": record for number, record in enumerate(others)})

    assert (expected, expected) == (
        pool.may_fall(ME, Symptom.TIMED_OUT, POLICY),
        pool.may_fall(ME, Symptom.UNREACHABLE, POLICY),
    )


def test_ejected_servers_count_as_timing_out() -> None:
    """Who was ejected for a time-out still times out, and counts (design.md 5)."""
    ejected = observe_symptom(TIMING_OUT, Symptom.TIMED_OUT, 9.0, POLICY, may_fall=True)
    pool = pool_of({ME: UP_RECORD, "b": ejected, "c": UP_RECORD})

    assert not ejected.is_up
    assert not pool.may_fall(ME, Symptom.TIMED_OUT, POLICY)


def test_failures_of_a_former_incarnation_are_not_counted() -> None:
    """A server that restarted and is slow once has not timed out three times (design.md 5)."""
    restarted = observe_symptom(
        failing(Symptom.TIMED_OUT, times=2), Symptom.RESTARTED, 8.0, POLICY, may_fall=True
    )
    slow_once = observe_symptom(restarted, Symptom.TIMED_OUT, 9.0, POLICY, may_fall=True)
    pool = pool_of({ME: UP_RECORD, "b": slow_once})

    assert pool.may_fall(ME, Symptom.TIMED_OUT, POLICY)


@each_case("symptom", [Symptom.REFUSED, Symptom.BROKEN, Symptom.RESTARTED])
def test_proof_always_counts(symptom: Symptom) -> None:
    """A refused connection or a changed incarnation always counts, however many are out (design.md 5)."""
    pool = pool_of({ME: UP_RECORD, "b": TIMING_OUT, "c": TIMING_OUT})

    assert pool.may_fall(ME, symptom, POLICY)


def test_maint_servers_are_not_counted() -> None:
    """The share is one of the READY servers (design.md 5)."""
    pool = pool_of(
        {ME: UP_RECORD, "b": TIMING_OUT, "c": UP_RECORD, "d": UP_RECORD}, maint=frozenset({"c", "d"})
    )

    assert not pool.may_fall(ME, Symptom.TIMED_OUT, POLICY)


def test_maint_servers_that_time_out_are_not_counted() -> None:
    """Nor does it count what is seen of those that are not spoken to (design.md 5)."""
    pool = pool_of({ME: UP_RECORD, "b": UP_RECORD, "c": TIMING_OUT, "d": TIMING_OUT}, maint=frozenset("cd"))

    assert pool.may_fall(ME, Symptom.TIMED_OUT, POLICY)


@each_case(("share", "expected"), [(0.0, False), (0.33, False), (0.34, True), (1.0, True)])
def test_share_follows_the_policy(share: float, expected: bool) -> None:
    """`max_down_share` is the operator's number (design.md 9.2): here for one of three."""
    pool = all_up((ME, "b", "c"))

    assert expected is pool.may_fall(ME, Symptom.TIMED_OUT, HealthPolicy(max_down_share=share))
