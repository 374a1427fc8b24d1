"""The same ratio where the router cannot know where sessions are, or there are none yet.

    python -m tests.benchmarks.yardstick.cold [--rounds 3] [--seconds 20] [--points new/2,killed/2] [--json]

    new/1, new/2            new sessions only: an acquire that is answered 404, then a set
    new/unknown/2           the same from the start of a router that knows nothing of its servers
    restart/1, restart/2    from the start of a router that has its record
    unknown/2               from the start of a router that knows nothing of servers that are full of sessions
    killed/2                from when one of four servers was killed
    paced/2                 the same at 2,300 exchanges a second; it is compared with the time before, too
    embedded                router and three state servers in one process, in settled times

The number is that of the copies. Where not all is settled from the start, sessions are taken to live for a
little more than a slice, so that nothing is settled by the clock before its end.

Each slice is followed by one of HAProxy under the same load, and the ratio is taken from the two.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.benchmarks.accounting import running_seconds
from tests.benchmarks.yardstick.native import (
    CREATING,
    KNOWN,
    NEW,
    Load,
    LoadPlan,
    Programs,
    compile_programs,
    standins,
)
from tests.benchmarks.yardstick.rivals import PATIENT, Cores, Measured, Rival, haproxy, pick_cores, pin
from tests.end_to_end.processes import RouterProcess, router, running

CONNECTIONS, SIZE = 64, 1024
PACE = 2300.0
"""Exchanges a second of the paced point: what a busy farm makes."""

MORE_LIFE = 10.0
"""Seconds for which a session lives longer than a slice takes."""


@dataclass(frozen=True)
class Setting:
    """What all points have in common."""

    programs: Programs
    cores: Cores
    directory: Path
    plan: LoadPlan

    @property
    def life(self) -> float:
        """For how long a session is taken to live, in seconds."""
        return self.plan.seconds + MORE_LIFE

    def load(self, port: int, kind: str, name: str = "cold") -> Load:
        return Load(self.programs.load, self.plan, port, "", name, kind=kind, core=self.cores.rest)

    def measure(self, started: RouterProcess, load: Load) -> Measured:
        pid = started.program.process.pid
        before = running_seconds(pid)
        result = load.run()
        return Measured(result, running_seconds(pid) - before)

    @contextmanager
    def router(
        self, ports: list[int], copies: int, more: str = "", *, is_new: bool = True
    ) -> Iterator[RouterProcess]:
        """A router in front of stand-ins; a new one knows nothing of the one before it."""
        directory = self.directory / "router"
        if is_new:
            directory = Path(tempfile.mkdtemp(dir=self.directory))
        directory.mkdir(exist_ok=True)
        life = f"session_timeout: {self.life:g}s\nsession_timeout_max: {self.life:g}s\n"
        text = f"copies: {copies}\nstate_dir: {directory}/state\n{life}{PATIENT}{more}"
        with router(directory, ports, text) as started:
            pin(started.program.process.pid, self.cores.rival)
            yield started

    def fill(self, started: RouterProcess) -> None:
        """Store all sessions, and wait until nothing is unsettled any more."""
        replace(self, plan=replace(self.plan, seconds=0.5, rate=0.0)).load(started.port, CREATING).run()
        time.sleep(self.life + 1)

    def servers(self, count: int) -> AbstractContextManager[list[int]]:
        return standins(self.programs.standin, count, "", self.cores.rest)


Slices: TypeAlias = Generator[dict[str, Measured], None, None]
"""One for each round, by name: what is measured, and what that is compared with besides HAProxy."""


def new_sessions(copies: int) -> Callable[[Setting], Slices]:
    def slices(setting: Setting) -> Slices:
        with setting.servers(4) as ports, setting.router(ports, copies) as started:
            time.sleep(setting.life + 1)
            for number in range(1_000_000):
                yield {"": setting.measure(started, setting.load(started.port, NEW, f"new{number}x"))}

    return slices


def new_at_unknown_servers(copies: int) -> Callable[[Setting], Slices]:
    def slices(setting: Setting) -> Slices:
        with setting.servers(4) as ports:
            for number in range(1_000_000):
                with setting.router(ports, copies, f"name: after-{number}\n") as started:
                    load = setting.load(started.port, NEW, f"new{number}x")
                    yield {"": setting.measure(started, load)}
                    started.program.stop()

    return slices


def restarted(copies: int) -> Callable[[Setting], Slices]:
    def slices(setting: Setting) -> Slices:
        with setting.servers(4) as ports:
            with setting.router(ports, copies, is_new=False) as started:
                setting.fill(started)
                started.program.stop()
            while True:
                with setting.router(ports, copies, is_new=False) as started:
                    yield {"": setting.measure(started, setting.load(started.port, KNOWN))}
                    started.program.stop()

    return slices


def over_unknown_servers(copies: int) -> Callable[[Setting], Slices]:
    def slices(setting: Setting) -> Slices:
        with setting.servers(4) as ports:
            with setting.router(ports, copies, "name: before\n") as started:
                setting.fill(started)
                started.program.stop()
            for number in range(1_000_000):
                with setting.router(ports, copies, f"name: after-{number}\n") as started:
                    yield {"": setting.measure(started, setting.load(started.port, KNOWN))}
                    started.program.stop()

    return slices


def after_a_kill(copies: int) -> Callable[[Setting], Slices]:
    def slices(setting: Setting) -> Slices:
        while True:
            with ExitStack() as stack, ExitStack() as one_of_four:
                ports = [
                    *stack.enter_context(setting.servers(3)),
                    *one_of_four.enter_context(setting.servers(1)),
                ]
                started = stack.enter_context(setting.router(ports, copies))
                setting.fill(started)
                settled = setting.measure(started, setting.load(started.port, KNOWN))
                load = setting.load(started.port, KNOWN)
                one_of_four.close()
                started.program.wait_for("backend is down")
                yield {"": setting.measure(started, load), "settled": settled}

    return slices


def embedded(setting: Setting) -> Slices:
    file = Path(tempfile.mkdtemp(dir=setting.directory), "partitioner.yml")
    file.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nembedded: 3\n" + PATIENT)
    with running("serve", "-c", str(file)) as program:
        port = int(program.wait_for(r'stateConnectionString="tcpip=127\.0\.0\.1:([0-9]+)"')[1])
        pin(program.process.pid, setting.cores.rival)
        started, kind = RouterProcess(program, port, ""), CREATING
        while True:
            yield {"": setting.measure(started, setting.load(port, kind))}
            kind = KNOWN


@dataclass(frozen=True)
class ColdPoint:
    """What is measured, and how fast."""

    slices: Callable[[Setting], Slices]
    rate: float = 0.0
    kind: str = KNOWN  # of HAProxy's load


POINTS = {
    "new/1": ColdPoint(new_sessions(1), kind=NEW),
    "new/2": ColdPoint(new_sessions(2), kind=NEW),
    "new/unknown/2": ColdPoint(new_at_unknown_servers(2), kind=NEW),
    "restart/1": ColdPoint(restarted(1)),
    "restart/2": ColdPoint(restarted(2)),
    "unknown/2": ColdPoint(over_unknown_servers(2)),
    "killed/2": ColdPoint(after_a_kill(2)),
    "paced/2": ColdPoint(after_a_kill(2), rate=PACE),
    "embedded": ColdPoint(embedded),
}


@dataclass
class Pairs:
    """All rounds of one point: the router, and HAProxy right after it."""

    router: list[Measured] = field(default_factory=list)
    haproxy: list[Measured] = field(default_factory=list)
    settled: list[Measured] = field(default_factory=list)  # the router before; none at most points

    def ratios(self, to: list[Measured]) -> list[float]:
        """Of CPU for each exchange, by round."""
        return [
            one.cpu_per_exchange / other.cpu_per_exchange for one, other in zip(self.router, to, strict=True)
        ]


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Of one slice of load.")
@click.option("--sessions", default=20_000, show_default=True)
@click.option("--points", "names", default="", help=f"Of {', '.join(POINTS)}; all by default.")
@click.option("--json", "is_json", is_flag=True)
def main(rounds: int, seconds: float, sessions: int, names: str, is_json: bool) -> None:
    """Measure a cold router against HAProxy."""
    chosen = names.split(",") if names else list(POINTS)
    if unknown := [name for name in chosen if name not in POINTS]:
        raise click.UsageError(f"no such point: {', '.join(unknown)}; expected some of {', '.join(POINTS)}")
    results: dict[str, Pairs] = {}
    with Progress(console=Console(stderr=True)) as progress, tempfile.TemporaryDirectory() as directory:
        task = progress.add_task("", total=rounds * len(chosen))
        programs, cores = compile_programs(Path(directory)), pick_cores()
        with haproxy(programs, cores, Path(directory)) as rival:
            for name in chosen:
                progress.update(task, description=name)
                plan = LoadPlan(CONNECTIONS, sessions, SIZE, seconds, POINTS[name].rate)
                results[name] = Pairs()
                for pairs in measured(
                    POINTS[name], Setting(programs, cores, Path(directory), plan), rival, rounds
                ):
                    results[name] = pairs
                    progress.advance(task)
    if is_json:
        click.echo(json.dumps([as_json(name, pairs) for name, pairs in results.items()], indent=2))
    else:
        console = Console(width=140)
        console.print(f"{rounds} rounds, slices of {seconds:g} s, {sessions} sessions")
        console.print(as_table(results))


def measured(point: ColdPoint, setting: Setting, rival: Rival, rounds: int) -> Iterator[Pairs]:
    """All rounds of one point, as they come."""
    pairs = Pairs()
    with tempfile.TemporaryDirectory(dir=setting.directory) as directory:
        slices = point.slices(replace(setting, directory=Path(directory)))
        try:
            for _ in range(rounds):
                seen = next(slices)
                pairs.router.append(seen[""])
                pairs.settled += [seen["settled"]] if "settled" in seen else []
                pairs.haproxy.append(rival.measure(setting.plan, point.kind))
                yield pairs
        finally:
            slices.close()


def as_table(results: dict[str, Pairs]) -> Table:
    """A line for each point."""
    columns = (
        "exchanges/s",
        "CPU us/exchange",
        "HAProxy's",
        "ratio, paired",
        "to settled",
        "p50 ms",
        "p99 ms",
    )
    table = Table("point", *columns)
    for name, pairs in results.items():
        table.add_row(
            name,
            f"{statistics.median(each.result.exchanges / each.result.seconds for each in pairs.router):.0f}",
            f"{statistics.median(each.cpu_per_exchange for each in pairs.router):.1f}",
            f"{statistics.median(each.cpu_per_exchange for each in pairs.haproxy):.1f}",
            f"{statistics.median(pairs.ratios(pairs.haproxy)):.2f}",
            f"{statistics.median(pairs.ratios(pairs.settled)):.2f}" if pairs.settled else "",
            f"{statistics.median(each.result.p50 for each in pairs.router) / 1e3:.2f}",
            f"{statistics.median(each.result.p99 for each in pairs.router) / 1e3:.2f}",
        )
    return table


def as_json(name: str, pairs: Pairs) -> dict[str, object]:
    """All that is known; the rounds' figures in their order."""
    return {
        "point": name,
        "ratios": pairs.ratios(pairs.haproxy),
        "ratios_to_settled": pairs.ratios(pairs.settled) if pairs.settled else [],
        "cpu_us_per_exchange": [each.cpu_per_exchange for each in pairs.router],
        "haproxy_cpu_us_per_exchange": [each.cpu_per_exchange for each in pairs.haproxy],
        "exchanges_per_second": [each.result.exchanges / each.result.seconds for each in pairs.router],
        "p50_us": [each.result.p50 for each in pairs.router],
        "p99_us": [each.result.p99 for each in pairs.router],
    }


if __name__ == "__main__":
    main()
