"""What an exchange costs router and state server, and what an idle client costs each.

    python -m tests.benchmarks.base_line [--rounds 5] [--duration 5s] [--connections 64] [--size 1KiB]

Runs `partitioner bench` in turn against a state server and against a router in front of three others,
and reads CPU time from the operating system's accounting of each process. The machine is shared by all
of them, so exchanges/s say little; CPU for each exchange, and the ratio of the two in one run, say more.
"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from partitioner.units import format_size
from tests.benchmarks.accounting import cpu_seconds, resident_bytes
from tests.end_to_end.processes import router, state_server

IDLE_CLIENTS = 2000


@dataclass(frozen=True)
class Round:
    """One run of the bench against one server. Times are microseconds."""

    exchanges_per_second: float
    cpu_per_exchange: float
    p50: float
    p99: float


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--duration", default="5s", show_default=True)
@click.option("--connections", default=64, show_default=True)
@click.option("--size", default="1KiB", show_default=True)
def main(rounds: int, duration: str, connections: int, size: str) -> None:
    """Measure CPU for each exchange, and memory for each idle client."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        alone = stack.enter_context(state_server())
        behind = [stack.enter_context(state_server()).port for _ in range(3)]
        in_front = stack.enter_context(router(directory, behind))
        options = ["--duration", duration, "--connections", str(connections), "--size", size]
        of_server: list[Round] = []
        of_router: list[Round] = []
        for _ in track(range(rounds), "benching", console=Console(stderr=True)):
            of_server.append(measure(alone.program.process.pid, alone.port, options))
            of_router.append(measure(in_front.program.process.pid, in_front.port, options))
        table = Table("", "exchanges/s", "CPU us/exchange (fastest)", "p50 ms", "p99 ms", "bytes/idle client")
        table.add_row("state server", *row(of_server), idle_client(alone.program.process.pid, alone.port))
        table.add_row("router", *row(of_router), idle_client(in_front.program.process.pid, in_front.port))
    ratios = [
        one.cpu_per_exchange / other.cpu_per_exchange for one, other in zip(of_router, of_server, strict=True)
    ]
    console = Console(width=120)
    console.print(f"medians of {rounds} rounds of {duration}, {connections} connections, {size} sessions")
    console.print(table)
    console.print(
        f"router/state server, CPU for each exchange: {statistics.median(ratios):.2f} (paired median)"
    )


def measure(pid: int, port: int, options: list[str]) -> Round:
    """Bench one server, and take the CPU time of its process."""
    before = cpu_seconds(pid)
    command = [sys.executable, "-m", "partitioner", "bench", f"127.0.0.1:{port}", "--json", *options]
    result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    # Sessions are created before the working time, and read back and removed after it.
    exchanges = sum(result[part] for part in ("exchanges", "created", "read_back", "removed"))
    acquire = result["operations"]["acquire"]
    return Round(
        exchanges_per_second=result["exchanges_per_second"],
        cpu_per_exchange=(cpu_seconds(pid) - before) / exchanges * 1e6,
        p50=acquire["p50"] * 1e3,
        p99=acquire["p99"] * 1e3,
    )


def row(rounds: list[Round]) -> list[str]:
    cpu = [each.cpu_per_exchange for each in rounds]
    return [
        f"{statistics.median(each.exchanges_per_second for each in rounds):.0f}",
        f"{statistics.median(cpu):.0f} ({min(cpu):.0f})",
        f"{statistics.median(each.p50 for each in rounds):.1f}",
        f"{statistics.median(each.p99 for each in rounds):.1f}",
    ]


def idle_client(pid: int, port: int) -> str:
    """What a process grows by for each client that connects and says nothing."""
    with ExitStack() as stack:
        before = resident_bytes(pid)
        for _ in range(IDLE_CLIENTS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        # One exchange after them all: when it is answered, they have all been accepted.
        last = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        last.sendall(b"HEAD /nobody HTTP/1.1\r\n\r\n")
        assert last.recv(1000).startswith(b"404 ")
        return format_size((resident_bytes(pid) - before) // IDLE_CLIENTS)


if __name__ == "__main__":
    main()
