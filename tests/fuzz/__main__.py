"""Hostile bytes in large numbers; see the package."""

import os
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from tests.end_to_end.farm import farm_in
from tests.fuzz import conversations, heads

SLICE = 1000


@click.group()
def main() -> None:
    """Try hostile heads and conversations."""


@main.command("heads")
@click.option("--count", default=10_000_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def try_heads(count: int, seed: int) -> None:
    """Read heads in whole and in pieces."""
    console, found = Console(width=120), 0
    with Progress(console=console) as bar:
        task = bar.add_task("heads", total=count)
        while found < count:
            found += heads.try_slice(seed, SLICE)
            seed += 1
            bar.update(task, completed=found)
    resident = Path("/proc/self/statm").read_text().split()[1]
    kib = int(resident) * os.sysconf("SC_PAGE_SIZE") // 1024
    console.print(f"{found} heads, the next seed is {seed}; {kib} KiB resident at the end")


@main.command("conversations")
@click.option("--count", default=1_000_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def try_conversations(count: int, seed: int) -> None:
    """Talk to a router."""
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as directory, farm_in(Path(directory)) as farm:
        conversations.try_slice(farm, seed, SLICE)  # all is imported and remembered that ever will be
        started = conversations.footprint(farm.in_front.program)
        with Progress(console=console) as bar:
            task = bar.add_task("conversations", total=count)
            for done in range(0, count, SLICE):
                conversations.try_slice(farm, seed, min(SLICE, count - done))
                seed += 1
                bar.update(task, completed=done + SLICE)
        ended = conversations.footprint(farm.in_front.program)
        console.print(
            f"{count} conversations, the next seed is {seed}; KiB resident and open files: {started} at the "
            f"start, {ended} at the end"
        )


if __name__ == "__main__":
    main()
