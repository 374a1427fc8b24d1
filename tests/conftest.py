"""What all tests share: how many run at a time, and how long and how deep the property tests search."""

import os

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a loaded machine must not make an example fail that is merely slow.
settings.register_profile(
    "partitioner", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("partitioner")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """For `-n auto`: three workers for two cores, since tests wait for a good part of their time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # as xdist takes it
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2
