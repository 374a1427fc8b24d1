"""What a second copy costs the router, and what a fault costs on top of that.

    python -m tests.benchmarks.copies [--rounds 7] [--duration 3s] [--rate 100] [--against CHECKOUT] [--json]

Three state servers, and three routers over them which are loaded in turn:

- *copies 1* and *copies 2* in settled times: the longest life of a session is 2 s for them, and has
  passed before the first round.
- *unsettled*: copies 2, and before each round a reload changes a weight a little. Nothing is known of
  any key then: the first save of each is followed by removes wherever else the session may lie. So it is
  after any fault, until each session has been saved once; what is lost and moved costs more, once.

Each round loads every router twice, first as hard as it will go and then at a steady rate, which is what
latencies should be read from. CPU is what the operating system has accounted to the router's process
between the first and the last of the counted exchanges. With --against, the routers of another checkout
are measured in the same rounds, so that a change can be told from the weather.
"""

import json
import signal
import statistics
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack, chdir
from dataclasses import dataclass, field
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.progress import track
from rich.table import Table

from partitioner.bench.counters import Counters
from partitioner.bench.histogram import merge
from partitioner.protocol.messages import Operation
from partitioner.units import parse_duration, parse_size
from tests.benchmarks.accounting import cpu_seconds
from tests.benchmarks.load import Load
from tests.benchmarks.yardstick.rivals import LIFE, PATIENT, SETTLED
from tests.end_to_end.processes import CONFIGURATION, RouterProcess, router, state_server

ROUTERS = {
    "copies 1": f"copies: 1\n{SETTLED}{PATIENT}",
    "copies 2": f"copies: 2\n{SETTLED}{PATIENT}",
    "unsettled": f"copies: 2\n{PATIENT}",
}

OPERATIONS = (Operation.GET, Operation.ACQUIRE, Operation.RELEASE, Operation.SET)


@dataclass(frozen=True)
class Slice:
    """What was counted in one round, under one kind of load."""

    counters: Counters
    cpu: float  # seconds, of the router's process

    @property
    def cpu_per_exchange(self) -> float:
        """In microseconds."""
        return self.cpu / self.counters.exchanges * 1e6


@dataclass
class Measured:
    """A router that is measured."""

    name: str
    process: RouterProcess
    file: Path
    load: Load | None = None
    reloads: int = 0
    full: list[Slice] = field(default_factory=list)
    paced: list[Slice] = field(default_factory=list)

    async def measure(self, duration: float, rate: float | None) -> Slice:
        """Load it for so long."""
        assert self.load is not None
        await self.load.warm_up()
        if "unsettled" in self.name:
            self.unsettle()
        before = cpu_seconds(self.process.program.process.pid)
        counters = await self.load.work(duration, rate)
        return Slice(counters, cpu_seconds(self.process.program.process.pid) - before)

    def unsettle(self) -> None:
        """Change the weight of a server by one percent, there and back."""
        self.reloads += 1
        text = self.file.read_text()
        light, heavy = "{name: state-3,", "{name: state-3, weight: 1.01,"
        self.file.write_text(text.replace(light, heavy) if heavy not in text else text.replace(heavy, light))
        self.process.program.process.send_signal(signal.SIGHUP)
        self.process.program.wait_for(rf"(?s)(configuration reloaded.*?){{{self.reloads}}}")


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--duration", default="3s", show_default=True, help="Of one slice of load.")
@click.option("--connections", default=64, show_default=True)
@click.option("--sessions", default=4000, show_default=True)
@click.option("--size", default="1KiB", show_default=True)
@click.option("--rate", default=100.0, show_default=True, help="Web requests a second of the paced load.")
@click.option("--against", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True)
def main(
    rounds: int,
    duration: str,
    connections: int,
    sessions: int,
    size: str,
    rate: float,
    against: Path | None,
    as_json: bool,
) -> None:
    """Measure CPU for each exchange, and latencies, by the number of copies."""
    with ExitStack() as stack:
        ports = [stack.enter_context(state_server()).port for _ in range(3)]
        subjects = [start(stack, name, ports) for name in ROUTERS]
        if against is not None:
            with chdir(against):  # `python -m` takes the package that lies there
                subjects += [start(stack, name, ports, of="before, ") for name in ROUTERS]
        trio.run(measure_all, subjects, rounds, parse_duration(duration), rate, connections, sessions, size)
    if as_json:
        click.echo(json.dumps({"rounds": rounds, "routers": [summary(each) for each in subjects]}, indent=2))
    else:
        console = Console(width=120)
        console.print(
            f"{rounds} rounds of {duration}, {connections} connections, {sessions} sessions of {size}"
        )
        console.print(cpu_table(subjects), latency_table(subjects, rate))


def start(stack: ExitStack, name: str, ports: list[int], of: str = "") -> Measured:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    process = stack.enter_context(router(directory, ports, ROUTERS[name]))
    return Measured(of + name, process, directory / CONFIGURATION)


async def measure_all(
    subjects: list[Measured],
    rounds: int,
    duration: float,
    rate: float,
    connections: int,
    sessions: int,
    size: str,
) -> None:
    """Load all in turn, each of them as often as there are rounds."""
    console = Console(stderr=True)
    for subject in track(subjects, "creating sessions", console=console):
        subject.load = Load(subject.process.port, connections, sessions, parse_size(size))
        await subject.load.create()
    await trio.sleep(parse_duration(LIFE) + 1)
    turns = [subject for number in range(rounds) for subject in in_turn(subjects, number)]
    for subject in track(turns, "benching", console=console):
        subject.full.append(await subject.measure(duration, None))
        subject.paced.append(await subject.measure(duration, rate))
    for subject in subjects:
        assert subject.load is not None
        subject.load.close()


def in_turn(subjects: list[Measured], number: int) -> list[Measured]:
    """Every round begins with another one, so that none always follows the same."""
    first = number % len(subjects)
    return subjects[first:] + subjects[:first]


def cpu_table(subjects: list[Measured]) -> Table:
    table = Table(
        "", "exchanges/s", "CPU us/exchange: full load", "fastest", "paced", "fastest", "ratio, paired"
    )
    for subject in subjects:
        rates = [each.counters.exchanges / each.counters.seconds for each in subject.full]
        table.add_row(
            subject.name,
            f"{statistics.median(rates):.0f}",
            *cpu_columns(subject.full),
            *cpu_columns(subject.paced),
            " ".join(f"{ratio:.2f} to {name}" for name, ratio in ratios(subject, subjects).items()),
        )
    return table


def cpu_columns(slices: list[Slice]) -> tuple[str, str]:
    costs = [each.cpu_per_exchange for each in slices]
    return f"{statistics.median(costs):.0f}", f"{min(costs):.0f}"


def ratios(subject: Measured, subjects: Iterable[Measured]) -> dict[str, float]:
    """CPU for each exchange under full load, as the median of the ratios in each round."""
    prefix, _, kind = subject.name.rpartition(", ")
    yardsticks = {f"{prefix}, copies 1".removeprefix(", "), f"before, {kind}"} - {subject.name}
    return {
        other.name: statistics.median(
            one.cpu_per_exchange / than.cpu_per_exchange
            for one, than in zip(subject.full, other.full, strict=True)
        )
        for other in subjects
        if other.name in yardsticks
    }


def latency_table(subjects: list[Measured], rate: float) -> Table:
    table = Table("p50/p99, ms", *(each.value for each in OPERATIONS))
    for subject in subjects:
        for kind, slices in (("full load", subject.full), (f"{rate:g} pages/s", subject.paced)):
            cells = [quantiles(slices, operation) for operation in OPERATIONS]
            table.add_row(f"{subject.name}, {kind}", *(f"{p50:.1f} / {p99:.1f}" for p50, p99 in cells))
    return table


def quantiles(slices: list[Slice], operation: Operation) -> tuple[float, float]:
    """p50 and p99 of all rounds together, in milliseconds."""
    latencies = merge(each.counters.latencies[operation] for each in slices)
    return latencies.quantile(0.5) * 1e3, latencies.quantile(0.99) * 1e3


def summary(subject: Measured) -> dict[str, object]:
    """All that is known of one router; the rounds' figures in their order."""
    loads = {"full": subject.full, "paced": subject.paced}
    return {
        "name": subject.name,
        **{
            kind: {
                "cpu_us_per_exchange": [each.cpu_per_exchange for each in slices],
                "exchanges_per_second": [each.counters.exchanges / each.counters.seconds for each in slices],
                "p50_p99_ms": {each.value: quantiles(slices, each) for each in OPERATIONS},
            }
            for kind, slices in loads.items()
        },
    }


if __name__ == "__main__":
    main()
