"""How much goes on just now? Rates over the last minute, from counters that only grow.

A sample is taken every few seconds, and a rate is what they have grown by since the oldest sample of the
last minute. Prometheus does the same, and better; this is for the router's own page, where there may
be no Prometheus.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

import trio

from partitioner.membership.backend import BackendId
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.readings import OUTCOMES, Read
from partitioner.routing.core import RouterCore
from partitioner.transport.traffic import Histogram, Traffic

EVERY = 5.0
"""Seconds between two samples."""

WINDOW = 60.0
"""Seconds: long enough to be calm, short enough to show what has just begun."""


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Exchanges with one backend, counted."""

    answered: int = 0
    failed: int = 0
    durations: tuple[int, ...] = ()  # of those answered, by bucket of DURATIONS; the last is for all above

    @property
    def count(self) -> int:
        """All of them, however they ended."""
        return self.answered + self.failed

    def since(self, before: "Exchanges") -> "Exchanges":
        """What has been added; all of it, if the counting has begun anew since."""
        if before.answered > self.answered or before.failed > self.failed or not before.durations:
            return self
        durations = tuple(now - then for now, then in zip(self.durations, before.durations, strict=True))
        return Exchanges(self.answered - before.answered, self.failed - before.failed, durations)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the counters said at a time."""

    at: float  # monotonic seconds
    requests: Mapping[str, int] = field(default_factory=dict)  # of clients, by outcome
    backends: Mapping[BackendId, Exchanges] = field(default_factory=dict)  # by identity


@dataclass(frozen=True, slots=True)
class Growth:
    """What has been added in a time."""

    seconds: float
    requests: Mapping[str, int]
    backends: Mapping[BackendId, Exchanges]
    exchanges: int  # with all backends

    @property
    def rates(self) -> dict[str, float]:
        """Requests a second, by outcome."""
        return {outcome: self.rate(count) for outcome, count in self.requests.items()}

    def rate(self, count: int) -> float:
        """So many in this time, as a number a second."""
        return count / self.seconds if self.seconds > 0 else 0.0


class Sampler:
    """Remembers the samples of the last minute."""

    def __init__(self, take: Callable[[], Sample]) -> None:
        self._take = take
        self._samples: deque[Sample] = deque([take()], maxlen=round(WINDOW / EVERY) + 1)

    def __repr__(self) -> str:
        return f"<Sampler, {len(self._samples)} samples>"

    async def run(self) -> None:
        """Take samples, again and again, for as long as the router runs."""
        while True:
            await trio.sleep(EVERY)
            self._samples.append(self._take())

    def growth(self) -> Growth:
        """What has been added in the last minute, or since the start."""
        now, before = self._take(), self._samples[0]
        requests = {
            outcome: count - before.requests.get(outcome, 0) for outcome, count in now.requests.items()
        }
        nothing = Exchanges()
        backends = {
            identity: exchanges.since(before.backends.get(identity, nothing))
            for identity, exchanges in now.backends.items()
        }
        exchanges = sum(each.count for each in backends.values())
        return Growth(now.at - before.at, requests, backends, exchanges)


def sample_of(core: RouterCore, counters: Counters) -> Sample:
    """What the counters of a router say now."""
    exchanges = {identity: _exchanges(each.traffic) for identity, each in core.roster.upstreams.items()}
    return Sample(trio.current_time(), _requests(counters), exchanges)


def outcomes_sampler(read: Read) -> Sampler:
    """Samples of requests by their outcome alone, from what is told to Prometheus."""

    def take() -> Sample:
        requests = dict.fromkeys((*OUTCOMES.values(), "closed"), 0)
        for (_, outcome), count in read().of("requests_total"):
            assert not isinstance(count, Histogram)
            requests[outcome] += int(count)
        return Sample(trio.current_time(), requests)

    return Sampler(take)


def _requests(counters: Counters) -> dict[str, int]:
    """The requests of clients by their outcome, whatever the operation."""
    requests = dict.fromkeys((*OUTCOMES.values(), "closed"), 0)
    for served in counters.served.values():
        for status, outcome in OUTCOMES.items():
            requests[outcome] += served.answers[status]
    requests["rejected"] += counters.malformed
    requests["closed"] += counters.closed.total()
    return requests


def _exchanges(traffic: Traffic) -> Exchanges:
    """What was exchanged with a backend up to now."""
    answered, failed = sum(traffic.answers.values()), sum(traffic.failures.values())
    return Exchanges(answered, failed, tuple(traffic.durations.counts))


def quantile(share: float, counts: tuple[int, ...], bounds: tuple[float, ...]) -> float | None:
    """The duration within which this share of the counted ones was; None if there are none.

    `bounds` are the upper bounds of the buckets; `counts` has one more, for what is above them all. Inside a
    bucket durations are taken to lie evenly, and what is above all bounds counts as the highest of them.
    Source: histogram_quantile of Prometheus.
    """
    sums = tuple(accumulate(counts))
    if not sums or sums[-1] == 0:
        return None
    rank = share * sums[-1]
    index = bisect_left(sums, rank)
    while counts[index] == 0:
        index += 1  # only for a share of zero
    if index >= len(bounds):
        return bounds[-1]
    lower = bounds[index - 1] if index else 0.0
    below = sums[index] - counts[index]
    inside = lower + (bounds[index] - lower) * (rank - below) / counts[index]
    return min(inside, bounds[index])  # rounding may have gone past the bound
