"""CPU for each exchange of the router as a ratio to HAProxy's, in the same interleaved run.

    python -m tests.benchmarks.yardstick [--rounds 10] [--seconds 2] [--points 1KiB/64,8KiB/64] [--copies 1,2]
                                         [--settings 'fast_path: off'] [--state-server] [--json]

With `--state-server` a state server of our own is a rival as well: it has the same load, answers itself, and
is compared with the first router.

HAProxy 2.6 has the easier job: it hashes the target and relays, and gets its traffic in a form that it
takes for HTTP. The router gets the real one. Both relay the same pages and bodies to stand-ins that are
faster than either, and are loaded in turn; whoever is measured has a core to itself, load and stand-ins
share another. In each round all rivals do one slice of each point, and the ratio is taken within the
round, so that a busy neighbour spoils a pair and not the comparison.

CPU is what the scheduler has accounted to the rival's process between the first and the last of the
counted exchanges. Latencies are counted from when an exchange was due.
"""

import json
import platform
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from tests.benchmarks.yardstick.native import LoadPlan, compile_programs
from tests.benchmarks.yardstick.points import HALF, POINTS, Point
from tests.benchmarks.yardstick.report import Results, as_json, as_table
from tests.benchmarks.yardstick.rivals import Rival, haproxy, origin, partitioner, pick_cores

RAMP = 1.0
"""Seconds of the slice that finds out how much the router takes."""


@click.command()
@click.option("--rounds", default=10, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Of one slice of load.")
@click.option(
    "--points", "names", default="", help=f"Of {', '.join(each.name for each in POINTS)}; all by default."
)
@click.option("--copies", default="1,2", show_default=True)
@click.option("--settings", default="", help="More of the router's configuration, as YAML.")
@click.option("--state-server", "with_server", is_flag=True, help="Measure the state server as well.")
@click.option("--json", "is_json", is_flag=True)
def main(
    rounds: int, seconds: float, names: str, copies: str, settings: str, with_server: bool, is_json: bool
) -> None:
    """Measure the router against HAProxy."""
    points = chosen(names)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        programs, cores = compile_programs(directory), pick_cores()
        rivals = [stack.enter_context(haproxy(programs, cores, directory))]
        for count in copies.split(","):
            text = f"copies: {count}\n{settings}\n"
            name = f"copies {count}"
            where = directory / f"copies-{count}"
            rivals.append(stack.enter_context(partitioner(name, text, programs, cores, where)))
        if with_server:
            rivals.append(stack.enter_context(origin(programs, cores)))
        results = compare(rivals, points, rounds, seconds)
    if is_json:
        click.echo(json.dumps(as_json(results), indent=2))
    else:
        console = Console(width=140)
        console.print(f"{rounds} rounds, slices of {seconds:g} s, Python {platform.python_version()}")
        console.print(as_table(results))


def chosen(names: str) -> list[Point]:
    """The points of these names."""
    known = {each.name: each for each in POINTS}
    unknown = [name for name in names.split(",") if name and name not in known]
    if unknown:
        raise click.UsageError(f"no such point: {', '.join(unknown)}; expected some of {', '.join(known)}")
    return [known[name] for name in names.split(",")] if names else list(POINTS)


def compare(rivals: list[Rival], points: list[Point], rounds: int, seconds: float) -> Results:
    """Load all of them in turn, at each point, as often as there are rounds."""
    results: Results = {(point.name, rival.name): [] for point in points for rival in rivals}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=rounds * len(points) * len(rivals))
        for point in points:
            rate = half_of_saturation(rivals[1], point) if point.rate == HALF else point.rate
            plan = LoadPlan(point.connections, point.sessions, point.size, seconds, rate)
            for number in range(rounds):
                for rival in in_turn(rivals, number):
                    progress.update(task, description=f"{point.name}, {rival.name}")
                    results[point.name, rival.name].append(rival.measure(plan))
                    progress.advance(task)
    return results


def half_of_saturation(rival: Rival, point: Point) -> float:
    """Exchanges a second: half of what it takes."""
    result = rival.measure(LoadPlan(point.connections, point.sessions, point.size, RAMP, 0)).result
    return result.exchanges / result.seconds / 2


def in_turn(rivals: list[Rival], number: int) -> list[Rival]:
    """Every round begins with another one, so that none always follows the same."""
    first = number % len(rivals)
    return rivals[first:] + rivals[:first]


if __name__ == "__main__":
    main()
