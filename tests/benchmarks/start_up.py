"""What it costs to start: `python -m tests.benchmarks.start_up`.

Starts each program several times, one after the other, and prints the medians: seconds of CPU and MiB of
resident memory, and for the daemons the seconds until they say that they serve. `status` asks a router that
runs meanwhile. The first start of each, which may compile modules, is not counted.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

RUNS = 7
VERBS = (
    *("serve", "state-server", "check", "locate", "plan", "bench"),
    *("status", "backends", "locks", "drain", "ready", "maint"),
)
ORDERS = (
    *(("status",), ("backends",), ("locks",)),
    *(("drain", "state-3"), ("ready", "state-3"), ("maint", "state-2")),
)
PROGRAM = str(Path(sys.executable).with_name("partitioner"))  # the console script beside this Python
SERVE = ("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
STATE_SERVER = ("state-server", "--listen", "127.0.0.1:0")
_MEBIBYTE = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one start took."""

    cpu: float  # seconds, of the process and its threads
    memory: int  # bytes, resident
    wall: float  # seconds


def main() -> None:
    """Measure all, and print a line for each."""
    show("python -c pass", to_the_end, sys.executable, "-c", "pass")
    for arguments in (("--help",), ("--version",), *((verb, "--help") for verb in VERBS)):
        show(" ".join(arguments), to_the_end, PROGRAM, *arguments)
    with serving(PROGRAM, *SERVE) as said:
        admin = next(word for word in said.split() if word.endswith("/api/v1/status"))
        admin = admin.removesuffix("/api/v1/status")
        for order in ORDERS:
            show(" ".join(order), to_the_end, PROGRAM, *order, "--admin", admin)
    show("serve, until it serves", to_ready, PROGRAM, *SERVE)
    with serving(PROGRAM, *STATE_SERVER) as said, tempfile.TemporaryDirectory() as directory:
        address = said.split()[3].rstrip(",")
        file = Path(directory) / "partitioner.yml"
        file.write_text(f"backends: [{{name: state-1, address: '{address}'}}]\n")
        show("serve -c FILE, until it serves", to_ready, PROGRAM, *SERVE, "-c", str(file))
    show("state-server, until it serves", to_ready, PROGRAM, *STATE_SERVER)
    show("state-server --admin, until it serves", to_ready, PROGRAM, *STATE_SERVER, "--admin", "127.0.0.1:0")


def show(name: str, measure: Callable[[Sequence[str]], Cost], *command: str) -> None:
    """Start a program several times, and print the medians."""
    measure(command)
    costs = [measure(command) for _ in range(RUNS)]
    cpu, wall = median(each.cpu for each in costs), median(each.wall for each in costs)
    memory = median(each.memory for each in costs) / _MEBIBYTE
    click.echo(f"{name:<40}{cpu:6.3f} s CPU {memory:6.1f} MiB {wall:6.3f} s")


def to_the_end(command: Sequence[str]) -> Cost:
    """Run a program to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    # Linux counts kibibytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss * unit, time.perf_counter() - began)


def to_ready(command: Sequence[str]) -> Cost:
    """Run a daemon until it says that it serves, and look into /proc for what that took."""
    began = time.perf_counter()
    process = start(command)
    try:
        read_banner(process)
        wall = time.perf_counter() - began
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return Cost((int(fields[11]) + int(fields[12])) / _TICKS, pages * _PAGE, wall)
    finally:
        end(process)


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """A daemon that serves, and what it has said until then."""
    process = start(command)
    try:
        yield read_banner(process)
    finally:
        end(process)


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def read_banner(process: subprocess.Popen[str]) -> str:
    """Read what a daemon says until it serves: how to stop it is the last of it."""
    assert process.stdout is not None
    said = ""
    while "with Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, f"it ended before it served: {process.args!r}"
        said += line
    return said


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


if __name__ == "__main__":
    main()
