"""Tells a running router what is wanted of a state server, and waits until that is so."""

import time
from collections.abc import Callable
from dataclasses import asdict

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import print_json
from partitioner.cli.pool_table import progress
from partitioner.ops.admin.reports import BackendReport

_GLANCE = 0.5
"""Seconds between two looks at a router."""


def give_order(
    url: str, name: str, intent: str, until: Callable[[BackendReport], bool] | None, *, as_json: bool
) -> None:
    """Give the order; wait `until` it is carried out, if that is given; print how the server is then."""
    client = AdminClient(url)
    backend = client.set_intent(name, intent)
    if until is not None:
        backend = _wait(client, backend, intent, until)
    if as_json:
        print_json(asdict(backend))  # as the router told it
    else:
        click.echo(f"{backend.name}: {_sentence(backend)}")


def is_drained(backend: BackendReport) -> bool:
    """Whether it holds no session any more."""
    return backend.drain is not None and backend.drain.done


def serves(backend: BackendReport) -> bool:
    """Whether it serves."""
    return backend.serves


def is_left_alone(backend: BackendReport) -> bool:
    """Whether nothing is asked of it."""
    return not backend.serves


def _wait(
    client: AdminClient, backend: BackendReport, intent: str, is_done: Callable[[BackendReport], bool]
) -> BackendReport:
    """Look again and again.

    Raises ClickException if somebody else gives another order meanwhile.
    """
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


def _sentence(backend: BackendReport) -> str:
    match backend.intent:
        case "drain" if backend.drain is not None:
            return f"drains; {progress(backend.drain)}"
        case "drain":
            return "drains"
        case "ready":
            return "serves" if backend.serves else f"is wanted ready, and is {backend.health}"
        case _:
            return "is left alone"
