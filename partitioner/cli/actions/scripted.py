"""What scripts ask a running router: JSON, and whether a state server may be stopped. It takes no rich."""

from dataclasses import asdict

import click

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import print_json


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


def judge(url: str, name: str, *, as_json: bool) -> None:
    """Say whether the backend of this name may be stopped; exit 1 if not."""
    backend = AdminClient(url).backend(name)
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
