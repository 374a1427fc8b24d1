"""Both lanes are the same to clients and backends: the same traffic, faults and turns by each of them.

A plan that has shown a difference is run again alone by its seed.
"""

import pytest

from tests.net.express.plans import ANSWERS, DOUBTS, HARMLESS, LIVES, RELOADS, Farm, plan
from tests.net.express.seen import Seen
from tests.net.express.shadow import Shadow

# What a write that concerns several servers is followed by would race with the fault of the first.
FARMS = {
    "one server": Farm(1, 1),
    "three": Farm(3, 1),
    "unsettled": Farm(3, 1, ANSWERS, is_settled=False),
    "two copies": Farm(3, 2, ANSWERS),
    "one of two fails": Farm(2, 2, all_fail=False),
}

TURNING_FARMS = {
    "new lives": Farm(3, 2, HARMLESS, is_settled=False, all_fail=False, turns=LIVES, fall=1, length=40),
    "new lives, settled": Farm(3, 2, HARMLESS, all_fail=False, turns=LIVES, fall=1, length=40),
    "reloads": Farm(3, 2, HARMLESS, is_settled=False, all_fail=False, turns=RELOADS, length=40),
    "reloads, settled": Farm(3, 2, HARMLESS, all_fail=False, turns=RELOADS, length=40),
    "reloads and new lives": Farm(
        3, 2, HARMLESS, is_settled=False, all_fail=False, turns=LIVES + RELOADS, fall=1, length=40
    ),
    "ledger at its bound": Farm(3, 2, is_settled=False, all_fail=False, turns=DOUBTS, keys=2),
    "ledger at its bound, settled": Farm(3, 2, all_fail=False, turns=DOUBTS, keys=2),
}


async def seen_by(*, is_express: bool, seed: int, farm: Farm) -> Seen:
    return await Shadow(farm, is_express=is_express).run(plan(seed, farm))


async def compare(seed: int, farm: Farm) -> Seen:
    """Run one plan by each lane; what was seen, which is the same."""
    expected = await seen_by(is_express=False, seed=seed, farm=farm)
    seen = await seen_by(is_express=True, seed=seed, farm=farm)

    assert expected.pools == seen.pools
    assert expected.clients == seen.clients
    assert expected.backends == seen.backends
    assert expected.operations == seen.operations
    assert expected.facts == seen.facts
    assert expected.marks == seen.marks
    return seen


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("farm", FARMS)
async def test_both_lanes_are_the_same(seed: int, farm: str) -> None:
    """What clients get, what backends are asked, what is reported and marked: whichever lane."""
    await compare(seed, FARMS[farm])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("farm", TURNING_FARMS)
async def test_both_lanes_take_the_same_turns(seed: int, farm: str) -> None:
    """The same, while a backend begins new lives, `copies` is reloaded, or the ledger drops its marks."""
    seen = await compare(seed, TURNING_FARMS[farm])

    if TURNING_FARMS[farm].keeps_saves:
        for session, content in seen.saved.items():
            assert seen.read_back[session].startswith(b"423") or seen.read_back[session].endswith(content)
