"""What an exchange costs a state server whose sessions are on an engine, beside one that has them in memory.

    python -m tests.benchmarks.store [--rounds 5] [--duration 2] [--connections 64] [--size 1024]

Four state servers are measured in turn, in slices, on connections and sessions of their own: in memory; on
Valkey; on Valkey with a replica that has to acknowledge; on Valkey by the slow path. CPU is that of the
scheduler's account. What matters is the ratio within one round: the machine may have other work.
"""

import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.table import Table

from tests.benchmarks.accounting import running_seconds
from tests.benchmarks.load import Load
from tests.end_to_end.engines import VALKEY, Engine, engine
from tests.end_to_end.processes import forked_from_warm_processes, state_server
from tests.end_to_end.store_servers import configured_store_server

SESSIONS = 500


@dataclass
class Subject:
    """A state server that is measured. Costs are microseconds of CPU for an exchange."""

    name: str
    port: int
    pid: int
    engine_pid: int | None = None
    load: Load | None = None
    costs: list[float] = field(default_factory=list)
    engine_costs: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)  # p99, milliseconds


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--duration", default=2.0, show_default=True, help="Seconds of a slice.")
@click.option("--connections", default=64, show_default=True)
@click.option("--size", default=1024, show_default=True, help="Bytes of a session.")
@click.option("--rate", type=float, help="Web requests a second; without it as many as go.")
def main(rounds: int, duration: float, connections: int, size: int, rate: float | None) -> None:
    """Measure CPU for each exchange."""
    with ExitStack() as stack:
        stack.enter_context(forked_from_warm_processes())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subjects = _start(stack, directory)
        trio.run(_measure, subjects, rounds, duration, connections, size, rate)
    _print(subjects)


def _start(stack: ExitStack, directory: Path) -> list[Subject]:
    memory = stack.enter_context(state_server())
    subjects = [Subject("in memory", memory.port, memory.program.process.pid)]
    for number, (name, has_replica, settings) in enumerate(
        (
            ("on Valkey", False, ""),
            ("on Valkey, one replica", True, ""),
            ("on Valkey, slow path", False, "fast_path: off\n"),
        )
    ):
        running: Engine = stack.enter_context(engine(directory))
        if has_replica:
            follow = ("--replicaof", f"127.0.0.1 {running.port}", "--repl-diskless-sync-delay", "0")
            stack.enter_context(engine(directory, VALKEY, *follow))
            _wait_for_replica(running)
        store = f"{settings}store:\n  primary: 127.0.0.1:{running.port}\n"
        server = stack.enter_context(configured_store_server(directory, store, f"store-{number}"))
        server.program.wait_for("engine found")
        assert running.process is not None
        subjects.append(Subject(name, server.port, server.program.process.pid, running.process.pid))
    return subjects


def _wait_for_replica(running: Engine) -> None:
    while running.ask("WAIT", "1", "1000") != 1:
        pass


async def _measure(
    subjects: list[Subject], rounds: int, duration: float, connections: int, size: int, rate: float | None
) -> None:
    for subject in subjects:
        subject.load = Load(subject.port, connections, SESSIONS, size)
        await subject.load.create()
    for _ in range(rounds):
        for subject in subjects:
            await _slice(subject, duration, rate)
    for subject in subjects:
        assert subject.load is not None
        subject.load.close()


async def _slice(subject: Subject, duration: float, rate: float | None) -> None:
    assert subject.load is not None
    await subject.load.warm_up()
    before = [running_seconds(pid) for pid in _pids(subject)]
    counters = await subject.load.work(duration, rate)
    used = [running_seconds(pid) - was for pid, was in zip(_pids(subject), before, strict=True)]
    subject.costs.append(used[0] / counters.exchanges * 1e6)
    if len(used) > 1:
        subject.engine_costs.append(used[1] / counters.exchanges * 1e6)
    subject.rates.append(counters.exchanges / counters.seconds)
    subject.tails.append(counters.all_latencies().quantile(0.99) * 1000)


def _pids(subject: Subject) -> list[int]:
    return [subject.pid] if subject.engine_pid is None else [subject.pid, subject.engine_pid]


def _print(subjects: list[Subject]) -> None:
    table = Table("", "CPU us/exchange: median", "least", "ratio, paired", "engine", "exchanges/s", "p99 ms")
    base = subjects[0].costs
    for each in subjects:
        ratio = statistics.median(one / other for one, other in zip(each.costs, base, strict=True))
        of_engine = f"{statistics.median(each.engine_costs):.1f}" if each.engine_costs else ""
        table.add_row(
            each.name,
            f"{statistics.median(each.costs):.1f}",
            f"{min(each.costs):.1f}",
            f"{ratio:.2f}",
            of_engine,
            f"{statistics.median(each.rates):.0f}",
            f"{statistics.median(each.tails):.1f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
