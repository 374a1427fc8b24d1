"""Some hundred seeds of the simulation, and those that have shown a fault before (design.md 10)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.simulation.mutations import MUTATIONS
from tests.simulation.mutations.proofs import BY_SEED, BY_UNIT_TEST, HARMLESS
from tests.simulation.scenario import SWITCHES, THEMES
from tests.simulation.seeded import run_seeded
from tests.simulation.world import simulate
from tests.tables import each_case

FAST_SEEDS = (*range(12), *range(SWITCHES, SWITCHES + 2))
BATCHES = [range(start, start + 20) for start in range(0, 240, 20)] + [range(SWITCHES, SWITCHES + 10)]
"""Seeds that are simulated one after the other."""

REGRESSIONS = {
    31: "a pool of two could never be drained: it was not redundant without the one to stop",
    47: "so small a ledger put every server in doubt at once",
    98: "a get that was answered to nobody let the primary outlive its copy",
    116: "a router that dies in the middle of a save leaves a copy behind",
    159: "reads while a copy was away let it expire too early",
    170: "repair read the primary again and again, and let it outlive its copies",
    231: "a ghost lock on a server that was not read for so long",
    275: "a server that has just joined has no copy yet; the former one is good",
    299: "a copy that was too slow for a touch",
    333: "a copy that was too slow for a touch",
    343: "a create that its home did not take was cleared up there, and its home was believed to be right",
    1473: "what reached a thawed server late outlived the doubt about it",
    1503: "a pool of two cannot lose one while the other is drained: the judge's mistake",
    1919: "the same as 1473",
    1997: "the same as 1473",
    4168: "a create after a remove that failed was taken for a repair, and a ghost lock stayed",
    5943: "a mark ended while its session was served from elsewhere, and the missing copy was forgotten",
    9929: "a server was removed while its drain was waited for: the world's mistake",
    9_200_008: "a remove by the holder of a lock that the router stood for was not found",
    372: "a copy lagged behind a primary that was read by nobody but repair",
}
"""Seeds that have shown a fault, of the router or of its judge, and what it was."""

THEMED_REGRESSIONS = {
    ("bounds", 9_620_018): "a ledger of one key had no room for a second lock: the judge's mistake",
    ("healing", 9_630_050): "a lock of an old memory was still there when its server was read again",
    ("healing", 9_671_503): "a primary whose clock stood still outlives its copies: the judge's mistake",
    ("healing", 30_023): "an old memory went unnoticed after an answer of its server was lost",
    ("healing", 31_178): "copies on a server that was in doubt expired too early after it was healed",
    ("old files", 40_016): "a copy that was not touched for its lock was forgotten while its session lived",
    ("crowd over a crash", 7_002_013): "a primary that was not read yet was audited: the judge's mistake",
    ("crowd over a crash", 7_002_077): "the same as 7002013",
    ("crowd over a crash", 7_002_110): "lock quarantine kept stale content alive until it was read",
    ("memories", 7_006_042): "a primary whose clock stood still owes no copies: the judge's mistake",
    ("memories", 7_006_092): "an old memory was audited before it could be noticed: the judge's mistake",
    ("router, one away", 700_019): "what only repair has kept alive owes no copies: the judge's mistake",
    ("router, one away", 7_004_009): "a late answer to a router before left a lock: the judge's mistake",
    ("router, one away", 9_100_090): "a lock that was shown in quarantine could not be released by force",
    ("router, one away", 9_350_010): "in a pool of two the copy in doubt was touched by nobody",
    ("router, one away", 9_650_096): "a router that claims may show a lock once more: the judge's mistake",
    ("takeover", 7_000_018): "the same as 700019",
}
"""The same of themes that are asked for by name."""


THEMED_SEEDS = range(20_000, 20_009)
"""Of each theme that is asked for by name."""

SeedRequest = tuple[int, tuple[str, ...], str | None]
"""A seed, the rules that are broken, and a theme."""


def findings(asked: SeedRequest) -> list[str]:
    """What is wrong with the history of a seed, as text: outcomes themselves are large."""
    seed, mutations, theme = asked
    violations = simulate(seed, mutations, theme, is_told=False).violations
    return [f"seed {seed} of {theme or 'all'}: {each}" for each in violations]


def test_no_seed_of_some_breaks_a_promise() -> None:
    """Whatever a seed lets go wrong, clients see nothing that design.md 1 forbids."""
    assert [] == [each for seed in FAST_SEEDS for each in findings((seed, (), None))]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", BATCHES, ids=lambda seeds: f"{seeds[0]} to {seeds[-1]}")
def test_no_seed_breaks_a_promise(seeds: range) -> None:
    """The same, by all of them."""
    assert [] == [each for seed in seeds for each in findings((seed, (), None))]


@pytest.mark.slow
@pytest.mark.parametrize("theme", sorted(THEMES))
def test_no_seed_of_a_theme_breaks_a_promise(theme: str) -> None:
    """The same, where one kind of thing goes wrong."""
    assert [] == [each for seed in THEMED_SEEDS for each in findings((seed, (), theme))]


@pytest.mark.slow
def test_no_seed_that_has_shown_a_fault_breaks_a_promise() -> None:
    """What was mended stays mended."""
    asked: list[SeedRequest] = [(seed, (), None) for seed in sorted(REGRESSIONS)]
    asked += [(seed, (), theme) for theme, seed in sorted(THEMED_REGRESSIONS)]

    assert [] == [each for one in asked for each in findings(one)]


@pytest.mark.parametrize("name", sorted(BY_SEED))
def test_a_broken_rule_is_caught(name: str) -> None:
    """Each rule of the router can be broken, and a seed shows it."""
    seed, theme = BY_SEED[name]
    found = findings((seed, (name,), theme))

    assert [] != found


@pytest.mark.slow
@each_case(("seed", "theme"), sorted(set(BY_SEED.values()), key=str))
def test_a_seed_that_catches_shows_nothing_else(seed: int, theme: str | None) -> None:
    """With all rules as they are nothing is wrong with its history."""
    assert [] == findings((seed, (), theme))


HALVES = [sorted(BY_UNIT_TEST)[::2], sorted(BY_UNIT_TEST)[1::2]]


@pytest.mark.slow
@pytest.mark.parametrize("names", HALVES, ids=["one half", "the other half"])
def test_a_broken_rule_is_caught_by_a_unit_test(names: list[str]) -> None:
    """The test that is named for a broken rule turns red with it."""
    proving = subprocess.run(
        [sys.executable, "-m", "tests.simulation.mutations.prove"],
        input="\n".join(names),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    outcomes = {name: (code, printed) for name, code, printed in map(json.loads, proving.stdout.splitlines())}
    missed = {
        name: printed for name, (code, printed) in outcomes.items() if code != pytest.ExitCode.TESTS_FAILED
    }

    assert names == list(outcomes)
    assert {} == missed


async def race() -> list[int]:
    """Tasks that are ready at the same time, in the order in which they get their turn."""
    order: list[int] = []

    async def run(number: int) -> None:
        await trio.lowlevel.checkpoint()
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(run, number)
    return order


def test_the_order_of_tasks_follows_the_seed() -> None:
    """trio's own choices are drawn from the seed: the same again, and others with another seed."""
    assert run_seeded(1, race) == run_seeded(1, race)
    assert run_seeded(1, race) != run_seeded(2, race)


def test_a_seed_is_one_history() -> None:
    """A seed replays to the letter, in other processes and with other hashes of strings too."""
    program = (
        "from tests.simulation.world import simulate\n"
        "for seed in (1, 2, 3, 47):\n"
        "    print('\\n'.join(simulate(seed).history.lines()))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    told = [process.communicate()[0] for process in processes]

    assert [0, 0] == [process.returncode for process in processes]
    assert told[0] == told[1]


def test_every_mutation_is_accounted_for() -> None:
    """Each rule that is broken is shown by a seed or by unit tests, or it is said why it cannot be."""
    assert set(MUTATIONS) == set(BY_SEED) | set(BY_UNIT_TEST) | set(HARMLESS)
