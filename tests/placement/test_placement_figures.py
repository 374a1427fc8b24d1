"""The figures that placement has to hold, over 200,000 session IDs (design.md 4).

The IDs are drawn from a seed, so a figure that holds today holds in every run.
"""

from collections import Counter
from functools import cache
from math import sqrt
from random import Random

import pytest

from partitioner.placement.rendezvous import Ranking
from tests.tables import each_case

COUNT = 200_000
ALPHABET = "abcdefghijklmnopqrstuvwxyz012345"  # of the default session ID: 24 characters, 120 bits

EQUAL = {f"state-{number}": 1.0 for number in range(1, 6)}
WEIGHTED = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 1.0, "e": 0.5}


@cache
def session_ids() -> list[bytes]:
    draw = Random("session IDs")
    return ["".join(draw.choices(ALPHABET, k=24)).encode() for _ in range(COUNT)]


@cache
def first_choices(servers: tuple[tuple[str, float], ...]) -> list[str | None]:
    ranking = Ranking(dict(servers))
    names = {name for name, _ in servers}
    return [ranking.first_choice(key, names) for key in session_ids()]


def owners(servers: dict[str, float]) -> list[str | None]:
    return first_choices(tuple(servers.items()))


def test_removal_moves_the_removed_servers_keys() -> None:
    """Removing one server moves exactly its own keys, each of them, and nothing else."""
    before = owners(EQUAL)
    after = owners({name: weight for name, weight in EQUAL.items() if name != "state-3"})

    assert [owner == "state-3" for owner in before] == [
        owner != later for owner, later in zip(before, after, strict=True)
    ]


def test_moved_keys_spread_over_all_others() -> None:
    """What a removed server had goes to the others in equal parts, not to a neighbour."""
    before = owners(EQUAL)
    after = owners({name: weight for name, weight in EQUAL.items() if name != "state-3"})
    heirs = Counter(later for owner, later in zip(before, after, strict=True) if owner == "state-3")

    assert max(heirs.values()) / min(heirs.values()) < 1.05


@pytest.mark.parametrize("size", [3, 5, 10])
def test_peak_over_average(size: int) -> None:
    """With n equal servers and K keys, peak over average is at most 1 + 4*sqrt((n-1)/K)."""
    counts = Counter(owners({f"state-{number}": 1.0 for number in range(1, size + 1)}))

    assert max(counts.values()) / (COUNT / size) <= 1 + 4 * sqrt((size - 1) / COUNT)


@each_case("name", WEIGHTED)
def test_weighted_share(name: str) -> None:
    """A server's share of the keys is within 2 % of what is due to its weight."""
    share = Counter(owners(WEIGHTED))[name] / COUNT
    due = WEIGHTED[name] / sum(WEIGHTED.values())

    assert share == pytest.approx(due, rel=0.02)
