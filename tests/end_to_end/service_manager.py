"""What systemd does for a service: it hears how the service fares, and opens sockets that outlive it."""

import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.processes import Program, started

PATIENCE = 20.0

LAUNCHER = """
import fcntl, os, sys
count, command = int(sys.argv[1]), sys.argv[2:]
aside = [fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 100) for number in command[:count]]
for place, descriptor in enumerate(aside, 3):
    os.dup2(descriptor, place)
if count:
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": os.environ.get("LISTEN_FDS", str(count))}
os.execv(command[count], command[count:])
"""
"""Passes sockets as sd_listen_fds(3) has it: only in the process itself is its number known."""

Lines = dict[str, str]


class Ear:
    """A notify socket: hears what a service says of itself."""

    def __init__(self, name: str) -> None:
        self.name = name  # as in NOTIFY_SOCKET
        self.heard: list[Lines] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def close(self) -> None:
        self._socket.close()

    def wait_for(self, is_meant: Callable[[Lines], bool]) -> Lines:
        """Wait for a message of this kind, and forget what came before it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            message = self._socket.recv(65536).decode()
            lines = dict(line.split("=", 1) for line in message.split("\n"))
            self.heard.append(lines)
            if is_meant(lines):
                return lines
        raise AssertionError(f"nothing of that kind was said; only {self.heard}")

    def wait_for_name(self, name: str) -> Lines:
        """Wait for a message with this variable."""
        return self.wait_for(lambda lines: name in lines)


@contextmanager
def ear(name: str) -> Iterator[Ear]:
    made = Ear(name)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def service(
    *arguments: str, sockets: Sequence[socket.socket] = (), names: str = "", **environment: str
) -> Iterator[Program]:
    """Run `partitioner` as a service that is passed these sockets, under these names."""
    numbers = [each.fileno() for each in sockets]
    launcher = [sys.executable, "-c", LAUNCHER, str(len(numbers)), *map(str, numbers)]
    command = [*launcher, sys.executable, "-m", "partitioner", *arguments]
    given = {"LISTEN_FDNAMES": names} if names else {}
    with started(command, given | environment, numbers) as program:
        yield program


def listening(directory: Path | None = None) -> socket.socket:
    """A socket as a socket unit opens it: of TCP, or, in a directory, of the machine itself."""
    if directory is None:
        return socket.create_server(("127.0.0.1", 0), backlog=4096)
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(directory / "socket"))
    made.listen()
    return made
