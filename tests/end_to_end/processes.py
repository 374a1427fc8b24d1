"""The real programs as processes, on free ports of the loopback interface."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0
CONFIGURATION = "partitioner.yml"


@dataclass
class Program:
    """A running process, with what it has said so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)  # of both its outputs, as they came
    _news: threading.Condition = field(default_factory=threading.Condition)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str, timeout: float = START_TIMEOUT) -> re.Match[str]:
        """Wait until what it has said matches."""
        deadline = time.monotonic() + timeout
        with self._news:
            while (match := re.search(pattern, self.output)) is None:
                has_ended = self.process.poll() is not None and not self._news.wait(0.2)
                if has_ended or time.monotonic() > deadline:
                    raise AssertionError(f"no {pattern!r} in the output:\n{self.output}")
                self._news.wait(0.2)
        return match

    def stop(self) -> int:
        """Ask it to stop, and answer its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_TIMEOUT)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def listen_to(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()


WITHOUT_EPOLL = "tests.end_to_end.without_epoll"


@contextmanager
def running(*arguments: str, module: str = "partitioner") -> Iterator[Program]:
    """Start `partitioner` with these arguments; whatever is left of it at the end is killed."""
    with started([sys.executable, "-m", module, *arguments]) as program:
        yield program


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> Iterator[Program]:
    """Start any program; whatever is left of it at the end is killed."""
    state_home = tempfile.TemporaryDirectory(prefix="partitioner-state-")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "XDG_STATE_HOME": state_home.name,
            **(environment or {}),
        },
        pass_fds=pass_fds,
    )
    program = Program(process)
    listener = threading.Thread(target=program.listen_to)
    listener.start()
    try:
        yield program
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_TIMEOUT)
        listener.join(STOP_TIMEOUT)
        assert process.stdout is not None
        process.stdout.close()
        state_home.cleanup()


@dataclass
class StateServerProcess:
    """A state server of our own, its port, and that of its listing."""

    program: Program
    port: int
    admin_port: int


@contextmanager
def state_server(port: int = 0, *arguments: str, module: str = "partitioner") -> Iterator[StateServerProcess]:
    listen = ("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
    with running("state-server", *listen, *arguments, module=module) as program:
        match = program.wait_for(
            r"state server on 127\.0\.0\.1:([0-9]+).*admin port on 127\.0\.0\.1:([0-9]+)"
        )
        yield StateServerProcess(program, int(match[1]), int(match[2]))


@dataclass
class RouterProcess:
    """A router, its port, and where it is steered."""

    program: Program
    port: int
    admin: str  # a URL


@contextmanager
def router(
    directory: Path, ports: Sequence[int], settings: str = "", admin_ports: Sequence[int] = ()
) -> Iterator[RouterProcess]:
    """A router in front of the state servers at these ports, called state-1 and so on.

    `admin_ports`: where the same servers list their sessions, if they do.
    """
    listings = [f", admin: '127.0.0.1:{port}'" for port in admin_ports] or [""] * len(ports)
    backends = "".join(
        f"  - {{name: state-{number}, address: '127.0.0.1:{port}'{listing}}}\n"
        for number, (port, listing) in enumerate(zip(ports, listings, strict=True), 1)
    )
    file = directory / CONFIGURATION
    admin = "" if "admin:" in settings else "admin: 127.0.0.1:0\n"
    file.write_text(f"listen: 127.0.0.1:0\n{admin}{settings}backends:\n{backends}")
    with running("serve", "-c", str(file)) as program:
        match = program.wait_for(r'stateConnectionString="tcpip=127\.0\.0\.1:([0-9]+)"')
        admin_port = program.wait_for(r"http://\S+:([0-9]+)/api/v1/status")[1]
        yield RouterProcess(program, int(match[1]), f"http://127.0.0.1:{admin_port}")
