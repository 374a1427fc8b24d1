"""Values counted by the bounds between which they lie."""

from hypothesis import given
from hypothesis import strategies as st

from partitioner.transport.traffic import DURATIONS, Histogram
from tests.tables import each_case

BOUNDS = (1.0, 2.0, 5.0)

CASES = {
    "nothing": ((), [0, 0, 0, 0], 0.0),
    "below the first bound": ((0.0, 0.5), [2, 2, 2, 2], 0.5),
    "as large as a bound": ((1.0, 2.0, 5.0), [1, 2, 3, 3], 8.0),
    "just above a bound": ((1.25,), [0, 1, 1, 1], 1.25),
    "above them all": ((5.5, 100.0), [0, 0, 0, 2], 105.5),
}


@each_case(("values", "cumulative", "total"), CASES.values(), ids=CASES)
def test_counted(values: tuple[float, ...], cumulative: list[int], total: float) -> None:
    """Each bound says how many values do not exceed it; at last comes the number of all."""
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.add(value)

    assert cumulative == list(histogram.cumulative())
    assert (len(values), total) == (histogram.count, histogram.total)


@given(st.lists(st.floats(0, 20)))
def test_counted_as_one_would_by_hand(values: list[float]) -> None:
    """The same numbers as a look at every value for every bound."""
    histogram = Histogram(DURATIONS)
    for value in values:
        histogram.add(value)
    below = [sum(value <= bound for value in values) for bound in DURATIONS]

    assert [*below, len(values)] == list(histogram.cumulative())


def test_a_copy_stays_as_it_is() -> None:
    """What is added later is not in it."""
    histogram = Histogram(BOUNDS)
    histogram.add(1.0)
    copied = histogram.copy()
    histogram.add(1.0)

    assert (1, 1.0) == (copied.count, copied.total)
    assert 2 == histogram.count
