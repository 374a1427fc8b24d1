"""Waits until an order has been carried out, and shows on a terminal how that goes."""

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

_IS_DONE: dict[str, Callable[[BackendReport], bool]] = {
    "drain": lambda backend: backend.drain is not None and backend.drain.done,  # it holds no session any more
    "ready": lambda backend: backend.serves,
    "maint": lambda backend: not backend.serves,  # nothing is asked of it
}


def wait(client: AdminClient, backend: BackendReport, intent: str) -> BackendReport:
    """Look again and again until this server is as was ordered, and return how it is then.

    Raises ClickException if another order is given meanwhile.
    """
    is_done = _IS_DONE[intent]
    columns = (TextColumn("{task.description}"), BarColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(backend.name, total=None)
        while not is_done(backend):
            _show(bar, task, backend)
            time.sleep(_GLANCE)
            backend = client.backend(backend.name)
            if backend.intent != intent:
                raise click.ClickException(
                    f"{backend.name} was meanwhile ordered otherwise: its intent is {backend.intent}"
                )
    return backend


def _show(bar: Progress, task: TaskID, backend: BackendReport) -> None:
    drain = backend.drain
    if drain is None:
        bar.update(task, description=f"{backend.name} is {backend.health}")
        return
    total = None if drain.left is None else drain.moved + drain.left
    bar.update(task, description=f"{backend.name}: {progress(drain)}", total=total, completed=drain.moved)
