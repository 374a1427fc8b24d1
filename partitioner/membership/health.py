"""Is a backend fit to serve? The health machine, and what moves it.

Probes and failed exchanges are *observations*. `fall` failures in a row, or a canary that is not
ours any more, take a backend DOWN; `rise` successful probes and a hold-down bring it UP. What a
record concludes from its observations is a *signal*, and the table below is the whole machine.

At the router's start nothing is known of any backend. One that is UNKNOWN keeps its place: its sessions
wait, because to send them elsewhere would be to say that they do not exist, and it was not seen that it
is down.

A backend that comes back in the incarnation that we know was frozen or cut off, and the ledger's marks say
what it missed. Where the marks themselves are not known, because the router was restarted or had too
many, the backend is in *doubt*: it is RECOVERING, which is written to and read for nothing, until
whatever it missed has expired. A new incarnation is empty, and there is nothing to doubt.

Two kindnesses keep sessions at home. At the router's start and after a restart of the backend one
successful probe is enough, because a server that answers is alive and what it had is gone either
way; and the first return needs no hold-down. A server that falls again soon after its return has
to wait longer every time.
"""

from dataclasses import dataclass, replace
from enum import Enum


class Health(Enum):
    """What we observe of a backend."""

    UNKNOWN = "unknown"  # nothing has been concluded yet
    UP = "up"
    DOWN = "down"
    RECOVERING = "recovering"  # it answers, but what it missed is not known: written to, read for nothing


class Signal(Enum):
    """What a backend's record concludes."""

    FELL = "fell"  # `fall` failures in a row
    RESTARTED = "restarted"  # another canary than the known one, or none
    ROSE = "rose"  # `rise` successes in a row, and held down no longer
    ROSE_IN_DOUBT = "rose in doubt"  # the same, in an incarnation of which it is not known what it missed
    DOUBTED = "doubted"  # what it missed is not known any more
    WAITED = "waited"  # whatever it missed has expired


TRANSITIONS: dict[tuple[Health, Signal], Health] = {
    (Health.UNKNOWN, Signal.FELL): Health.DOWN,
    (Health.UNKNOWN, Signal.RESTARTED): Health.UNKNOWN,
    (Health.UNKNOWN, Signal.ROSE): Health.UP,
    (Health.UNKNOWN, Signal.ROSE_IN_DOUBT): Health.RECOVERING,
    (Health.UNKNOWN, Signal.DOUBTED): Health.UNKNOWN,
    (Health.UNKNOWN, Signal.WAITED): Health.UNKNOWN,
    (Health.UP, Signal.FELL): Health.DOWN,
    (Health.UP, Signal.RESTARTED): Health.DOWN,  # until a new canary has been stored and read back
    (Health.UP, Signal.ROSE): Health.UP,
    (Health.UP, Signal.ROSE_IN_DOUBT): Health.UP,
    (Health.UP, Signal.DOUBTED): Health.RECOVERING,
    (Health.UP, Signal.WAITED): Health.UP,
    (Health.DOWN, Signal.FELL): Health.DOWN,
    (Health.DOWN, Signal.RESTARTED): Health.DOWN,
    (Health.DOWN, Signal.ROSE): Health.UP,  # marks guard what it missed
    (Health.DOWN, Signal.ROSE_IN_DOUBT): Health.RECOVERING,  # there are no marks to guard it
    (Health.DOWN, Signal.DOUBTED): Health.DOWN,
    (Health.DOWN, Signal.WAITED): Health.DOWN,
    (Health.RECOVERING, Signal.FELL): Health.DOWN,
    (Health.RECOVERING, Signal.RESTARTED): Health.DOWN,
    (Health.RECOVERING, Signal.ROSE): Health.UP,
    (Health.RECOVERING, Signal.ROSE_IN_DOUBT): Health.RECOVERING,
    (Health.RECOVERING, Signal.DOUBTED): Health.RECOVERING,
    (Health.RECOVERING, Signal.WAITED): Health.UP,
}


class Symptom(Enum):
    """What was seen of a backend that is not well."""

    REFUSED = "refused"  # its port is closed: no process listens
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"  # no way leads to it
    BROKEN = "broken"  # its connection was torn down, or it answers what is no answer
    RESTARTED = "restarted"  # it answers, and its canary is another one or none
    ALIAS = "alias"  # it is the same server as another one of the pool


AMBIGUOUS = frozenset({Symptom.TIMED_OUT, Symptom.UNREACHABLE})
"""Symptoms that the router's own network may have caused; the others prove something of the backend."""


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When to believe that a backend is down, and when that it is back. Times are seconds."""

    interval: float = 2.0
    timeout: float = 1.0
    fall: int = 3
    rise: int = 2
    max_down_share: float = 0.5
    hold_down: float = 10.0

    LONGEST_HOLD_DOWN = 300.0


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """What is known of one backend's health. A new record for every observation; nothing is changed."""

    health: Health = Health.UNKNOWN
    since: float = float("-inf")  # when it entered this state
    incarnation: bytes | None = None  # the canary's token, as last read back
    served_incarnation: bytes | None = None  # the incarnation in which it was last UP
    symptom: Symptom | None = None  # the last thing that was wrong
    failures: int = 0  # in a row
    failed_at: float = float("-inf")  # the last of them
    successes: int = 0  # in a row
    falls: int = 0  # in a row, each soon after the return before it
    held_until: float = float("-inf")
    doubted_until: float = float("-inf")  # when whatever it missed has expired
    doubt: float = 0.0  # for how long it is in doubt once it answers: what reaches it late lives on from then
    doubted_incarnation: bytes | None = None  # the only incarnation that is in doubt; None: any that is found

    @property
    def is_up(self) -> bool:
        return self.health is Health.UP

    def is_doubted(self, now: float) -> bool:
        """Whether it is not known what the memory that it has, or last had, has missed."""
        if now >= self.doubted_until:
            return False
        return self.doubted_incarnation in (None, self.incarnation or self.served_incarnation)

    @property
    def answers(self) -> bool:
        """Whether it can be spoken to, whatever it is fit for."""
        return self.health is Health.UP or self.health is Health.RECOVERING


def newcomer(policy: HealthPolicy) -> HealthRecord:
    """The record of a backend at the router's start: one success away from UP."""
    return HealthRecord(successes=policy.rise - 1)


def put_aside(record: HealthRecord, now: float, policy: HealthPolicy) -> HealthRecord:
    """The record of a backend that is not to be spoken to: DOWN, and one success away from its return."""
    since = record.since if record.health is Health.DOWN else now
    return replace(
        record, health=Health.DOWN, since=since, symptom=None, failures=0, successes=policy.rise - 1
    )


def suspect(record: HealthRecord, until: float, incarnation: bytes | None, now: float) -> HealthRecord:
    """What the backend missed in this incarnation (None: in any) is not known; by `until` it will have
    expired."""
    doubted = replace(record, doubted_until=until, doubt=until - now, doubted_incarnation=incarnation)
    return _move(doubted, Signal.DOUBTED, now, None)


def trust(record: HealthRecord, now: float) -> HealthRecord:
    """What it missed has expired, or an operator trusts it."""
    return _move(
        replace(record, doubted_until=float("-inf"), doubted_incarnation=None), Signal.WAITED, now, None
    )


def observe_success(
    record: HealthRecord, incarnation: bytes, now: float, policy: HealthPolicy
) -> HealthRecord:
    """A probe stored or found the canary and read it back: its token is `incarnation`."""
    if record.answers and record.incarnation != incarnation:
        return observe_symptom(record, Symptom.RESTARTED, now, policy, may_fall=True)
    if record.health is Health.RECOVERING and now >= record.doubted_until:
        record = trust(record, now)
    if record.answers and record.failures == 0:
        return record
    record = replace(record, incarnation=incarnation, failures=0, successes=record.successes + 1)
    if record.successes >= policy.rise and now >= record.held_until:
        is_doubted = now < record.doubted_until and record.doubted_incarnation in (None, incarnation)
        if is_doubted:
            record = replace(record, doubted_until=max(record.doubted_until, now + record.doubt))
        return _move(record, Signal.ROSE_IN_DOUBT if is_doubted else Signal.ROSE, now, policy)
    return record


def observe_symptom(
    record: HealthRecord, symptom: Symptom, now: float, policy: HealthPolicy, *, may_fall: bool
) -> HealthRecord:
    """A probe or an exchange failed. `may_fall` says whether the pool can spare this backend."""
    if symptom is Symptom.RESTARTED:
        moved = _move(replace(record, symptom=symptom), Signal.RESTARTED, now, policy)
        moved = replace(
            moved, doubted_until=float("-inf"), doubted_incarnation=None
        )  # what it has now is its own
        return replace(moved, incarnation=None, failures=0, successes=policy.rise - 1)
    if symptom is not Symptom.REFUSED and now - record.failed_at < policy.timeout:
        return record  # one event seen by many exchanges: a slow moment must not look like three
    record = replace(record, symptom=symptom, failures=record.failures + 1, failed_at=now, successes=0)
    if record.failures >= policy.fall and may_fall:
        return _move(record, Signal.FELL, now, policy)
    return record


def looks_cut_off(record: HealthRecord, policy: HealthPolicy) -> bool:
    """Whether the backend has shown an ambiguous symptom for long enough to be believed, ejected or not."""
    return record.symptom in AMBIGUOUS and record.failures >= policy.fall


def _move(record: HealthRecord, signal: Signal, now: float, policy: HealthPolicy | None) -> HealthRecord:
    """Take the transition; a state that is entered anew begins now. `policy` matters to falls alone."""
    health = TRANSITIONS[record.health, signal]
    if health is record.health:
        return record
    if health is Health.UP:
        return replace(record, health=health, since=now, symptom=None, served_incarnation=record.incarnation)
    if health is Health.RECOVERING:
        return replace(record, health=health, since=now, symptom=None, served_incarnation=record.incarnation)
    if record.health is Health.UNKNOWN:
        return replace(record, health=health, since=now)  # it never stood, so it did not fall
    assert policy is not None
    is_flapping = now - record.since < policy.LONGEST_HOLD_DOWN
    falls = record.falls + 1 if is_flapping else 1
    return replace(record, health=health, since=now, falls=falls, held_until=now + _hold_down(falls, policy))


def _hold_down(falls: int, policy: HealthPolicy) -> float:
    """None the first time, then doubling up to the longest."""
    if falls < 2:
        return 0.0
    doublings = min(falls - 2, 32)  # more would only overflow
    return min(policy.hold_down * 2.0**doublings, policy.LONGEST_HOLD_DOWN)
