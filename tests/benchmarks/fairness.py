"""Whether a router that is loaded as hard as it will go still has time for its probes and its admin port.

    python -m tests.benchmarks.fairness [--connections 64] [--seconds 5] [--settings 'fast_path: on']

Asks the admin port for this and that while the load of the yardstick runs, and says how long that took, with
and without load; and how late the router's own clock ticked, which is what a probe has to wait.
"""

import re
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import click
import httpx
from rich.console import Console
from rich.table import Table

from tests.benchmarks.yardstick.native import CREATING, Load, LoadPlan, compile_programs
from tests.benchmarks.yardstick.rivals import Rival, partitioner, pick_cores

PATHS = ("/healthz", "/readyz", "/api/v1/backends", "/metrics")
SIZE, SESSIONS = 1024, 4096
PAUSE = 0.02

_PROBE = re.compile(r'^partitioner_backend_probe_seconds\{backend="[^"]+"\} (\S+)$', re.MULTILINE)


@click.command()
@click.option("--connections", default=64, show_default=True)
@click.option("--seconds", default=5.0, show_default=True)
@click.option("--settings", default="fast_path: on", show_default=True)
def main(connections: int, seconds: float, settings: str) -> None:
    """Measure how long the admin port takes under full load."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        programs, cores = compile_programs(directory), pick_cores()
        where = directory / "router"
        text = f"copies: 1\n{settings}\n"
        rival = stack.enter_context(partitioner("router", text, programs, cores, where))
        idle = ask_for(rival.admin, seconds / 2)
        busy, rate, probes = under_load(rival, connections, seconds)
    table = Table("ms: median / p99 / most", "without load", f"at {rate:.0f} exchanges/s")
    for path in PATHS:
        table.add_row(path, row(idle[path]), row(busy[path]))
    console = Console(width=120)
    console.print(table)
    console.print(
        "last probes under load, ms:", ", ".join(f"{each * 1e3:.1f}" for each in probes) or "not told"
    )


def ask_for(admin: str, seconds: float) -> dict[str, list[float]]:
    """How long the admin port took for each path, in seconds, asked in turn for so long."""
    took: dict[str, list[float]] = {path: [] for path in PATHS}
    until = time.monotonic() + seconds
    with httpx.Client(base_url=admin, trust_env=False) as client:
        client.get(PATHS[0])
        while time.monotonic() < until:
            for path in PATHS:
                began_at = time.perf_counter()
                client.get(path).raise_for_status()
                took[path].append(time.perf_counter() - began_at)
                time.sleep(PAUSE)
    return took


def under_load(
    rival: Rival, connections: int, seconds: float
) -> tuple[dict[str, list[float]], float, list[float]]:
    """The same under load; the load's rate, and how long the last probes took."""
    plan = LoadPlan(connections, SESSIONS, SIZE, seconds + 1, 0)
    load = Load(rival.programs.load, plan, rival.port, "", "fairness", kind=CREATING, core=rival.core)
    rates: list[float] = []

    def run() -> None:
        result = load.run()
        rates.append(result.exchanges / result.seconds)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.2)
    took = ask_for(rival.admin, seconds)
    metrics = httpx.get(f"{rival.admin}/metrics", trust_env=False).text
    thread.join()
    return took, rates[0], [float(value) for value in _PROBE.findall(metrics)]


def row(took: list[float]) -> str:
    ordered = sorted(took)
    figures = (statistics.median(ordered), ordered[len(ordered) * 99 // 100], ordered[-1])
    return " / ".join(f"{each * 1e3:.1f}" for each in figures)


if __name__ == "__main__":
    main()
