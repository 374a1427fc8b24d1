"""The stand-in state servers and the load, small C programs that are compiled on the spot."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

CREATING, NEW, KNOWN = "create", "new", ""
"""Loads that store their sessions first, whose sessions are all new, and whose sessions are there."""


@dataclass(frozen=True)
class Programs:
    """Where the compiled programs are."""

    standin: Path
    load: Path


def compile_programs(directory: Path) -> Programs:
    """Compile them into this directory."""
    for name in ("standin", "load"):
        subprocess.run(["cc", "-O2", "-o", directory / name, HERE / f"{name}.c"], check=True)
    return Programs(directory / "standin", directory / "load")


@contextmanager
def standins(program: Path, count: int, version: str, core: int) -> Iterator[list[int]]:
    """So many stand-ins in one process, pinned to this core: their ports."""
    command = pinned(core, program, count, version)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield [int(process.stdout.readline()) for _ in range(count)]
        finally:
            process.kill()


@dataclass(frozen=True)
class LoadPlan:
    """What one run of the load does. Seconds and bytes; a rate of 0 is as fast as answers come."""

    connections: int
    sessions: int
    size: int
    seconds: float
    rate: float


@dataclass(frozen=True)
class LoadResult:
    """What it saw. Latencies are microseconds."""

    exchanges: int
    seconds: float
    p50: float
    p99: float


class Load:
    """One run of the load: warmed up once it is made, and counted when it is told to go."""

    def __init__(
        self, program: Path, plan: LoadPlan, port: int, slash: str, name: str, *, kind: str, core: int
    ) -> None:
        """`kind` is one of CREATING, NEW and KNOWN."""
        arguments = (port, plan.connections, plan.sessions, plan.size, plan.seconds, plan.rate, slash, name)
        command = pinned(core, program, *arguments, *([kind] if kind else []))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the load could not be warmed up"

    def run(self) -> LoadResult:
        """Have it work, and wait for its end."""
        written, _ = self._process.communicate("go\n")
        assert self._process.returncode == 0, "what is not right need not be fast"
        return LoadResult(**json.loads(written))


def pinned(core: int, *command: object) -> Sequence[str]:
    """A command that runs on this core and nowhere else."""
    return ["taskset", "--cpu-list", str(core), *map(str, command)]
