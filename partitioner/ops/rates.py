"""How much goes on just now? Rates over the last minute, from counters that only grow.

Counters are read every few seconds, and a rate is what they have grown by since the oldest reading of the
last minute. Prometheus does the same, and better; this is for the router's own page, where there may
be no Prometheus.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

import trio

from partitioner.net.traffic import Traffic

EVERY = 5.0
"""Seconds between two readings."""

WINDOW = 60.0
"""Seconds: long enough to be calm, short enough to show what has just begun."""


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Exchanges with one backend, counted."""

    answered: int = 0
    failed: int = 0
    durations: tuple[
        int, ...
    ] = ()  # of those answered: how many in each bucket; in the last, all slower ones

    def since(self, before: "Exchanges") -> "Exchanges":
        """What has been added; all of it, if the counting has begun anew since."""
        if before.answered > self.answered or before.failed > self.failed or not before.durations:
            return self
        durations = tuple(now - then for now, then in zip(self.durations, before.durations, strict=True))
        return Exchanges(self.answered - before.answered, self.failed - before.failed, durations)


def exchanges_of(traffic: Traffic) -> Exchanges:
    """What was exchanged with a backend up to now."""
    answered, failed = sum(traffic.answers.values()), sum(traffic.failures.values())
    return Exchanges(answered, failed, tuple(traffic.durations.counts))


@dataclass(frozen=True, slots=True)
class Reading:
    """What the counters said at a time."""

    at: float  # monotonic seconds
    requests: Mapping[str, int] = field(default_factory=dict)  # of clients, by outcome
    backends: Mapping[str, Exchanges] = field(default_factory=dict)  # by identity


@dataclass(frozen=True, slots=True)
class Growth:
    """What has been added in a time."""

    seconds: float
    requests: Mapping[str, int]
    backends: Mapping[str, Exchanges]

    def rate(self, count: int) -> float:
        """So many in this time, as a number a second."""
        return count / self.seconds if self.seconds > 0 else 0.0


class Sampler:
    """Remembers the readings of the last minute."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._readings: deque[Reading] = deque([read()], maxlen=round(WINDOW / EVERY) + 1)

    def __repr__(self) -> str:
        return f"<Sampler, {len(self._readings)} readings>"

    async def run(self) -> None:
        """Read, again and again, for as long as the router runs."""
        while True:
            await trio.sleep(EVERY)
            self._readings.append(self._read())

    def growth(self) -> Growth:
        """What has been added in the last minute, or since the start."""
        now, before = self._read(), self._readings[0]
        nothing = Exchanges()
        return Growth(
            now.at - before.at,
            {outcome: count - before.requests.get(outcome, 0) for outcome, count in now.requests.items()},
            {
                identity: exchanges.since(before.backends.get(identity, nothing))
                for identity, exchanges in now.backends.items()
            },
        )


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
    return lower + (bounds[index] - lower) * (rank - below) / counts[index]
