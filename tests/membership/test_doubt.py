"""Backends that are written to and not believed, and those that are put aside (design.md 5)."""

from partitioner.membership.health import (
    Health,
    HealthPolicy,
    HealthRecord,
    newcomer,
    observe_success,
    put_aside,
    suspect,
    trust,
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

# --- Doubt ------------------------------------------------------------------------------------------

T_MAX = 3_600.0


def in_doubt_since(now: float) -> HealthRecord:
    """A backend that is UP, and of which it is not known any more what it missed."""
    return suspect(up_since(now - 100.0), now + T_MAX, INCARNATION, now)


def test_up_doubted() -> None:
    """A backend whose marks were dropped answers, and is not read from that moment on (design.md 7.5)."""
    record = in_doubt_since(200.0)

    assert (record.health, record.since, record.incarnation) == (RECOVERING, 200.0, INCARNATION)


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
    assert (late.since, late.incarnation) == (200.0 + T_MAX, INCARNATION)


def test_recovering_fell() -> None:
    """A backend in doubt falls like any other, after `fall` failures."""
    record = fail(in_doubt_since(200.0), 300.0, times=3)

    assert (record.health, record.since) == (DOWN, 300.0)


def test_recovering_fell_and_rose() -> None:
    """Doubt outlives a fall: in the incarnation that is doubted it returns as RECOVERING."""
    record = succeed(fail(in_doubt_since(200.0), 300.0, times=3), 310.0, times=2)

    assert (record.health, record.since) == (RECOVERING, 310.0)


def test_recovering_fell_and_rose_too_late_for_doubt() -> None:
    """Once whatever it missed has expired there is nothing to doubt any more."""
    record = fail(in_doubt_since(200.0), 300.0, times=3)

    assert succeed(record, 200.0 + T_MAX, times=2).is_up


def test_recovering_restarted() -> None:
    """A new incarnation is empty, and there is nothing to doubt: DOWN, then UP in it (design.md 7.5)."""
    restarted = restart(in_doubt_since(200.0), 300.0)
    record = succeed(restarted, 301.0, incarnation=OTHER_INCARNATION)

    assert (DOWN, UP) == (restarted.health, record.health)


def test_recovering_with_another_incarnation() -> None:
    """A probe that finds another incarnation in a backend in doubt has seen its restart, too."""
    assert observe_success(in_doubt_since(200.0), OTHER_INCARNATION, 300.0, POLICY).health is DOWN


def test_doubt_about_one_incarnation_does_not_touch_the_next() -> None:
    """A backend that was replaced while it was DOWN returns empty: UP, for it missed nothing of its own."""
    record = succeed(
        fail(in_doubt_since(200.0), 300.0, times=3), 310.0, times=2, incarnation=OTHER_INCARNATION
    )

    assert record.is_up


def test_unknown_rose_in_doubt() -> None:
    """What was not UP when the router was restarted returns as RECOVERING in the incarnation that is
    doubted."""
    doubted = suspect(newcomer(POLICY), T_MAX, INCARNATION, 0.0)

    assert (UNKNOWN, RECOVERING, UP) == (
        doubted.health,
        succeed(doubted, 1.0).health,
        succeed(doubted, 1.0, incarnation=OTHER_INCARNATION).health,
    )


def test_unknown_in_doubt_in_any_incarnation() -> None:
    """Where the incarnation that is doubted is not known, any that is found is."""
    doubted = suspect(newcomer(POLICY), T_MAX, None, 0.0)

    assert (RECOVERING, RECOVERING) == (
        succeed(doubted, 1.0).health,
        succeed(doubted, 1.0, incarnation=OTHER_INCARNATION).health,
    )


def test_down_doubted() -> None:
    """A backend that is DOWN stays so, and returns as RECOVERING: its marks are gone."""
    doubted = suspect(down_since(100.0), 200.0 + T_MAX, INCARNATION, 200.0)

    assert (DOWN, 100.0) == (doubted.health, doubted.since)
    assert succeed(doubted, 201.0, times=2).health is RECOVERING


def test_recovering_doubted_again() -> None:
    """New doubt prolongs the old one, and the state began when it began."""
    record = suspect(in_doubt_since(200.0), 900.0 + T_MAX, INCARNATION, 900.0)

    assert (record.health, record.since) == (RECOVERING, 200.0)
    assert succeed(record, 900.0 + T_MAX - 0.1).health is RECOVERING


def test_dispelled() -> None:
    """When the operator trusts it, a backend in doubt is UP at once, and stays so."""
    record = trust(in_doubt_since(200.0), 300.0)
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
    """One success is enough to return: it was not seen to fail (design.md 5: READY after MAINT)."""
    record = succeed(put_aside(up_since(100.0), 200.0, POLICY), 300.0)

    assert (record.health, record.since) == (UP, 300.0)


def test_back_from_being_put_aside_with_what_it_was_doubted_for() -> None:
    """MAINT does not make a backend any surer of what it missed."""
    record = succeed(put_aside(in_doubt_since(200.0), 300.0, POLICY), 400.0)

    assert record.health is RECOVERING


def test_doubt_lasts_from_the_return() -> None:
    """What lay in a frozen server's connections reaches it when it thaws, and lives on from then (7.5)."""
    policy = HealthPolicy()
    down = HealthRecord(
        health=Health.DOWN, incarnation=b"known", served_incarnation=b"known", successes=policy.rise - 1
    )
    back = observe_success(suspect(down, 60.0, b"known", 0.0), b"known", 50.0, policy)

    assert (Health.RECOVERING, 110.0) == (back.health, back.doubted_until)
