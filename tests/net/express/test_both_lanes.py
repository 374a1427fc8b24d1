"""Both lanes are the same to clients and backends: the same traffic and faults by each of them.

A plan that has shown a difference is run again alone by its seed.
"""

import pytest

from tests.net.express.shadow import ANSWERS, Fault, Seen, Shadow, plan

LENGTH = 20

# What a write that concerns several servers is followed by would race with the fault of the first.
FAULTS = {
    "one server": tuple(Fault),
    "three": tuple(Fault),
    "unsettled": ANSWERS,
    "two copies": ANSWERS,
    "one of two fails": tuple(Fault),
}
FARMS = {
    "one server": (1, 1, True, True),
    "three": (3, 1, True, True),
    "unsettled": (3, 1, False, True),
    "two copies": (3, 2, True, True),
    "one of two fails": (2, 2, True, False),
}
"""How many servers, how many copies, whether times are settled, and whether all fail at once."""


async def seen_by(*, is_express: bool, seed: int, farm: str) -> Seen:
    backends, copies, is_settled, all_fail = FARMS[farm]
    shadow = Shadow(
        is_express=is_express, backends=backends, copies=copies, is_settled=is_settled, all_fail=all_fail
    )
    return await shadow.run(plan(seed, LENGTH, FAULTS[farm]))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("farm", FARMS)
async def test_both_lanes_are_the_same(seed: int, farm: str) -> None:
    """What clients get, what backends are asked, what is reported and marked: whichever lane."""
    expected = await seen_by(is_express=False, seed=seed, farm=farm)
    seen = await seen_by(is_express=True, seed=seed, farm=farm)

    assert expected.clients == seen.clients
    assert expected.backends == seen.backends
    assert expected.operations == seen.operations
    assert expected.marks == seen.marks
