"""The real programs as processes, on free ports of the loopback interface."""

import atexit
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.end_to_end.forked import Forked, Warm

START_TIMEOUT = 60.0
STOP_TIMEOUT = 25.0
"""Less than the 30 s after which a soft stop that does not end is cut short."""

CONFIGURATION = "partitioner.yml"
PARTITIONER = "partitioner"
WITHOUT_EPOLL = "tests.end_to_end.without_epoll"
PORTS = range(20_000, 32_000)
"""Below those that Linux gives to outgoing connections."""

LISTING_TOKEN = "f81c1d33a8fe1f4ea4f19f2b5a5b1d2c"
LISTING_HEADERS = {"Authorization": f"Bearer {LISTING_TOKEN}"}
"""What proves to every state server here that its sessions may be listed."""

_warm: dict[str, Warm] | None = None
"""What programs are forked from, by module; None where each is started anew, as benchmarks do."""


@contextmanager
def forked_from_warm_processes() -> Iterator[None]:
    """Until the end, programs are forked from a process that has imported them already (see `warm`)."""
    global _warm
    _warm = {}
    try:
        yield
    finally:
        for each in _warm.values():
            each.close()
        _warm = None


def maybe_warm(module: str) -> Warm | None:
    """What this module's programs are forked from, if they are."""
    if _warm is None:
        return None
    if module not in _warm:
        _warm[module] = Warm(module)
    return _warm[module]


@cache
def listing_token_file() -> Path:
    """A file with LISTING_TOKEN, which is there until this process ends."""
    directory = tempfile.mkdtemp(prefix="partitioner-token-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    file = Path(directory, "token")
    file.touch(mode=0o600)
    file.write_text(f"{LISTING_TOKEN}\n")
    return file


@contextmanager
def kept_port() -> Iterator[int]:
    """A port at which nothing listens, and that nobody takes while a server at it is down.

    Another test run on this machine sees that it is taken by an abstract socket of its number.
    """
    while True:
        port = random.choice(PORTS)
        with socket.socket(socket.AF_UNIX) as reservation, socket.socket() as listener:
            try:
                reservation.bind(f"\0partitioner-test-port-{port}")
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            listener.close()
            yield port
            return


@dataclass
class Program:
    """A running process, with what it has said so far."""

    process: subprocess.Popen[str] | Forked
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
        """Ask it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
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


@contextmanager
def running(
    *arguments: str,
    module: str = PARTITIONER,
    environment: Mapping[str, str] | None = None,
    sockets: Sequence[int] = (),
) -> Iterator[Program]:
    """Run `partitioner` with these arguments; whatever is left of it at the end is killed.

    These variables are added to its environment, and these sockets are passed as a service manager does.
    """
    warm = maybe_warm(module)
    if warm is None:
        assert not sockets, "only a process that is forked can be passed sockets here"
        with started([sys.executable, "-m", module, *arguments], environment) as program:
            yield program
        return
    read_end, write_end = os.pipe()
    with open(read_end) as output, _environment(environment) as variables:
        try:
            process = warm.fork(arguments, variables, write_end, write_end, sockets, output)
        finally:
            os.close(write_end)
        try:
            with _listened_to(Program(process)) as program:
                yield program
        finally:
            process.close()


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> Iterator[Program]:
    """Start any program; whatever is left of it at the end is killed."""
    with _environment(environment) as variables:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=variables,
            pass_fds=pass_fds,
        )
        with process, _listened_to(Program(process)) as program:
            yield program


@contextmanager
def _environment(given: Mapping[str, str] | None) -> Iterator[dict[str, str]]:
    """The environment of a program: that of the tests, with a directory of its own for what it keeps."""
    with tempfile.TemporaryDirectory(prefix="partitioner-state-") as state_home:
        own = {"PYTHONUNBUFFERED": "1", "COLUMNS": "200", "NO_COLOR": "1", "XDG_STATE_HOME": state_home}
        yield {**os.environ, **own, **(given or {})}


@contextmanager
def _listened_to(program: Program) -> Iterator[Program]:
    listener = threading.Thread(target=program.listen_to)
    listener.start()
    try:
        yield program
    finally:
        program.process.send_signal(signal.SIGKILL)
        program.process.wait(STOP_TIMEOUT)
        listener.join(STOP_TIMEOUT)


def run_to_end(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = START_TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Run `partitioner` with these arguments to its end, in this environment or that of the tests."""
    warm = maybe_warm(PARTITIONER)
    assert warm is not None
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = warm.fork(
            arguments, os.environ if environment is None else environment, stdout.fileno(), stderr.fileno()
        )
        try:
            code = process.wait(timeout)
        finally:
            process.send_signal(signal.SIGKILL)
            process.close()
        for each in (stdout, stderr):
            each.seek(0)
        return subprocess.CompletedProcess(arguments, code, stdout.read(), stderr.read())


@dataclass
class StateServerProcess:
    """A state server of our own, its port, and that of its listing."""

    program: Program
    port: int
    admin_port: int


@contextmanager
def state_server(port: int = 0, *arguments: str, module: str = PARTITIONER) -> Iterator[StateServerProcess]:
    """A state server at this port, or at one that is kept for it until the end."""
    with ExitStack() as stack:
        at = port or stack.enter_context(kept_port())
        program = stack.enter_context(_state_server_program(at, arguments, module))
        yield _ready_state_server(program)


@contextmanager
def state_servers(
    count: int, *arguments: str, module: str = PARTITIONER
) -> Iterator[list[StateServerProcess]]:
    """So many state servers, which start at the same time."""
    with ExitStack() as stack:
        programs = [
            stack.enter_context(_state_server_program(stack.enter_context(kept_port()), arguments, module))
            for _ in range(count)
        ]
        yield [_ready_state_server(program) for program in programs]


def _state_server_program(
    port: int, arguments: Sequence[str], module: str
) -> AbstractContextManager[Program]:
    listen = ("--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
    token = ("--admin-token-file", str(listing_token_file()))
    return running("state-server", *listen, *token, *arguments, module=module)


def _ready_state_server(program: Program) -> StateServerProcess:
    match = program.wait_for(r"state server on 127\.0\.0\.1:([0-9]+).*admin port on 127\.0\.0\.1:([0-9]+)")
    return StateServerProcess(program, int(match[1]), int(match[2]))


@dataclass
class RouterProcess:
    """A router, its port, and where it is steered."""

    program: Program
    port: int
    admin: str  # a URL


@contextmanager
def router(
    directory: Path,
    ports: Sequence[int],
    settings: str = "",
    admin_ports: Sequence[int] = (),
    module: str = PARTITIONER,
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
    is_given = not admin_ports or "backend_token_file" in settings
    token = "" if is_given else f"backend_token_file: {listing_token_file()}\n"
    file.write_text(f"listen: 127.0.0.1:0\n{admin}{token}{settings}backends:\n{backends}")
    with running("serve", "-c", str(file), module=module) as program:
        match = program.wait_for(r'stateConnectionString="tcpip=127\.0\.0\.1:([0-9]+)"')
        admin_port = program.wait_for(r"http://\S+:([0-9]+)/api/v1/status")[1]
        yield RouterProcess(program, int(match[1]), f"http://127.0.0.1:{admin_port}")
