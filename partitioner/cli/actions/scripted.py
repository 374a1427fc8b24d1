"""What scripts ask a running router: JSON, and whether a state server may be stopped. It takes no rich."""

import time
from dataclasses import asdict

import click

from partitioner.cli.actions.lines import Lines, say_on_stderr
from partitioner.cli.actions.patience import GLANCE, Patient
from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import print_json
from partitioner.ops.admin.reports import BackendReport
from partitioner.ops.printable import printable


def print_status(url: str) -> None:
    """Print what the router at this URL sees, as it tells it."""
    client = AdminClient(url)
    print_json(asdict(client.store_status() if client.has_store() else client.status()))


def print_backends(url: str) -> None:
    """Print its state servers, and how they fare."""
    print_json({"backends": [asdict(each) for each in AdminClient(url).backends()]})


def print_locks(url: str) -> None:
    """Print its locks, the oldest first."""
    print_json(asdict(AdminClient(url).locks()))


def judge(url: str, name: str, *, waits: bool, within: float | None, as_json: bool) -> None:
    """Say whether the backend of this name may be stopped; exit 1 if not.

    If it `waits`, when it may, or after so many seconds. Raises NoRouterAnswers (exit 3).
    """
    client = AdminClient(url)
    backend = client.backend(name, removed=True)
    if waits:
        backend = _wait_until_safe(client, backend, within)
    if as_json:
        print_json({"safe_to_stop": backend.safe_to_stop, "reasons": backend.not_safe_to_stop})
    elif backend.safe_to_stop:
        click.echo(f"{backend.name} may be stopped: every session on it is elsewhere, too")
    else:
        click.echo(f"{backend.name} must not be stopped now:")
        for reason in backend.not_safe_to_stop:
            click.echo(f"  {reason}")
    if not backend.safe_to_stop:
        click.get_current_context().exit(1)


def _wait_until_safe(client: AdminClient, backend: BackendReport, within: float | None) -> BackendReport:
    """Look until it may be stopped, or so many seconds have passed; return how it is then."""
    give_up_at = float("inf") if within is None else time.monotonic() + within
    lines, patient, name = Lines(say_on_stderr), Patient(), backend.name
    while not backend.safe_to_stop and time.monotonic() < give_up_at:
        lines.tell(
            "unsafe", printable(f"{name} must not be stopped yet: {'; '.join(backend.not_safe_to_stop)}")
        )
        time.sleep(min(GLANCE, max(0.0, give_up_at - time.monotonic())))
        seen = patient.maybe_ask(lambda: client.backend(name, removed=True))
        if seen is None:
            lines.tell("silent", "no router answers just now; it is asked again")
        backend = seen or backend
    return backend
