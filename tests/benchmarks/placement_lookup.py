"""What it costs to find a session's servers, in pools of different sizes.

python -m tests.benchmarks.placement_lookup [--repeats 7]
"""

import statistics
from time import process_time

import click
from rich.console import Console
from rich.table import Table

from partitioner.placement.moves import sample_keys
from partitioner.placement.rendezvous import Ranking

KEYS = list(sample_keys(2000))


@click.command()
@click.option("--repeats", default=7, show_default=True)
def main(repeats: int) -> None:
    """Measure lookups of the first choice and of the whole preference list."""
    table = Table("servers", "first choice, us", "us for each server", "preference list, us")
    for size in (3, 10, 50, 200):
        ranking = Ranking({f"state-{number}": 1.0 for number in range(size)})
        names = frozenset(ranking.weights)
        firsts, lists = [], []
        for _ in range(repeats):
            began_at = process_time()
            for key in KEYS:
                ranking.first_choice(key, names)
            between = process_time()
            for key in KEYS:
                ranking.preference_list(key)
            firsts.append((between - began_at) / len(KEYS) * 1e6)
            lists.append((process_time() - between) / len(KEYS) * 1e6)
        first = statistics.median(firsts)
        table.add_row(str(size), f"{first:.1f}", f"{first / size:.2f}", f"{statistics.median(lists):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
