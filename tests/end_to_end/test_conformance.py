"""The conformance vectors, against state servers and through routers in front of three, by each lane."""

from concurrent.futures import Future
from typing import Any

import pytest

from tests.conformance.runner import VECTORS, run_vector
from tests.end_to_end.conftest import TARGETS, TIME_VECTORS

LONGEST_VECTOR = 200.0
"""Seconds that the longest of the vectors that need time takes, with some to spare."""

pytestmark = pytest.mark.usefixtures("time_vectors")  # so that they start now

AT_ONCE = [vector for vector in VECTORS if vector not in TIME_VECTORS]


def test_no_vector_is_left_out() -> None:
    """All 75 vectors are run, at once or side by side."""
    assert len(AT_ONCE) + len(TIME_VECTORS) == len(VECTORS) == 75


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("vector", AT_ONCE, ids=lambda vector: vector["id"])
async def test_vector(vector: dict[str, Any], target: str, ports: dict[str, int]) -> None:
    """A state server and the router are the same to a client."""
    await run_vector(vector, "127.0.0.1", ports[target])


@pytest.mark.passes_time
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("vector", TIME_VECTORS, ids=lambda vector: vector["id"])
def test_vector_that_needs_time(
    vector: dict[str, Any], target: str, time_vectors: dict[tuple[str, str], Future[None]]
) -> None:
    """Sessions slide and expire, and locks age, in real time."""
    time_vectors[target, vector["id"]].result(timeout=LONGEST_VECTOR)
