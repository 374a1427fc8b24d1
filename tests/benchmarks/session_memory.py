"""What a session costs a state server beyond its bytes.

    python -m tests.benchmarks.session_memory [--sessions 1000000] [--size 1024]

Starts a real state server, stores that many sessions over a few connections, and divides what its
resident memory grew by. The figure is SESSION_OVERHEAD in partitioner/sessions/table.py.
"""

import socket

import click
from rich.console import Console
from rich.progress import Progress

from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target, server_key
from partitioner.protocol.writer import write_request
from partitioner.units import format_size
from tests.benchmarks.accounting import cpu_seconds, resident_bytes
from tests.end_to_end.processes import state_server
from tests.end_to_end.web_server import APPLICATION

BATCH = 200
"""Requests sent at a time; a state server works them off in order."""


@click.command()
@click.option("--sessions", default=1_000_000, show_default=True)
@click.option("--size", default=1024, show_default=True, help="Bytes of each session's content.")
def main(sessions: int, size: int) -> None:
    """Measure the memory of a state server full of sessions."""
    console = Console()
    with state_server() as server, Progress(console=console) as progress:
        pid = server.program.process.pid
        empty = resident_bytes(pid)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            task = progress.add_task("storing sessions", total=sessions)
            for first in range(0, sessions, BATCH):
                numbers = range(first, min(first + BATCH, sessions))
                store(connection, [session_id(number) for number in numbers], size)
                progress.update(task, completed=numbers.stop)
        full, cpu = resident_bytes(pid), cpu_seconds(pid)
    key = len(server_key(encode_target(APPLICATION + session_id(0))))
    console.print(f"{sessions} sessions of {size} bytes under keys of {key} bytes")
    console.print(f"resident: {format_size(full)} (empty: {format_size(empty)})")
    console.print(
        f"a session costs {(full - empty) / sessions - size - key:.0f} bytes beyond its body and key"
    )
    console.print(f"CPU: {cpu / sessions * 1e6:.0f} us for each session stored")


def store(connection: socket.socket, session_ids: list[str], size: int) -> None:
    """Store these sessions in one go, and wait for all the answers."""
    requests = [
        write_request(
            Operation.SET,
            encode_target(APPLICATION + each),
            timeout_minutes=60,
            lock_cookie=0,
            body=each.encode().ljust(size, b"."),
        )
        for each in session_ids
    ]
    connection.sendall(b"".join(requests))
    answers = b""
    while answers.count(b"\r\n\r\n") < len(requests):
        data = connection.recv(65536)
        assert data, "the state server closed the connection"
        answers += data
    assert answers.count(b"200 OK\r\n") == len(requests), answers[:200]


def session_id(number: int) -> str:
    """A session ID of the real length."""
    return f"{number:x}".rjust(24, "z")


if __name__ == "__main__":
    main()
