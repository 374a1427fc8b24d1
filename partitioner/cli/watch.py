"""`partitioner backends --watch`: the state servers of a running router, live, until Ctrl-C.

A router that goes away does not end it: that is when operators watch. The display says so, keeps what it had,
and goes on trying.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.looks import Looks
from partitioner.cli.options import Refused
from partitioner.cli.output import age, print_json
from partitioner.cli.pool_table import backends_table
from partitioner.ops.admin.reports import BackendReport, Status
from partitioner.ops.admin.units import doubts, rate
from partitioner.ops.printable import printable

AROUND = 8
"""Lines that are shown beside the rows of the table, at most."""

PATIENCE = 3.0
"""Seconds for an answer: an operator looks at the screen meanwhile."""


class Watch:
    """What is shown of the last that was seen."""

    def __init__(self, look: Callable[[], Status], clock: Callable[[], float] = time.monotonic) -> None:
        """`look` asks the router; `clock` tells seconds."""
        self._looks = Looks(look, clock)
        self.refresh = self._looks.refresh

    def frame(self, width: int, height: int, at: datetime) -> Group:
        """What to show now, on so many columns and lines."""
        shown: list[RenderableType] = []
        seen, trouble = self._looks.seen, self._looks.maybe_trouble()
        if seen is not None:
            shown.append(_headline(seen, at))
        if trouble is not None:  # above the table, the end of which a low terminal cuts off
            shown.append(Text(trouble, style="bold red"))
        if seen is not None:
            rows = _in_sight(seen.backends, height)
            shown.append(backends_table(rows, width))
            sentences = [sentence for each in rows for sentence in doubts(each)]
            room = max(0, height - AROUND - len(rows))
            shown += [Text(f"{printable(each)}.") for each in sentences[:room]]
        return Group(*shown, Text("Ctrl-C ends this.", style="dim"))


def _in_sight(found: Sequence[BackendReport], height: int) -> Sequence[BackendReport]:
    """Put those that do not serve in front where a terminal is too low for all: its end is cut off."""
    return found if len(found) <= height - AROUND else sorted(found, key=lambda each: each.serves)


def watch_on_terminal(url: str, interval: float) -> None:
    """Show the state servers until Ctrl-C. Raises Refused where that cannot be."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        raise Refused("--watch draws on a terminal, and this is none; programs take --watch --json")
    watch = Watch(AdminClient(url, PATIENCE).status)
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            watch.refresh()
            live.update(watch.frame(*console.size, datetime.now()), refresh=True)
            time.sleep(interval)


def watch_as_json(url: str, interval: float) -> None:
    """Print what is seen, one object a line, until Ctrl-C; an error where nothing is. Raises Refused."""
    client = AdminClient(url, PATIENCE)
    with suppress(KeyboardInterrupt):
        while True:
            print_json(_seen_or_error(client))
            time.sleep(interval)


def _seen_or_error(client: AdminClient) -> dict[str, object]:
    try:
        return {"backends": [asdict(each) for each in client.backends()]}
    except Refused:
        raise
    except click.ClickException as error:
        return {"error": error.message}


def _standing(seen: Status) -> tuple[str, ...]:
    """How many servers serve, and whether one of them may fail; a standby knows who answers it."""
    if seen.standby_because is not None:
        return seen.role, f"{seen.serving} of {len(seen.wanted)} answer"
    redundant = (
        "not redundant" if seen.redundant_since is None else f"redundant for {age(seen.redundant_since)}"
    )
    return f"{seen.serving} of {len(seen.wanted)} serve", redundant


def _headline(seen: Status, at: datetime) -> Text:
    """The router in a line."""
    requests = f"{rate(sum(seen.requests.values()))} requests/s from {seen.clients} clients"
    parts = (
        seen.name,
        *_standing(seen),
        requests,
        f"{at:%H:%M:%S}",
    )
    return Text(" · ".join(parts), style="" if seen.ready else "bold red")
