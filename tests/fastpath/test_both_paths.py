"""Both paths are the same to clients and backends: the same traffic, faults and turns by each of them.

A plan that has shown a difference is run again alone by its seed: `ONLY_CASE='seed=4' pytest FILE::TEST`.
"""

from dataclasses import replace

import pytest

from tests.fastpath.plans import (
    ANSWERS,
    DOUBTS,
    DOUBTS_AND_INCARNATIONS,
    HARMLESS,
    INCARNATIONS,
    MARKING,
    RELOADS,
    Farm,
    plan,
)
from tests.fastpath.router_run import RouterRun
from tests.fastpath.run_record import RunRecord
from tests.tables import each_case

# What a write that concerns several servers is followed by would race with the fault of the first.
FARMS = {
    "one server": Farm(1, 1),
    "three": Farm(3, 1),
    "unsettled": Farm(3, 1, ANSWERS, is_settled=False),
    "unsettled, two copies": Farm(4, 2, ANSWERS, is_settled=False, length=40),
    "two copies": Farm(3, 2, ANSWERS),
    "one of two fails": Farm(2, 2, all_fail=False),
}

# One backend alone fails. Where failures eject it there are no other faults: whether a second failure within
# a second counts would be a race.
_PAIR = Farm(3, 2, HARMLESS, all_fail=False, fall=1, length=40)
_DOUBTED = Farm(3, 2, MARKING, all_fail=False, length=30, keys=1)
TURNING_FARMS = {
    "new incarnations": replace(_PAIR, turns=INCARNATIONS, is_settled=False),
    "new incarnations, settled": replace(_PAIR, turns=INCARNATIONS),
    "reloads": replace(_PAIR, turns=RELOADS, is_settled=False),
    "reloads, settled": replace(_PAIR, turns=RELOADS),
    "reloads and new incarnations": replace(_PAIR, turns=INCARNATIONS + RELOADS, is_settled=False),
    "ledger at its bound": replace(_DOUBTED, backends=2, turns=DOUBTS, is_settled=False),
    "ledger at its bound, settled": replace(_DOUBTED, turns=DOUBTS),
    "ledger at its bound, new incarnations": replace(
        _DOUBTED, turns=DOUBTS_AND_INCARNATIONS, is_settled=False
    ),
}


SEEDS = range(5)
TURNING_SEEDS = (0, 10, 13)
"""Most go red when routes outlive their pool. What is rarer has its seed: 10 when the life of a lock is not
looked at, 13 when writes take no heed of a backend that is RECOVERING."""

FAST_SEEDS = 1
"""How many seeds of each farm run each time; the others are slow tests."""


async def seen_by(*, is_fast: bool, seed: int, farm: Farm) -> RunRecord:
    return await RouterRun(farm, is_fast=is_fast).run(plan(seed, farm))


async def compare(seed: int, farm: Farm) -> RunRecord:
    """Run one plan by each path; what was seen, which is the same."""
    expected = await seen_by(is_fast=False, seed=seed, farm=farm)
    seen = await seen_by(is_fast=True, seed=seed, farm=farm)

    assert expected.pools == seen.pools
    assert expected.clients == seen.clients
    assert expected.backends == seen.backends
    assert expected.operations == seen.operations
    assert expected.facts == seen.facts
    assert expected.marks == seen.marks
    return seen


@pytest.mark.parametrize("farm", FARMS)
@each_case("seed", SEEDS[:FAST_SEEDS])
async def test_both_paths_are_the_same(seed: int, farm: str) -> None:
    """What clients get, what backends are asked, what is reported and marked: whichever path."""
    await compare(seed, FARMS[farm])


@pytest.mark.slow
@pytest.mark.parametrize("farm", FARMS)
@each_case("seed", SEEDS[FAST_SEEDS:])
async def test_both_paths_are_the_same_by_more_seeds(seed: int, farm: str) -> None:
    """The same, by more plans."""
    await compare(seed, FARMS[farm])


@pytest.mark.parametrize("farm", TURNING_FARMS)
@each_case("seed", TURNING_SEEDS[:FAST_SEEDS])
async def test_both_paths_take_the_same_turns(seed: int, farm: str) -> None:
    """The same, while a backend begins new incarnations, `copies` is reloaded, or the ledger drops its
    marks."""
    await compare_with_turns(seed, TURNING_FARMS[farm])


@pytest.mark.slow
@pytest.mark.parametrize("farm", TURNING_FARMS)
@each_case("seed", TURNING_SEEDS[FAST_SEEDS:])
async def test_both_paths_take_the_same_turns_by_more_seeds(seed: int, farm: str) -> None:
    """The same, by the plans that find what is rarer."""
    await compare_with_turns(seed, TURNING_FARMS[farm])


async def compare_with_turns(seed: int, farm: Farm) -> None:
    """Run one plan by each path; what is saved in them is read back, too."""
    seen = await compare(seed, farm)

    # A ledger at its bound doubts whom it has most marks of. That may be one that is well: a second failure.
    doubted = [fact for fact in seen.facts if fact.startswith("backend_doubted")]
    if farm.keeps_saves and all(fact.endswith(" state-1") for fact in doubted):
        for session, content in seen.saved.items():
            assert seen.read_back[session].startswith(b"423") or seen.read_back[session].endswith(content)
