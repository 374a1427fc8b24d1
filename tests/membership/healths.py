"""Backends that fail, succeed and restart, to see what becomes of their health."""

from partitioner.membership.health import (
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    newcomer,
    observe_success,
    observe_symptom,
)

UP, DOWN = Health.UP, Health.DOWN
UNKNOWN, RECOVERING = Health.UNKNOWN, Health.RECOVERING

POLICY = HealthPolicy(fall=3, rise=2, hold_down=10.0)
INCARNATION = b"one incarnation"
OTHER_INCARNATION = b"another incarnation"


def succeed(
    record: HealthRecord, now: float, times: int = 1, incarnation: bytes = INCARNATION
) -> HealthRecord:
    for _ in range(times):
        record = observe_success(record, incarnation, now, POLICY)
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
