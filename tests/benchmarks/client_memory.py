"""What a client's connection costs router and state server in memory, by path.

    python -m tests.benchmarks.client_memory [--counts 1000,10000]

Each client makes one exchange and then says nothing, as a web server's pooled connection does. Resident
bytes are the operating system's; what the program needs for itself has been touched before, by other clients.
"""

import resource
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from partitioner.units import format_size
from tests.benchmarks.accounting import resident_bytes
from tests.end_to_end.processes import (
    WITHOUT_EPOLL,
    RouterProcess,
    StateServerProcess,
    router,
    state_server,
)

ASKED = b"HEAD /nobody HTTP/1.1\r\n\r\n"
FILES = 500  # beside those of the connections
FIRST = 100  # clients, which are not counted

Served = RouterProcess | StateServerProcess


@click.command()
@click.option("--counts", default="1000,10000", show_default=True)
def main(counts: str) -> None:
    """Measure resident bytes for each client connection."""
    numbers = [int(each) for each in counts.split(",")]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(numbers) + FILES), hard))
    table = Table("", *(f"{number} clients" for number in numbers))
    for name, start in STARTS.items():
        cells = [
            format_size(bytes_of_a_client(start, number))
            for number in track(numbers, name, console=Console(stderr=True))
        ]
        table.add_row(name, *cells)
    Console(width=100).print(table)


def start_router(stack: ExitStack, fast_path: str) -> Served:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = stack.enter_context(state_server())
    settings = f"fast_path: {fast_path}\ncopies: 1\nsession_timeout: 1s\nlimits: {{connections: 10000}}\n"
    return stack.enter_context(router(directory, [server.port], settings))


STARTS: dict[str, Callable[[ExitStack], Served]] = {
    "router, slow path": lambda stack: start_router(stack, "await"),
    "router, both paths": lambda stack: start_router(stack, "both"),
    "state server, slow path": lambda stack: stack.enter_context(state_server(module=WITHOUT_EPOLL)),
    "state server, both paths": lambda stack: stack.enter_context(state_server()),
}


def bytes_of_a_client(start: Callable[[ExitStack], Served], number: int) -> int:
    """What it grows by for each of so many clients."""
    with ExitStack() as stack:
        served = start(stack)
        connect(stack, served.port, FIRST)
        pid = served.program.process.pid
        before = resident_bytes(pid)
        connect(stack, served.port, number - FIRST)
        return (resident_bytes(pid) - before) // (number - FIRST)


def connect(stack: ExitStack, port: int, number: int) -> None:
    for _ in range(number):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        client.sendall(ASKED)
        assert client.recv(1000).startswith(b"404 ")


if __name__ == "__main__":
    main()
