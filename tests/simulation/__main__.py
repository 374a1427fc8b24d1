"""`python -m tests.simulation`: replay one history, or run many."""

import multiprocessing
import sys
import traceback
from collections import Counter
from time import perf_counter

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.mutations import proofs
from tests.simulation.scenario import THEMES
from tests.simulation.world import simulate


@click.command()
@click.option("--seed", type=int, help="Replay this one, and print its history.")
@click.option("--seeds", type=int, default=300, show_default=True, help="How many to run.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--jobs", type=int, default=2, show_default=True, help="Processes.")
@click.option("--mutation", "mutations", multiple=True, help="A rule of the router to break.")
@click.option(
    "--mutations", "is_table", is_flag=True, help="Print what catches each mutation, and run nothing."
)
@click.option("--theme", type=click.Choice(sorted(THEMES)), help="Scenarios of this kind alone.")
def main(
    seed: int | None,
    seeds: int,
    first: int,
    jobs: int,
    mutations: tuple[str, ...],
    is_table: bool,
    theme: str | None,
) -> None:
    """Simulate the router against a world that goes wrong."""
    if is_table:
        for line in proofs.lines():
            click.echo(line)
        return
    if seed is not None:
        sys.exit(replay(seed, mutations, theme))
    sys.exit(run_many(range(first, first + seeds), jobs, mutations, theme))


def replay(seed: int, mutations: tuple[str, ...], theme: str | None) -> int:
    outcome = simulate(seed, mutations, theme)
    click.echo(str(outcome.scenario))
    for line in outcome.history.lines():
        click.echo(line)
    for violation in outcome.violations:
        click.echo(str(violation))
    click.echo(
        f"seed {seed}: {len(outcome.history.exchanges)} exchanges, {len(outcome.violations)} violations"
    )
    return 1 if outcome.violations else 0


def run_many(seeds: range, jobs: int, mutations: tuple[str, ...], theme: str | None) -> int:
    began_at = perf_counter()
    failed: dict[int, list[str]] = {}
    exchanges = 0
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        multiprocessing.Pool(jobs) as pool,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("seeds", total=len(seeds))
        asked = [(seed, mutations, theme) for seed in seeds]
        for seed, count, kinds in pool.imap_unordered(_run_one, asked, chunksize=4):
            exchanges += count
            if kinds:
                failed[seed] = kinds
                progress.console.print(f"seed {seed}: {', '.join(sorted(set(kinds)))}", highlight=False)
            progress.update(task, advance=1, description=f"seeds, {len(failed)} failed")
    minutes = (perf_counter() - began_at) / 60
    for seed, kinds in sorted(failed.items()):
        click.echo(f"seed {seed}: {', '.join(f'{count} {kind}' for kind, count in Counter(kinds).items())}")
    click.echo(
        f"{len(seeds)} seeds, {exchanges} exchanges, {len(failed)} seeds failed; "
        f"{len(seeds) / minutes:.0f} seeds a minute"
    )
    return 1 if failed else 0


def _run_one(asked: tuple[int, tuple[str, ...], str | None]) -> tuple[int, int, list[str]]:
    seed, mutations, theme = asked
    try:
        outcome = simulate(seed, mutations, theme, is_told=False)
    except BaseException as error:  # noqa: BLE001 - a crash is a finding like any other
        last = traceback.format_exception_only(error)[-1].strip()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
            last = traceback.format_exception_only(error)[-1].strip()
        return seed, 0, [f"crash {last}"]
    return seed, len(outcome.history.exchanges), [each.kind.value for each in outcome.violations]


if __name__ == "__main__":
    main()
