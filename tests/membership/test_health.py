"""The health machine: its table, cell by cell, and what leads into each cell (design.md 5)."""

from itertools import product

import pytest

from partitioner.membership.health import (
    TRANSITIONS,
    Health,
    HealthPolicy,
    HealthRecord,
    Signal,
    Symptom,
    cast_doubt,
    dispel_doubt,
    newcomer,
    observe_success,
    observe_symptom,
    put_aside,
)

UP, DOWN = Health.UP, Health.DOWN
UNKNOWN, RECOVERING = Health.UNKNOWN, Health.RECOVERING

POLICY = HealthPolicy(fall=3, rise=2, hold_down=10.0)
LIFE = b"one life"
OTHER_LIFE = b"another life"

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


def succeed(record: HealthRecord, now: float, times: int = 1, life: bytes = LIFE) -> HealthRecord:
    for _ in range(times):
        record = observe_success(record, life, now, POLICY)
    return record


def fail(
    record: HealthRecord,
    now: float,
    times: int = 1,
    symptom: Symptom = Symptom.TIMED_OUT,
    *,
    may_fall: bool = True,
) -> HealthRecord:
    """Fail some times in a row, one time-out after the other, the last time at `now`."""
    for earlier in reversed(range(times)):
        record = observe_symptom(record, symptom, now - earlier * POLICY.timeout, POLICY, may_fall=may_fall)
    return record


def restart(record: HealthRecord, now: float) -> HealthRecord:
    return observe_symptom(record, Symptom.RESTARTED, now, POLICY, may_fall=True)


def up_since(now: float) -> HealthRecord:
    return succeed(newcomer(POLICY), now)


def down_since(now: float) -> HealthRecord:
    """A backend that had a long good time before it fell."""
    return fail(up_since(now - 10_000.0), now, times=3)


# --- The table --------------------------------------------------------------------------------------


def test_table_is_complete() -> None:
    """Every state has an answer to every signal."""
    assert set(product(Health, Signal)) == set(TRANSITIONS)


@pytest.mark.parametrize(("health", "signal"), list(product(Health, Signal)))
def test_cell(health: Health, signal: Signal) -> None:
    """Each cell of the table leads where the design says."""
    assert EXPECTED_TRANSITIONS[health, signal] is TRANSITIONS[health, signal]


def test_up_fell() -> None:
    """`fall` failures in a row take a backend DOWN, from that moment on."""
    record = fail(up_since(100.0), 200.0, times=3)

    assert (record.health, record.since) == (DOWN, 200.0)


def test_up_restarted() -> None:
    """A canary that is gone takes a backend DOWN at once: it has a new, empty life."""
    record = restart(up_since(100.0), 200.0)

    assert (record.health, record.since, record.life) == (DOWN, 200.0, None)


def test_up_rose() -> None:
    """A backend that is UP stays so with every success, and has been so since it came."""
    record = succeed(up_since(100.0), 200.0, times=5)

    assert (record.health, record.since, record.life) == (UP, 100.0, LIFE)


def test_down_fell() -> None:
    """A backend that is DOWN stays so with every failure, and has been so since it fell."""
    record = fail(down_since(100.0), 200.0, times=5)

    assert (record.health, record.since) == (DOWN, 100.0)


def test_down_restarted() -> None:
    """A backend that is DOWN and turns out to have restarted is still DOWN, and its old life is forgotten."""
    record = restart(down_since(100.0), 200.0)

    assert (record.health, record.since, record.life) == (DOWN, 100.0, None)


def test_down_rose() -> None:
    """`rise` successes in a row bring a backend UP, from that moment on."""
    record = succeed(down_since(100.0), 200.0, times=2)

    assert (record.health, record.since, record.life) == (UP, 200.0, LIFE)


def test_success_of_a_healthy_backend_is_no_news() -> None:
    """A probe that finds all well leaves the record as it is, so that no new snapshot is needed."""
    record = up_since(100.0)

    assert record == succeed(record, 200.0)


# --- Fall -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symptom", FAILURES)
def test_fewer_failures_than_fall_change_nothing(symptom: Symptom) -> None:
    """One failure, or two, may be anything (design.md 5: `fall` 3)."""
    assert fail(up_since(0.0), 1.0, times=2, symptom=symptom).is_up


@pytest.mark.parametrize("symptom", FAILURES)
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


@pytest.mark.parametrize("symptom", [Symptom.TIMED_OUT, Symptom.UNREACHABLE, Symptom.BROKEN])
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


# --- Rise -------------------------------------------------------------------------------------------


def test_fewer_successes_than_rise_change_nothing() -> None:
    """One success after a fall may be luck (design.md 5: `rise` 2)."""
    assert not succeed(down_since(0.0), 1.0).is_up


def test_failure_breaks_the_row_of_successes() -> None:
    """Only successes in a row count."""
    record = succeed(down_since(0.0), 1.0)
    record = fail(record, 2.0)

    assert not succeed(record, 3.0).is_up


def test_return_clears_the_symptom() -> None:
    """A backend that is UP has nothing wrong with it."""
    assert succeed(down_since(0.0), 1.0, times=2).symptom is None


def test_served_life_is_the_one_in_which_it_was_last_up() -> None:
    """A life counts as served from the moment that its server is UP in it, and until it is UP in another."""
    record = up_since(0.0)
    restarted = succeed(restart(record, 1.0), 2.0, life=OTHER_LIFE)

    assert [
        record.served_life,
        restart(record, 1.0).served_life,
        restarted.served_life,
    ] == [LIFE, LIFE, OTHER_LIFE]


def test_a_restart_while_down_is_a_return_with_another_life() -> None:
    """A backend that was restarted while nobody could ask it comes back with the life that it has now."""
    record = succeed(down_since(0.0), 1.0, times=2, life=OTHER_LIFE)

    assert (record.health, record.life) == (UP, OTHER_LIFE)


def test_newcomer_is_down() -> None:
    """Nobody is UP before a canary was stored and read back (design.md 5)."""
    assert not newcomer(POLICY).is_up


def test_newcomer_needs_one_success() -> None:
    """At the router's start a server that answers is alive: one success is enough."""
    record = succeed(newcomer(POLICY), 7.0)

    assert (record.health, record.since, record.life) == (UP, 7.0, LIFE)


def test_newcomer_that_fails_first_needs_rise_successes() -> None:
    """A newcomer's advantage ends with its first failure."""
    record = fail(newcomer(POLICY), 1.0)
    after_one = succeed(record, 2.0)
    after_two = succeed(after_one, 3.0)

    assert (after_one.is_up, after_two.is_up) == (False, True)


# --- Restart ----------------------------------------------------------------------------------------


def test_another_life_is_a_restart() -> None:
    """Another token than the known one is a restart, noticed by a probe that succeeds (design.md 5)."""
    record = observe_success(up_since(0.0), OTHER_LIFE, 1.0, POLICY)

    assert (record.health, record.symptom) == (DOWN, Symptom.RESTARTED)


def test_restart_needs_no_row() -> None:
    """A changed life always counts, even when the pool cannot spare the backend (design.md 5)."""
    record = observe_symptom(up_since(0.0), Symptom.RESTARTED, 1.0, POLICY, may_fall=False)

    assert not record.is_up


def test_one_success_after_a_restart_is_enough() -> None:
    """What it had is gone either way: as soon as it holds the new canary, it is UP."""
    record = succeed(restart(up_since(0.0), 1.0), 1.5, life=OTHER_LIFE)

    assert (record.health, record.since, record.life) == (UP, 1.5, OTHER_LIFE)


def test_failures_before_a_restart_are_forgotten() -> None:
    """Its new life begins without a record of failures."""
    record = restart(fail(up_since(0.0), 1.0, times=2), 2.0)
    record = succeed(record, 3.0, life=OTHER_LIFE)

    assert fail(record, 4.0, times=2).is_up


# --- Hold-down --------------------------------------------------------------------------------------


def fall_and_return(record: HealthRecord, now: float) -> tuple[HealthRecord, float]:
    """Fall at `now`, then answer every probe, one each second; how long it took to be UP again."""
    record = fail(record, now, times=3)
    waited = 0.0
    while not record.is_up:
        waited += 1.0
        record = succeed(record, now + waited)
    return record, waited


def test_first_return_needs_no_hold_down() -> None:
    """None the first time: two good probes and it is back (design.md 5)."""
    _, waited = fall_and_return(up_since(0.0), 1_000.0)

    assert waited == 2.0


def test_hold_down_doubles_up_to_five_minutes() -> None:
    """Then 10 s, doubling to 5 min, for a server that flaps (design.md 5)."""
    record, now = up_since(0.0), 1_000.0
    waits = []
    for _ in range(9):
        record, waited = fall_and_return(record, now)
        waits.append(waited)
        now += waited + 5.0

    assert waits == [2.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]


def test_hold_down_of_a_server_that_flaps_for_a_week() -> None:
    """However often it falls, it waits five minutes, and nothing overflows (design.md 5)."""
    record, now = up_since(0.0), 1_000.0
    for _ in range(2_000):
        record = fail(record, now, times=3)
        now += 300.0
        record = succeed(record, now, times=2)
        now += 5.0
    before = fail(record, now, times=3)

    assert (
        succeed(before, now + 299.0, times=2).is_up,
        succeed(before, now + 300.0, times=2).is_up,
    ) == (False, True)


def test_hold_down_is_forgotten_after_a_long_good_time() -> None:
    """Five minutes UP, the longest hold-down, and a server begins with a clean sheet."""
    record, _ = fall_and_return(up_since(0.0), 1_000.0)
    record, _ = fall_and_return(record, 1_010.0)
    assert record.since == 1_020.0

    _, waited = fall_and_return(record, 1_020.0 + 300.0)

    assert waited == 2.0


def test_hold_down_is_remembered_for_less_than_that() -> None:
    """A second less, and it still flaps."""
    record, _ = fall_and_return(up_since(0.0), 1_000.0)
    record, _ = fall_and_return(record, 1_010.0)

    _, waited = fall_and_return(record, 1_020.0 + 299.0)

    assert waited == 20.0


def test_hold_down_ends_with_the_first_success_after_it() -> None:
    """Successes during the hold-down count, but bring nobody UP before its end."""
    record, _ = fall_and_return(up_since(0.0), 1_000.0)
    record = fail(record, 1_010.0, times=3)
    during = succeed(record, 1_019.9, times=50)
    after = succeed(during, 1_020.0)

    assert (during.is_up, after.is_up) == (False, True)


def test_failure_during_the_hold_down_costs_the_successes() -> None:
    """After the hold-down, `rise` successes in a row are still needed."""
    record, _ = fall_and_return(up_since(0.0), 1_000.0)
    record = fail(record, 1_010.0, times=3)
    record = succeed(record, 1_012.0, times=5)
    record = fail(record, 1_015.0)
    after_one = succeed(record, 1_030.0)
    after_two = succeed(after_one, 1_032.0)

    assert (after_one.is_up, after_two.is_up) == (False, True)


def test_restarts_in_a_row_are_flapping() -> None:
    """A hold-down comes before any return, a restarted server's too: none the first time, then 10 s."""
    record = succeed(restart(up_since(0.0), 1_000.0), 1_000.0, life=b"2")
    first_return = record.since
    record = restart(record, 1_005.0)
    early = succeed(record, 1_014.0, life=b"3")
    late = succeed(record, 1_015.0, life=b"3")

    assert (first_return, early.is_up, late.is_up) == (1_000.0, False, True)


def test_hold_down_follows_the_policy() -> None:
    """`hold_down` is the operator's number (design.md 9.2)."""
    policy = HealthPolicy(fall=1, rise=1, hold_down=30.0)
    record = observe_success(newcomer(policy), LIFE, 0.0, policy)
    for now in (1.0, 2.0):
        record = observe_symptom(record, Symptom.REFUSED, now, policy, may_fall=True)
        record = observe_success(record, LIFE, now, policy)
    early = observe_success(record, LIFE, 31.9, policy)
    late = observe_success(record, LIFE, 32.0, policy)

    assert (early.is_up, late.is_up) == (False, True)


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


# --- Doubt ------------------------------------------------------------------------------------------

T_MAX = 3_600.0


def in_doubt_since(now: float) -> HealthRecord:
    """A backend that is UP, and of which it is not known any more what it missed."""
    return cast_doubt(up_since(now - 100.0), now + T_MAX, LIFE, now)


def test_up_doubted() -> None:
    """A backend whose marks were dropped answers, and is not read from that moment on (design.md 7.5)."""
    record = in_doubt_since(200.0)

    assert (record.health, record.since, record.life) == (RECOVERING, 200.0, LIFE)


def test_recovering_answers_and_is_not_up() -> None:
    """RECOVERING is written to, and read for nothing (design.md 7.5)."""
    record = in_doubt_since(200.0)

    assert (record.answers, record.is_up) == (True, False)


def test_recovering_waited() -> None:
    """After T_max whatever it missed has expired: it is UP with the next success (design.md 7.5)."""
    record = in_doubt_since(200.0)
    early = succeed(record, 200.0 + T_MAX - 0.1, times=9)
    late = succeed(early, 200.0 + T_MAX)

    assert (RECOVERING, UP) == (early.health, late.health)
    assert (late.since, late.life) == (200.0 + T_MAX, LIFE)


def test_recovering_fell() -> None:
    """A backend in doubt falls like any other, after `fall` failures."""
    record = fail(in_doubt_since(200.0), 300.0, times=3)

    assert (record.health, record.since) == (DOWN, 300.0)


def test_recovering_fell_and_rose() -> None:
    """Doubt outlives a fall: in the life that is doubted it returns as RECOVERING."""
    record = succeed(fail(in_doubt_since(200.0), 300.0, times=3), 310.0, times=2)

    assert (record.health, record.since) == (RECOVERING, 310.0)


def test_recovering_fell_and_rose_too_late_for_doubt() -> None:
    """Once whatever it missed has expired there is nothing to doubt any more."""
    record = fail(in_doubt_since(200.0), 300.0, times=3)

    assert succeed(record, 200.0 + T_MAX, times=2).is_up


def test_recovering_restarted() -> None:
    """A new life is empty, and there is nothing to doubt: DOWN, then UP in it (design.md 7.5)."""
    restarted = restart(in_doubt_since(200.0), 300.0)
    record = succeed(restarted, 301.0, life=OTHER_LIFE)

    assert (DOWN, UP) == (restarted.health, record.health)


def test_recovering_with_another_life() -> None:
    """A probe that finds another life in a backend in doubt has seen its restart, too."""
    assert observe_success(in_doubt_since(200.0), OTHER_LIFE, 300.0, POLICY).health is DOWN


def test_doubt_about_one_life_does_not_touch_the_next() -> None:
    """A backend that was replaced while it was DOWN returns empty: UP, for it missed nothing of its own."""
    record = succeed(fail(in_doubt_since(200.0), 300.0, times=3), 310.0, times=2, life=OTHER_LIFE)

    assert record.is_up


def test_unknown_rose_in_doubt() -> None:
    """What was not UP when the router was restarted returns as RECOVERING in the life that is doubted."""
    doubted = cast_doubt(newcomer(POLICY), T_MAX, LIFE, 0.0)

    assert (UNKNOWN, RECOVERING, UP) == (
        doubted.health,
        succeed(doubted, 1.0).health,
        succeed(doubted, 1.0, life=OTHER_LIFE).health,
    )


def test_unknown_in_doubt_in_any_life() -> None:
    """Where the life that is doubted is not known, any that is found is."""
    doubted = cast_doubt(newcomer(POLICY), T_MAX, None, 0.0)

    assert (RECOVERING, RECOVERING) == (
        succeed(doubted, 1.0).health,
        succeed(doubted, 1.0, life=OTHER_LIFE).health,
    )


def test_down_doubted() -> None:
    """A backend that is DOWN stays so, and returns as RECOVERING: its marks are gone."""
    doubted = cast_doubt(down_since(100.0), 200.0 + T_MAX, LIFE, 200.0)

    assert (DOWN, 100.0) == (doubted.health, doubted.since)
    assert succeed(doubted, 201.0, times=2).health is RECOVERING


def test_recovering_doubted_again() -> None:
    """New doubt prolongs the old one, and the state began when it began."""
    record = cast_doubt(in_doubt_since(200.0), 900.0 + T_MAX, LIFE, 900.0)

    assert (record.health, record.since) == (RECOVERING, 200.0)
    assert succeed(record, 900.0 + T_MAX - 0.1).health is RECOVERING


def test_dispelled() -> None:
    """When the operator vouches for it, a backend in doubt is UP at once, and stays so."""
    record = dispel_doubt(in_doubt_since(200.0), 300.0)
    fallen = fail(record, 400.0, times=3)

    assert (record.health, record.since) == (UP, 300.0)
    assert succeed(fallen, 500.0, times=2).is_up


def test_failures_of_a_backend_in_doubt_are_forgiven_by_a_success() -> None:
    """Only failures in a row count, in doubt as well."""
    record = succeed(fail(in_doubt_since(200.0), 300.0, times=2), 301.0)

    assert fail(record, 303.0, times=2).health is RECOVERING


# --- Put aside --------------------------------------------------------------------------------------


def test_put_aside() -> None:
    """What is not to be spoken to is DOWN from then on, through no fault of its own."""
    record = put_aside(up_since(100.0), 200.0, POLICY)

    assert (record.health, record.since, record.symptom) == (DOWN, 200.0, None)


def test_put_aside_twice() -> None:
    """What was DOWN already has been so since it fell."""
    assert put_aside(down_since(100.0), 200.0, POLICY).since == 100.0


def test_back_from_being_put_aside() -> None:
    """One success is enough to return: nobody has seen it fail (design.md 5: READY after MAINT)."""
    record = succeed(put_aside(up_since(100.0), 200.0, POLICY), 300.0)

    assert (record.health, record.since) == (UP, 300.0)


def test_back_from_being_put_aside_with_what_it_was_doubted_for() -> None:
    """MAINT does not make a backend any surer of what it missed."""
    record = succeed(put_aside(in_doubt_since(200.0), 300.0, POLICY), 400.0)

    assert record.health is RECOVERING


def test_doubt_lasts_from_the_return() -> None:
    """What lay in a frozen server's connections reaches it when it thaws, and lives on from then (7.5)."""
    policy = HealthPolicy()
    down = HealthRecord(health=Health.DOWN, life=b"known", served_life=b"known", successes=policy.rise - 1)
    back = observe_success(cast_doubt(down, 60.0, b"known", 0.0), b"known", 50.0, policy)

    assert (Health.RECOVERING, 110.0) == (back.health, back.doubted_until)
