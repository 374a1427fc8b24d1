"""The health machine: its table, cell by cell, and what leads into each cell (design.md 5)."""

from itertools import product

from partitioner.membership.health import (
    TRANSITIONS,
    Health,
    HealthPolicy,
    Signal,
    Symptom,
    newcomer,
    observe_success,
    observe_symptom,
)
from tests.membership.healths import (
    DOWN,
    INCARNATION,
    OTHER_INCARNATION,
    POLICY,
    RECOVERING,
    UNKNOWN,
    UP,
    down_since,
    fail,
    restart,
    succeed,
    up_since,
)
from tests.tables import each_case

EXPECTED_TRANSITIONS: dict[tuple[Health, Signal], Health] = {
    (UNKNOWN, Signal.FELL): DOWN,
    (UNKNOWN, Signal.RESTARTED): UNKNOWN,
    (UNKNOWN, Signal.ROSE): UP,
    (UNKNOWN, Signal.ROSE_IN_DOUBT): RECOVERING,
    (UNKNOWN, Signal.DOUBTED): UNKNOWN,
    (UNKNOWN, Signal.WAITED): UNKNOWN,
    (UP, Signal.FELL): DOWN,
    (UP, Signal.RESTARTED): DOWN,
    (UP, Signal.ROSE): UP,
    (UP, Signal.ROSE_IN_DOUBT): UP,
    (UP, Signal.DOUBTED): RECOVERING,
    (UP, Signal.WAITED): UP,
    (DOWN, Signal.FELL): DOWN,
    (DOWN, Signal.RESTARTED): DOWN,
    (DOWN, Signal.ROSE): UP,
    (DOWN, Signal.ROSE_IN_DOUBT): RECOVERING,
    (DOWN, Signal.DOUBTED): DOWN,
    (DOWN, Signal.WAITED): DOWN,
    (RECOVERING, Signal.FELL): DOWN,
    (RECOVERING, Signal.RESTARTED): DOWN,
    (RECOVERING, Signal.ROSE): UP,
    (RECOVERING, Signal.ROSE_IN_DOUBT): RECOVERING,
    (RECOVERING, Signal.DOUBTED): RECOVERING,
    (RECOVERING, Signal.WAITED): UP,
}

# What an exchange or a probe can show of a backend that is not well, except that it restarted.
FAILURES = [symptom for symptom in Symptom if symptom is not Symptom.RESTARTED]


# --- The table --------------------------------------------------------------------------------------


def test_table_is_complete() -> None:
    """Every state has an answer to every signal."""
    assert set(product(Health, Signal)) == set(TRANSITIONS)


@each_case(("health", "signal"), product(Health, Signal))
def test_cell(health: Health, signal: Signal) -> None:
    """Each cell of the table leads where the design says."""
    assert EXPECTED_TRANSITIONS[health, signal] is TRANSITIONS[health, signal]


def test_up_fell() -> None:
    """`fall` failures in a row take a backend DOWN, from that moment on."""
    record = fail(up_since(100.0), 200.0, times=3)

    assert (record.health, record.since) == (DOWN, 200.0)


def test_up_restarted() -> None:
    """A canary that is gone takes a backend DOWN at once: it has a new, empty incarnation."""
    record = restart(up_since(100.0), 200.0)

    assert (record.health, record.since, record.incarnation) == (DOWN, 200.0, None)


def test_up_rose() -> None:
    """A backend that is UP stays so with every success, and has been so since it came."""
    record = succeed(up_since(100.0), 200.0, times=5)

    assert (record.health, record.since, record.incarnation) == (UP, 100.0, INCARNATION)


def test_down_fell() -> None:
    """A backend that is DOWN stays so with every failure, and has been so since it fell."""
    record = fail(down_since(100.0), 200.0, times=5)

    assert (record.health, record.since) == (DOWN, 100.0)


def test_down_restarted() -> None:
    """A backend that is DOWN and turns out to have restarted is still DOWN, and its old incarnation is
    forgotten."""
    record = restart(down_since(100.0), 200.0)

    assert (record.health, record.since, record.incarnation) == (DOWN, 100.0, None)


def test_down_rose() -> None:
    """`rise` successes in a row bring a backend UP, from that moment on."""
    record = succeed(down_since(100.0), 200.0, times=2)

    assert (record.health, record.since, record.incarnation) == (UP, 200.0, INCARNATION)


def test_success_of_a_healthy_backend_is_no_news() -> None:
    """A probe that finds all well leaves the record as it is, so that no new snapshot is needed."""
    record = up_since(100.0)

    assert record == succeed(record, 200.0)


def test_unknown_fell() -> None:
    """A backend that never stood is DOWN after `fall` failures, and that was no fall: it is not held down."""
    record = fail(newcomer(POLICY), 100.0, times=3)
    back = succeed(succeed(record, 102.0), 104.0)
    fallen = fail(back, 106.0, times=3)

    assert (record.health, back.health, fallen.health) == (DOWN, UP, DOWN)
    assert fallen.held_until == fallen.since


def test_unknown_until_the_verdict() -> None:
    """Fewer failures conclude nothing: at the router's start a slow answer is not a dead server."""
    assert fail(newcomer(POLICY), 100.0, times=2).health is UNKNOWN


# --- Fall -------------------------------------------------------------------------------------------


@each_case("symptom", FAILURES)
def test_fewer_failures_than_fall_change_nothing(symptom: Symptom) -> None:
    """One failure, or two, may be anything (design.md 5: `fall` 3)."""
    assert fail(up_since(0.0), 1.0, times=2, symptom=symptom).is_up


@each_case("symptom", FAILURES)
def test_fall_failures_in_a_row(symptom: Symptom) -> None:
    """The third failure in a row is believed, whatever its kind (design.md 5)."""
    record = fail(up_since(0.0), 1.0, times=3, symptom=symptom)

    assert (False, symptom) == (record.is_up, record.symptom)


def test_failures_of_different_kinds_make_one_row() -> None:
    """A backend that fails differently every time fails nevertheless."""
    record = up_since(0.0)
    for now, symptom in enumerate((Symptom.REFUSED, Symptom.TIMED_OUT, Symptom.BROKEN)):
        record = fail(record, float(now), symptom=symptom)

    assert not record.is_up


@each_case("symptom", [Symptom.TIMED_OUT, Symptom.UNREACHABLE, Symptom.BROKEN])
def test_many_failures_in_one_moment_are_one(symptom: Symptom) -> None:
    """Many exchanges see the same event: within one time-out of the last failure no other is counted."""
    record = up_since(0.0)
    for hundredth in range(100):
        record = fail(record, 1.0 + hundredth / 100, symptom=symptom)

    assert (True, 1) == (record.is_up, record.failures)


def test_the_moment_ends_one_time_out_after_the_failure_that_counted() -> None:
    """Failures that go on are counted once in each time-out, so that three take two time-outs to fall."""
    record = up_since(0.0)
    for tenth in range(20):
        record = fail(record, 1.0 + tenth / 10)

    assert (True, False) == (record.is_up, fail(record, 3.0).is_up)


def test_every_refused_connection_counts() -> None:
    """A port that is closed is closed, and every exchange that finds it so is proof (design.md 5)."""
    record = up_since(0.0)
    for _ in range(3):
        record = observe_symptom(record, Symptom.REFUSED, 1.0, POLICY, may_fall=True)

    assert not record.is_up


def test_success_breaks_the_row() -> None:
    """Only failures in a row count: a success between them starts the count anew (design.md 5)."""
    record = fail(up_since(0.0), 1.0, times=2)
    record = succeed(record, 2.0)

    assert fail(record, 3.0, times=2).is_up


def test_a_backend_that_cannot_be_spared_stays_up() -> None:
    """While the pool cannot spare it, a backend is not ejected (design.md 5, max_down_share)."""
    assert fail(up_since(0.0), 1.0, times=10, may_fall=False).is_up


def test_a_backend_that_can_be_spared_again_falls_at_once() -> None:
    """What it failed at before counts: one more failure ejects it."""
    record = fail(up_since(0.0), 1.0, times=3, may_fall=False)

    assert not fail(record, 2.0).is_up


def test_fall_follows_the_policy() -> None:
    """`fall` is the operator's number (design.md 9.2)."""
    impatient = HealthPolicy(fall=1)
    record = observe_symptom(up_since(0.0), Symptom.REFUSED, 1.0, impatient, may_fall=True)

    assert not record.is_up


# --- Restart ----------------------------------------------------------------------------------------


def test_another_incarnation_is_a_restart() -> None:
    """Another token than the known one is a restart, noticed by a probe that succeeds (design.md 5)."""
    record = observe_success(up_since(0.0), OTHER_INCARNATION, 1.0, POLICY)

    assert (record.health, record.symptom) == (DOWN, Symptom.RESTARTED)


def test_restart_needs_no_row() -> None:
    """A changed incarnation always counts, even when the pool cannot spare the backend (design.md 5)."""
    record = observe_symptom(up_since(0.0), Symptom.RESTARTED, 1.0, POLICY, may_fall=False)

    assert not record.is_up


def test_one_success_after_a_restart_is_enough() -> None:
    """What it had is gone either way: as soon as it holds the new canary, it is UP."""
    record = succeed(restart(up_since(0.0), 1.0), 1.5, incarnation=OTHER_INCARNATION)

    assert (record.health, record.since, record.incarnation) == (UP, 1.5, OTHER_INCARNATION)


def test_failures_before_a_restart_are_forgotten() -> None:
    """Its new incarnation begins without a record of failures."""
    record = restart(fail(up_since(0.0), 1.0, times=2), 2.0)
    record = succeed(record, 3.0, incarnation=OTHER_INCARNATION)

    assert fail(record, 4.0, times=2).is_up
