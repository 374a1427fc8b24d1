"""What an hour was like: rates, durations, failures and states, in steps of half a minute, oldest first.

Who is woken at three wants to know since when it has been so, and whether it was so before. Prometheus knows
more, and longer; this is for the router's own page and for `partitioner top`, where there may be no
Prometheus. It is kept in memory: a router that is restarted begins anew.

A step shows the worst state that a server was seen in, so that one that flaps is seen to flap.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import trio

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.pool import Member
from partitioner.ops.admin.reports import STEPS, WORST_FIRST
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.rates import EVERY, Exchanges, Sample, quantile, sample_of
from partitioner.ops.standing import role_of
from partitioner.routing.core import RouterCore
from partitioner.transport.traffic import DURATIONS

STEP = 30.0
LEAST = 2.0
"""Seconds after which a step that is under way says something."""


@dataclass(frozen=True, slots=True)
class Moment:
    """How things are at a time."""

    sample: Sample
    clients: Exchanges  # requests of clients, those that were closed as failed ones
    role: str  # of this router: active, claiming or standby
    states: Mapping[BackendId, str]
    lacking: int  # sessions that are known to lack a copy


@dataclass(frozen=True, slots=True)
class Step:
    """What half a minute was like."""

    rate: float  # a second
    p99: float | None  # seconds; None if nothing was answered
    failed: int
    state: str  # the worst


@dataclass(frozen=True, slots=True)
class Track:
    """The steps of one subject, the oldest first."""

    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=STEPS))

    @property
    def has_flapped(self) -> bool:
        """Whether its state has changed more than twice: once down and up is a restart."""
        states = [step.state for step in self.steps]
        return sum(before != after for before, after in pairwise(states)) > 2


class History:
    """Remembers the last hour of one router."""

    def __init__(self, look: Callable[[], Moment]) -> None:
        """`look` tells how things are."""
        self.router = Track()
        self.backends: dict[BackendId, Track] = {}
        self.lacking: deque[int] = deque(maxlen=STEPS)
        self._look = look
        self._began = look()  # the step that is under way
        self._seen = [self._began]

    def __repr__(self) -> str:
        return f"<History, {len(self.router.steps)} steps, {len(self.backends)} backends>"

    async def run(self) -> None:
        """Look, again and again, for as long as the router runs.

        The first step begins now: what was not known while the router started is no state of its servers.
        """
        self._began = self._look()
        self._seen = [self._began]
        while True:
            await trio.sleep(EVERY)
            self.note(self._look())

    def note(self, moment: Moment) -> None:
        """Take in how things are; a step ends when its time is over."""
        self._seen.append(moment)
        if moment.sample.at - self._began.sample.at < STEP:
            return
        period = self._period(self._seen)
        self.router.steps.append(period.router)
        self.lacking.append(period.lacking)
        for identity, step in period.backends.items():
            self.backends.setdefault(identity, Track()).steps.append(step)
        for identity in self.backends.keys() - moment.states.keys():
            del self.backends[identity]  # it was forgotten: nothing is asked of it any more
        self._began, self._seen = moment, []

    def under_way(self) -> "Period | None":
        """The step that is under way, as it is until now; None if it has just begun.

        Sessions that lack a copy are those of now: the last value of the curve is the present.
        """
        moment = self._look()
        has_begun = moment.sample.at - self._began.sample.at >= LEAST
        return replace(self._period([*self._seen, moment]), lacking=moment.lacking) if has_begun else None

    def _period(self, seen: list[Moment]) -> "Period":
        """What it was like from the beginning of the step to the last of these moments."""
        began, now = self._began, seen[-1]
        took = now.sample.at - began.sample.at
        backends = {}
        for identity in now.states:
            states = [each.states[identity] for each in seen if identity in each.states]
            before = began.sample.backends.get(identity, Exchanges())
            after = now.sample.backends.get(identity, Exchanges())
            backends[identity] = _step(before, after, took, states)
        router = _step(began.clients, now.clients, took, [each.role for each in seen])
        return Period(router, max(each.lacking for each in seen), backends)


@dataclass(frozen=True, slots=True)
class Period:
    """A step of all subjects."""

    router: Step
    lacking: int
    backends: Mapping[BackendId, Step]


def _step(before: Exchanges, after: Exchanges, took: float, states: list[str]) -> Step:
    grown = after.since(before)
    worst: str = min(states, key=WORST_FIRST.index)
    return Step(
        rate=grown.count / took,
        p99=quantile(0.99, grown.durations, DURATIONS),
        failed=grown.failed,
        state=worst,
    )


def look_at(core: RouterCore, counters: Counters) -> Moment:
    """How a router is now."""
    members = core.roster.pool.members
    return Moment(
        sample=sample_of(core, counters),
        clients=_of_clients(counters),
        role=role_of(core).value,
        states={identity: state_of(member) for identity, member in members.items()},
        lacking=core.healing.lacking + core.ledger.keys_marked,
    )


def state_of(member: Member) -> str:
    """What is shown of a server: what an operator wants, unless that is that it serves; else its health."""
    health: str = member.record.health.value
    if member.removed_at is not None:
        return "removed"
    if member.backend.intent is Intent.MAINT or (member.backend.intent is Intent.DRAIN and health == "up"):
        intent: str = member.backend.intent.value
        return intent
    return health


def _of_clients(counters: Counters) -> Exchanges:
    served = counters.served.values()
    durations = tuple(map(sum, zip(*(each.durations.counts for each in served), strict=True)))
    answered = sum(sum(each.answers.values()) for each in served)
    return Exchanges(answered, counters.closed.total(), durations)
