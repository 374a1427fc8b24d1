"""What all tests share: how many run at a time, and how long and how deep the property tests search."""

import itertools
import os
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a loaded machine must not make an example fail that is merely slow.
settings.register_profile(
    "partitioner", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("partitioner")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """For `-n auto`: two workers for each core, since tests wait for more than half of their time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # as xdist takes it
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 * cores


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Have half of the workers begin with slow modules, which mostly wait, while the others work."""
    yield
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    items[:] = slow_first(items, workers)


def slow_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Deal modules to as many hands as there are workers: slow ones to half of them in turn, then the others.

    xdist gives each worker as many items, in their order, and the last ones to whoever is done early.
    """
    modules = [list(group) for _, group in itertools.groupby(items, lambda item: item.path)]
    slow = [module for module in modules if any(item.get_closest_marker("slow") for item in module)]
    others = [item for module in modules if module not in slow for item in module]
    waiting = -(-workers // 2)
    hands = [[item for module in slow[first::waiting] for item in module] for first in range(waiting)]
    hands += [[] for _ in range(workers - waiting)]
    for hand in hands[:-1]:
        missing = max(0, len(items) // workers - len(hand))
        hand += others[:missing]
        del others[:missing]
    hands[-1] += others
    return [item for hand in hands for item in hand]
