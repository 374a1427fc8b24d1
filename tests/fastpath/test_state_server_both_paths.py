"""Both paths of a state server are the same to clients: the same traffic by each of them.

A plan that has shown a difference is run again alone by its seed: `ONLY_CASE='seed=4' pytest FILE::TEST`.
"""

import pytest

from tests.fastpath.server_run import RunRecord, StateServerRun, plan
from tests.tables import each_case

LENGTH = 60
SEEDS = range(8)
FAST_SEEDS = 3
"""How many seeds run each time; the others are slow tests."""


async def seen_by(*, is_fast: bool, is_liberal: bool, seed: int) -> RunRecord:
    return await StateServerRun(is_fast=is_fast, is_liberal=is_liberal).run(plan(seed, LENGTH))


each_dialect = pytest.mark.parametrize("is_liberal", [False, True], ids=["stock", "liberal"])


@each_dialect
@each_case("seed", SEEDS[:FAST_SEEDS])
async def test_both_paths_are_the_same(seed: int, is_liberal: bool) -> None:
    """What clients get, what is reported, and what is stored in the end: byte for byte, whichever path."""
    await compare(seed, is_liberal=is_liberal)


@pytest.mark.slow
@each_dialect
@each_case("seed", SEEDS[FAST_SEEDS:])
async def test_both_paths_are_the_same_by_more_seeds(seed: int, is_liberal: bool) -> None:
    """The same, by more plans."""
    await compare(seed, is_liberal=is_liberal)


async def compare(seed: int, *, is_liberal: bool) -> None:
    """Run one plan by each path."""
    expected = await seen_by(is_fast=False, is_liberal=is_liberal, seed=seed)
    seen = await seen_by(is_fast=True, is_liberal=is_liberal, seed=seed)

    assert expected.answers == seen.answers
    assert expected.facts == seen.facts
    assert expected.sessions == seen.sessions
