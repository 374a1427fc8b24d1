"""Latencies: percentiles within 2 % of those of the sorted list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.bench.histogram import LEAST, MOST, Histogram, merge
from tests.tables import each_case

ERROR = 0.02

durations = st.floats(LEAST, MOST)


def histogram_of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def exact_quantile(values: list[float], share: float) -> float:
    """The smallest value that this share of all do not exceed."""
    return next(
        value for count, value in enumerate(sorted(values), start=1) if count >= max(1.0, share * len(values))
    )


@given(st.lists(durations, min_size=1), st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_quantiles_are_within_two_percent(values: list[float], share: float) -> None:
    """Any quantile is that of the sorted list, give or take 2 %."""
    expected = exact_quantile(values, share)

    assert expected == pytest.approx(histogram_of(values).quantile(share), rel=ERROR)


@given(st.lists(durations))
def test_the_longest_is_exact(values: list[float]) -> None:
    """The longest duration is kept as it is, and no quantile exceeds it."""
    histogram = histogram_of(values)

    assert max(values, default=0.0) == histogram.longest
    assert histogram.quantile(1.0) <= histogram.longest


@given(st.lists(durations), st.lists(durations))
def test_merging_is_counting_together(some: list[float], others: list[float]) -> None:
    """A merger of two answers as one that has counted everything."""
    merged, together = merge([histogram_of(some), histogram_of(others)]), histogram_of(some + others)

    shares = (0.5, 0.99, 1.0)
    assert [together.quantile(share) for share in shares] == [merged.quantile(share) for share in shares]
    assert (together.count, together.longest) == (merged.count, merged.longest)


@given(st.lists(durations), st.lists(durations, min_size=1))
def test_the_recent_part_can_be_taken_out(before: list[float], after: list[float]) -> None:
    """What was counted since a snapshot answers by itself."""
    histogram = histogram_of(before)
    snapshot = merge([histogram])
    for value in after:
        histogram.add(value)
    recent = histogram.since(snapshot)

    assert len(after) == recent.count
    assert exact_quantile(after, 0.5) == pytest.approx(recent.quantile(0.5), rel=ERROR)


@each_case("duration", [0.0, -1e-9, 1e-9, MOST * 1000])
def test_what_is_off_the_scale_is_counted(duration: float) -> None:
    """A duration below or above the scale falls into the first or last bucket."""
    assert histogram_of([duration]).count == 1
