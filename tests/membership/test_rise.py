"""How a backend comes back: successes in a row, and the hold-down of one that flaps (design.md 5)."""

from partitioner.membership.health import (
    HealthPolicy,
    HealthRecord,
    Symptom,
    newcomer,
    observe_success,
    observe_symptom,
)
from tests.membership.healths import (
    INCARNATION,
    OTHER_INCARNATION,
    POLICY,
    UP,
    down_since,
    fail,
    restart,
    succeed,
    up_since,
)

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


def test_served_incarnation_is_the_one_in_which_it_was_last_up() -> None:
    """An incarnation counts as served from the moment that its server is UP in it, and until it is UP in
    another."""
    record = up_since(0.0)
    restarted = succeed(restart(record, 1.0), 2.0, incarnation=OTHER_INCARNATION)

    assert [
        record.served_incarnation,
        restart(record, 1.0).served_incarnation,
        restarted.served_incarnation,
    ] == [INCARNATION, INCARNATION, OTHER_INCARNATION]


def test_a_restart_while_down_is_a_return_with_another_incarnation() -> None:
    """A backend that was restarted while it could not be asked comes back with the incarnation that it has
    now."""
    record = succeed(down_since(0.0), 1.0, times=2, incarnation=OTHER_INCARNATION)

    assert (record.health, record.incarnation) == (UP, OTHER_INCARNATION)


def test_newcomer_is_down() -> None:
    """No server is UP before a canary was stored and read back (design.md 5)."""
    assert not newcomer(POLICY).is_up


def test_newcomer_needs_one_success() -> None:
    """At the router's start a server that answers is alive: one success is enough."""
    record = succeed(newcomer(POLICY), 7.0)

    assert (record.health, record.since, record.incarnation) == (UP, 7.0, INCARNATION)


def test_newcomer_that_fails_first_needs_rise_successes() -> None:
    """A newcomer's advantage ends with its first failure."""
    record = fail(newcomer(POLICY), 1.0)
    after_one = succeed(record, 2.0)
    after_two = succeed(after_one, 3.0)

    assert (after_one.is_up, after_two.is_up) == (False, True)


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
    """Successes during the hold-down count, but bring no server UP before its end."""
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
    record = succeed(restart(up_since(0.0), 1_000.0), 1_000.0, incarnation=b"2")
    first_return = record.since
    record = restart(record, 1_005.0)
    early = succeed(record, 1_014.0, incarnation=b"3")
    late = succeed(record, 1_015.0, incarnation=b"3")

    assert (first_return, early.is_up, late.is_up) == (1_000.0, False, True)


def test_hold_down_follows_the_policy() -> None:
    """`hold_down` is the operator's number (design.md 9.2)."""
    policy = HealthPolicy(fall=1, rise=1, hold_down=30.0)
    record = observe_success(newcomer(policy), INCARNATION, 0.0, policy)
    for now in (1.0, 2.0):
        record = observe_symptom(record, Symptom.REFUSED, now, policy, may_fall=True)
        record = observe_success(record, INCARNATION, now, policy)
    early = observe_success(record, INCARNATION, 31.9, policy)
    late = observe_success(record, INCARNATION, 32.0, policy)

    assert (early.is_up, late.is_up) == (False, True)
