"""How many of many large sessions that are saved at once are stored in time.

    python -m tests.benchmarks.large_sessions [--sessions 12] [--mebibytes 30]

A router in front of three state servers, each of them a process, with two copies; a thread for each web
server. All begin within a quarter of a second, and share processor and network. Those that are not over after
`timeouts.exchange` (8 s) are closed.
"""

import tempfile
import threading
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.end_to_end.farm import farm_in
from tests.end_to_end.web_server import Closed, WebServer

A_MOMENT = 0.02
"""Seconds between two beginnings."""


@click.command()
@click.option("--sessions", default=12, show_default=True)
@click.option("--mebibytes", default=30, show_default=True, help="The size of each.")
def main(sessions: int, mebibytes: int) -> None:
    """Save them all at once."""
    body = b"x" * (mebibytes * 2**20)
    took: dict[int, float | None] = {}
    with tempfile.TemporaryDirectory() as directory, farm_in(Path(directory), "") as farm:

        def save(number: int) -> None:
            began_at = time.monotonic()
            try:
                with WebServer(farm.in_front.port) as web:
                    web.save(f"session{number:017d}", body)
                took[number] = time.monotonic() - began_at
            except (Closed, OSError):
                took[number] = None

        threads = [threading.Thread(target=save, args=(number,)) for number in range(sessions)]
        for thread in threads:
            thread.start()
            time.sleep(A_MOMENT)
        for thread in threads:
            thread.join()
    table = Table("session, in the order of their beginnings", "stored after, s")
    for number, duration in sorted(took.items()):
        table.add_row(str(number + 1), "closed" if duration is None else f"{duration:.1f}")
    stored = sum(each is not None for each in took.values())
    Console().print(table, f"{stored} of {sessions} sessions of {mebibytes} MiB are stored.")


if __name__ == "__main__":
    main()
