"""What is measured, each pinned to a core: HAProxy and routers in front of stand-ins, and a state server."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.accounting import running_seconds
from tests.benchmarks.yardstick.native import (
    CREATING,
    KNOWN,
    NEW,
    Load,
    LoadPlan,
    LoadResult,
    Programs,
    pinned,
    standins,
)
from tests.end_to_end.processes import router, state_server

BACKENDS = 3

LIFE = "2s"
SETTLED = f"session_timeout: {LIFE}\nsession_timeout_max: {LIFE}\n"
"""Times are settled an hour after a router's start; this makes the hour pass in two seconds."""

PATIENT = "timeouts: {copy: 5s}\n"  # on a busy machine, 250 ms would be too short now and then

HAPROXY = """
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout connect 1s
    timeout client 60s
    timeout server 8s
listen sessions
    bind 127.0.0.1:{port}
    balance uri
    hash-type consistent
    default-server check inter 2s pool-purge-delay 10s
"""


@dataclass(frozen=True)
class Measured:
    """One slice of load on one rival."""

    result: LoadResult
    cpu: float  # seconds, of the rival's process

    @property
    def cpu_per_exchange(self) -> float:
        """In microseconds."""
        return self.cpu / self.result.exchanges * 1e6


@dataclass
class Rival:
    """A process that relays, and how it wants to be talked to."""

    name: str
    pid: int
    port: int
    programs: Programs
    core: int  # of everything else
    slash: str = ""
    admin: str = ""  # a URL
    _sizes: set[tuple[int, int]] = field(default_factory=set)  # for which there are sessions
    _loads: int = 0

    def measure(self, plan: LoadPlan, kind: str = KNOWN) -> Measured:
        """Load it, and take the CPU that its process has used meanwhile."""
        self._loads += 1
        name = f"size{plan.size}" if kind is not NEW else f"new{self._loads}x"
        if kind is KNOWN and (plan.size, plan.sessions) not in self._sizes:
            self._sizes.add((plan.size, plan.sessions))
            kind = CREATING
        load = Load(self.programs.load, plan, self.port, self.slash, name, kind=kind, core=self.core)
        before = running_seconds(self.pid)
        result = load.run()
        return Measured(result, running_seconds(self.pid) - before)


@dataclass(frozen=True)
class Cores:
    """Who runs where: the rival that is measured has a core to itself."""

    rival: int
    rest: int


def pick_cores() -> Cores:
    """The first two cores that there are."""
    mine = sorted(os.sched_getaffinity(0))
    assert len(mine) >= 2, "the yardstick needs two cores: what is measured has one to itself"
    return Cores(mine[0], mine[1])


@contextmanager
def haproxy(programs: Programs, cores: Cores, directory: Path) -> Iterator[Rival]:
    """HAProxy in front of stand-ins that speak HTTP."""
    with ExitStack() as stack:
        ports = stack.enter_context(standins(programs.standin, BACKENDS, "HTTP/1.1 ", cores.rest))
        port = free_port()
        servers = [f"    server state-{number} 127.0.0.1:{each}\n" for number, each in enumerate(ports, 1)]
        file = directory / "haproxy.cfg"
        file.write_text(HAPROXY.format(port=port) + "".join(servers))
        command = pinned(cores.rival, "/usr/sbin/haproxy", "-db", "-q", "-f", file)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        stack.callback(stop, process)
        wait_until_served(port)
        yield Rival("haproxy", process.pid, port, programs, cores.rest, slash="/")


@contextmanager
def partitioner(
    name: str, settings: str, programs: Programs, cores: Cores, directory: Path
) -> Iterator[Rival]:
    """A router in front of stand-ins; its settings are of the configuration file."""
    with ExitStack() as stack:
        ports = stack.enter_context(standins(programs.standin, BACKENDS, "", cores.rest))
        directory.mkdir()
        text = f"{SETTLED}{PATIENT}{settings}"
        started = stack.enter_context(router(directory, ports, text))
        pid = started.program.process.pid
        pin(pid, cores.rival)
        yield Rival(name, pid, started.port, programs, cores.rest, admin=started.admin)


@contextmanager
def origin(programs: Programs, cores: Cores) -> Iterator[Rival]:
    """A state server of our own, with nobody in front of it."""
    with state_server() as started:
        pid = started.program.process.pid
        pin(pid, cores.rival)
        yield Rival("state server", pid, started.port, programs, cores.rest)


def pin(pid: int, core: int) -> None:
    """Have all threads of a process run there and nowhere else."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {core})


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_served(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("HAProxy does not listen")
