"""What a client's connection costs the router in memory, by lane.

    python -m tests.benchmarks.client_memory [--counts 1000,10000]

Each client makes one exchange and then says nothing, as a web server's pooled connection does. Resident
bytes are the operating system's; what the router needs for itself has been touched before, by other clients.
"""

import resource
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from partitioner.units import format_size
from tests.benchmarks.accounting import resident_bytes
from tests.end_to_end.processes import RouterProcess, router, state_server

ASKED = b"HEAD /nobody HTTP/1.1\r\n\r\n"
FILES = 500  # beside those of the connections


@click.command()
@click.option("--counts", default="1000,10000", show_default=True)
def main(counts: str) -> None:
    """Measure resident bytes for each client connection."""
    numbers = [int(each) for each in counts.split(",")]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(numbers) + FILES), hard))
    table = Table("lanes", *(f"{number} clients" for number in numbers))
    for lanes in ("await", "both"):
        cells = [
            format_size(bytes_of_a_client(lanes, number))
            for number in track(numbers, f"lanes: {lanes}", console=Console(stderr=True))
        ]
        table.add_row(lanes, *cells)
    Console(width=100).print(table)


def bytes_of_a_client(lanes: str, number: int) -> int:
    """What a router grows by for each of so many clients."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(state_server())
        settings = (
            f"lanes: {lanes}\ncopies: 1\nsession_timeout: 1s\nlimits: {{connections: {number + FILES}}}\n"
        )
        in_front = stack.enter_context(router(directory, [server.port], settings))
        connect(stack, in_front, FILES // 5)
        pid = in_front.program.process.pid
        before = resident_bytes(pid)
        connect(stack, in_front, number)
        return (resident_bytes(pid) - before) // number


def connect(stack: ExitStack, in_front: RouterProcess, number: int) -> None:
    for _ in range(number):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", in_front.port)))
        client.sendall(ASKED)
        assert client.recv(1000).startswith(b"404 ")


if __name__ == "__main__":
    main()
