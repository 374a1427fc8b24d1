"""Latencies in little room: counts in buckets whose widths grow with the values in them.

Each bucket is 4 % wide and answers with its geometric middle, so a percentile is at most 2 % off (what
HdrHistogram calls two significant digits). 528 buckets reach from a microsecond to 20 minutes, and a
run of hours takes no more memory than one of a second.
"""

from array import array
from collections.abc import Iterable
from itertools import repeat
from math import log, sqrt

GROWTH = 1.04
LEAST = 1e-6
"""Seconds. What is shorter counts as this long."""
MOST = 1200.0
"""Seconds. What is longer counts as this long, except in `longest`."""

_PER_LOG = 1 / log(GROWTH)
_BUCKETS = int(log(MOST / LEAST) * _PER_LOG) + 1


class Histogram:
    """Counts durations, in seconds."""

    __slots__ = ("_counts", "count", "longest")

    def __init__(self) -> None:
        self._counts = array("Q", repeat(0, _BUCKETS))
        self.count = 0
        self.longest = 0.0

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}, p50 {self.quantile(0.5):.6f} s, longest {self.longest:.6f} s>"

    def add(self, duration: float) -> None:
        """Count one duration."""
        index = int(log(duration / LEAST) * _PER_LOG) if duration > LEAST else 0
        self._counts[min(index, _BUCKETS - 1)] += 1
        self.count += 1
        if duration > self.longest:
            self.longest = duration

    def quantile(self, share: float) -> float:
        """The duration that this share (0 to 1) of all do not exceed, within 2 %; 0 if there are none."""
        rank = max(1.0, share * self.count)
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(LEAST * GROWTH**index * sqrt(GROWTH), self.longest)
        return self.longest

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was counted since an earlier snapshot of this same histogram."""
        recent = Histogram()
        pairs = zip(self._counts, earlier._counts, strict=True)
        recent._counts = array("Q", (now - then for now, then in pairs))
        recent.count = self.count - earlier.count
        recent.longest = self.longest
        return recent


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """All that was counted in any of these; a snapshot, which does not change any more."""
    merged = Histogram()
    for histogram in histograms:
        pairs = zip(merged._counts, histogram._counts, strict=True)
        merged._counts = array("Q", (one + other for one, other in pairs))
        merged.count += histogram.count
        merged.longest = max(merged.longest, histogram.longest)
    return merged
