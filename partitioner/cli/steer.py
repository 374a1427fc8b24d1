"""`partitioner drain`, `ready` and `maint`: tell a running router what is wanted of a state server."""

import time
from collections.abc import Callable
from dataclasses import asdict

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from partitioner.cli.admin_client import AdminClient, admin_option
from partitioner.cli.output import json_option, print_json
from partitioner.cli.pool_table import progress
from partitioner.ops.admin.reports import BackendReport

_GLANCE = 0.5
"""Seconds between two looks at a router."""

name_argument = click.argument("name")
wait_option = click.option("--wait", is_flag=True, help="Show the progress, and return when it is done.")


@click.command()
@name_argument
@wait_option
@admin_option
@json_option
def drain(name: str, wait: bool, url: str, as_json: bool) -> None:
    """Have a state server hand its sessions off, and place no new ones on it.

    With `backends[].admin` all of its sessions are moved at once; others move as they are used, and what
    is left at the end of the longest session has expired. When it is done the server can be stopped.
    """
    backend = _order(url, name, "drain", wait, lambda each: each.drain is not None and each.drain.done)
    _tell(backend, as_json)


@click.command()
@name_argument
@wait_option
@admin_option
@json_option
def ready(name: str, wait: bool, url: str, as_json: bool) -> None:
    """Have a state server serve. --wait: until it is up.

    Also says of one that is recovering that it has missed nothing: it is read again at once.
    """
    _tell(_order(url, name, "ready", wait, lambda each: each.serves), as_json)


@click.command()
@name_argument
@wait_option
@admin_option
@json_option
def maint(name: str, wait: bool, url: str, as_json: bool) -> None:
    """Have a state server left alone: nothing is asked of it any more, and its sessions are not found.

    Drain it first, or be sure that its sessions have copies: `partitioner status --safe-to-stop NAME`.
    """
    _tell(_order(url, name, "maint", wait, lambda each: not each.serves), as_json)


def _order(
    url: str, name: str, intent: str, wait: bool, is_done: Callable[[BackendReport], bool]
) -> BackendReport:
    """Give the order; wait until it is done, if that is wanted; answer how things are."""
    client = AdminClient(url)
    backend = client.set_intent(name, intent)
    return _wait(client, backend, intent, is_done) if wait else backend


def _tell(backend: BackendReport, as_json: bool) -> None:
    """Say how things are: to programs as the router told it."""
    if as_json:
        print_json(asdict(backend))
    else:
        click.echo(f"{backend.name}: {_sentence(backend)}")


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
