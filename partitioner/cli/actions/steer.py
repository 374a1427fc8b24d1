"""Tells a running router what is wanted of a state server."""

from collections.abc import Callable
from dataclasses import asdict

import click

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import print_json, progress
from partitioner.ops.admin.reports import BackendReport

Wait = Callable[[AdminClient, BackendReport, str], BackendReport]
"""Returns when an order has been carried out, with how the server is then."""


def give_order(url: str, name: str, intent: str, wait: Wait | None, *, as_json: bool) -> None:
    """Give the order; `wait` until it is carried out, if that is given; print how the server is then."""
    client = AdminClient(url)
    backend = client.set_intent(name, intent)
    if wait is not None:
        backend = wait(client, backend, intent)
    if as_json:
        print_json(asdict(backend))  # as the router told it
    else:
        click.echo(f"{backend.name}: {_sentence(backend)}")


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
