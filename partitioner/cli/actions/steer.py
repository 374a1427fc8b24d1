"""Tells a running router what is wanted of a state server."""

from collections.abc import Callable
from dataclasses import asdict

import click

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import percent, print_json, progress
from partitioner.ops.admin.reports import BackendReport
from partitioner.ops.printable import printable

ORDER_TIMEOUT = 30.0
"""Seconds: before it takes servers away, a router asks them what they hold."""

Wait = Callable[[AdminClient, BackendReport, str], BackendReport]
"""Returns when an order has been carried out, with how the server is then."""


_GOES_ON = {
    "drain": "the drain of {0} goes on; `partitioner ready {0}` ends it",
    "ready": "{0} stays wanted ready; `partitioner backends` shows how it fares",
    "maint": "{0} stays in maint; `partitioner ready {0}` has it serve again",
}
"""What becomes of an order that nobody waits for any more."""


def give_order(url: str, name: str, intent: str, wait: Wait | None, *, force: bool, as_json: bool) -> None:
    """Give the order; `wait` until it is carried out, if that is given; print how the server is then."""
    client = AdminClient(url, ORDER_TIMEOUT)
    if wait is None:
        backend = client.set_intent(name, intent, force=force)
    else:
        backend = _carry_out(client, name, intent, wait, force=force)
    if as_json:
        print_json(asdict(backend))  # as the router told it
    else:
        click.echo(f"{backend.name}: {_sentence(backend)}")


def _carry_out(client: AdminClient, name: str, intent: str, wait: Wait, *, force: bool) -> BackendReport:
    """Give the order and wait for it. Ctrl-C ends the waiting alone, and that is said."""
    client.backend(name)  # Ctrl-C before there is such a server ends nothing that could go on
    try:
        return wait(client, client.set_intent(name, intent, force=force), intent)
    except KeyboardInterrupt:
        click.echo(f"partitioner: {_GOES_ON[intent].format(name)}", err=True)
        raise


def reload_now(url: str, *, force: bool, as_json: bool) -> None:
    """Have the configuration read again, and print what that has changed."""
    report = AdminClient(url, ORDER_TIMEOUT).reload(force=force)
    if as_json:
        print_json(asdict(report))
    elif not report.changes:
        click.echo("nothing changes: the file says what is in force already")
    else:
        for change in report.changes:
            click.echo(printable(f"{change.subject} {change.what}: {change.consequence}"))
        click.echo(f"{percent(report.moved_share)} of the sessions have another first server now")


def _sentence(backend: BackendReport) -> str:
    match backend.intent:
        case "drain" if backend.drain is not None:
            return f"drains; {progress(backend.drain)}"
        case "drain":
            return "drains"
        case "ready":
            return (
                "serves" if backend.serves else backend.why_out or f"is wanted ready, and is {backend.health}"
            )
        case _:
            return "is left alone"
