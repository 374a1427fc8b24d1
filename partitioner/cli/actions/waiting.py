"""Waits until an order has been carried out, and shows how that goes: on a terminal, or in lines."""

import time
from collections.abc import Callable

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from partitioner.cli.actions.lines import Lines, say_on_stderr
from partitioner.cli.actions.patience import GLANCE, Patient
from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import progress
from partitioner.ops.admin.reports import BackendReport

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
    lines, patient = Lines(say_on_stderr), Patient()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(backend.name, total=None)
        while not is_done(backend):
            _show(bar, task, backend)
            if not console.is_terminal:
                lines.tell(backend.health, _sentence(backend))
            time.sleep(GLANCE)
            backend = _look_again(client, patient, backend, intent)
    return backend


def _look_again(client: AdminClient, patient: Patient, backend: BackendReport, intent: str) -> BackendReport:
    """How it is now; how it was before where no router answers just now."""
    seen = patient.maybe_ask(lambda: client.backend(backend.name))
    if seen is None:
        return backend
    if seen.intent != intent:
        raise click.ClickException(
            f"{seen.name} was meanwhile ordered otherwise: its intent is {seen.intent}"
        )
    return seen


def _sentence(backend: BackendReport) -> str:
    if backend.drain is None:
        return f"{backend.name} {backend.why_out or f'is {backend.health}'}"
    return f"{backend.name}: {progress(backend.drain)}"


def _show(bar: Progress, task: TaskID, backend: BackendReport) -> None:
    drain = backend.drain
    if drain is None:
        bar.update(task, description=_sentence(backend))
        return
    total = None if drain.left is None else drain.moved + drain.left
    bar.update(task, description=_sentence(backend), total=total, completed=drain.moved)
