"""What systemd does for a service: it hears how the service fares, and opens sockets that outlive it."""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.processes import Program, running

PATIENCE = 60.0

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
    given = {"LISTEN_FDNAMES": names} if names else {}
    numbers = [each.fileno() for each in sockets]
    with running(*arguments, environment=given | environment, sockets=numbers) as program:
        yield program


def listening(directory: Path | None = None) -> socket.socket:
    """A socket as a socket unit opens it: of TCP, or, in a directory, of the machine itself."""
    if directory is None:
        return socket.create_server(("127.0.0.1", 0), backlog=4096)
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(directory / "socket"))
    made.listen()
    return made
