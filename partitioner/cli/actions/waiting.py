"""Waits until an order has been carried out, and shows how that goes: on a terminal a bar, else lines."""

import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import progress
from partitioner.ops.admin.reports import BackendReport

_GLANCE = 0.5
"""Seconds between two looks at a router."""

_BETWEEN_LINES = 5.0
"""Seconds, at least: what reads the lines of a pipe keeps them."""

_IS_DONE: dict[str, Callable[[BackendReport], bool]] = {
    "drain": lambda backend: backend.drain is not None and backend.drain.done,  # it holds no session any more
    "ready": lambda backend: backend.serves,
    "maint": lambda backend: not backend.serves,  # nothing is asked of it
}

_GOES_ON = {
    "drain": "its drain goes on; `partitioner status` shows how far, `partitioner ready {name}` ends it",
    "ready": "it is wanted ready all the same, and serves as soon as it can; `partitioner status` shows it",
    "maint": "it is put aside all the same; `partitioner ready {name}` has it serve again",
}
"""What an order does that nobody waits for any more."""


def wait(client: AdminClient, backend: BackendReport, intent: str) -> BackendReport:
    """Look again and again until this server is as was ordered, and return how it is then.

    Raises ClickException if another order is given meanwhile.
    """
    is_done = _IS_DONE[intent]
    name = backend.name
    try:
        with _Display(name) as display:
            while not is_done(backend):
                display.show(backend)
                time.sleep(_GLANCE)
                backend = client.backend(name)
                if backend.intent != intent:
                    raise click.ClickException(
                        f"{name} was meanwhile ordered otherwise: its intent is {backend.intent}"
                    )
    except KeyboardInterrupt:
        click.echo(f"\n{name} is not waited for any more: {_GOES_ON[intent].format(name=name)}", err=True)
        raise
    return backend


class _Display:
    """Shows on stderr how far a server is."""

    def __init__(self, name: str) -> None:
        console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn())
        self._is_terminal = console.is_terminal
        self._bar = Progress(*columns, console=console, transient=True, disable=not self._is_terminal)
        self._task: TaskID = self._bar.add_task(name, total=None)
        self._said = ""
        self._said_at = float("-inf")

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, backend: BackendReport) -> None:
        """Show how this server is now."""
        drain = backend.drain
        sentence = f"is {backend.health}" if drain is None else progress(drain)
        if not self._is_terminal:
            self._say(f"{backend.name}: {sentence}")
            return
        total = None if drain is None or drain.left is None else drain.moved + drain.left
        moved = None if drain is None else drain.moved
        self._bar.update(self._task, description=f"{backend.name}: {sentence}", total=total, completed=moved)

    def _say(self, line: str) -> None:
        if line != self._said and time.monotonic() - self._said_at >= _BETWEEN_LINES:
            self._said, self._said_at = line, time.monotonic()
            click.echo(line, err=True)
