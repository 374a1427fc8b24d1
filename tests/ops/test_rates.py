"""Rates over the last minute, and the durations within which most exchanges were."""

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from partitioner.ops.rates import EVERY, WINDOW, Exchanges, Sample, Sampler, quantile
from tests.identities import STATE_1
from tests.tables import each_case

BOUNDS = (0.001, 0.01, 0.1)


class Counters:
    """Counters that grow as a test says."""

    def __init__(self) -> None:
        self.ok = 0
        self.backend = Exchanges(0, 0, (0, 0, 0, 0))

    def read(self) -> Sample:
        return Sample(trio.current_time(), {"ok": self.ok}, {STATE_1: self.backend})


async def test_a_rate_is_over_the_last_minute(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What was done before that does not count any more."""
    counters = Counters()
    sampler = Sampler(counters.read)
    nursery.start_soon(sampler.run)
    counters.ok = 1_000_000
    await trio.sleep(WINDOW + EVERY + 1)
    counters.ok += 130
    growth = sampler.growth()

    assert ({"ok": 130}, 61.0) == (growth.requests, growth.seconds)
    assert 130 / 61 == growth.rate(growth.requests["ok"])


async def test_a_rate_just_after_the_start(autojump_clock: MockClock) -> None:
    """Over as much time as there was; of no time there is none."""
    counters = Counters()
    sampler = Sampler(counters.read)
    at_once = sampler.growth()
    await trio.sleep(2)
    counters.ok = 10
    growth = sampler.growth()

    assert (0.0, 5.0) == (at_once.rate(at_once.requests["ok"]), growth.rate(growth.requests["ok"]))


async def test_what_a_backend_did(autojump_clock: MockClock) -> None:
    """Counted by itself, with its durations."""
    counters = Counters()
    counters.backend = Exchanges(10, 1, (10, 0, 0, 0))
    sampler = Sampler(counters.read)
    counters.backend = Exchanges(15, 3, (11, 4, 0, 0))

    assert {"state-1": Exchanges(5, 2, (1, 4, 0, 0))} == sampler.growth().backends


@pytest.mark.parametrize("now", [Exchanges(2, 0, (2, 0, 0, 0)), Exchanges(12, 0, (12, 0, 0, 0))])
def test_a_backend_that_has_gone_and_come_again(now: Exchanges) -> None:
    """Its counters begin anew: nothing is negative."""
    assert now == now.since(Exchanges(10, 1, (10, 0, 0, 0)))


# A share, counts, and the duration.
QUANTILES = [
    (0.5, (0, 0, 0, 0), None),
    (0.5, (), None),
    (0.5, (10, 0, 0, 0), 0.0005),
    (0.5, (5, 5, 0, 0), 0.001),
    (0.99, (0, 100, 0, 0), 0.00991),
    (0.99, (0, 0, 0, 1), 0.1),
    (0.0, (0, 0, 4, 0), 0.01),
    (1.0, (1, 0, 1, 0), 0.1),
]


@each_case(("share", "counts", "expected"), QUANTILES)
def test_quantiles(share: float, counts: tuple[int, ...], expected: float | None) -> None:
    """As Prometheus reckons them from the same buckets."""
    assert expected == pytest.approx(quantile(share, counts, BOUNDS))


@example(1.0, (0, 0, 99, 0))  # 0.01 + (0.1 - 0.01) is more than 0.1
@given(st.floats(0, 1), st.tuples(*[st.integers(0, 1000)] * 4).filter(any))
def test_a_quantile_is_within_the_bounds(share: float, counts: tuple[int, ...]) -> None:
    """Whatever was counted."""
    found = quantile(share, counts, BOUNDS)

    assert found is not None
    assert 0.0 <= found <= BOUNDS[-1]
