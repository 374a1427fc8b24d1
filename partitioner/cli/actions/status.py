"""Prints what a running router sees: itself, its state servers, and the locks on them."""

from dataclasses import asdict

import click

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import print_json, print_rich, table, width_of_stdout
from partitioner.cli.pool_table import age, backends_table, progress, summary
from partitioner.ops.admin.words import doubts


def print_status(url: str, *, as_json: bool) -> None:
    """Print what the router at this URL sees."""
    seen = AdminClient(url).status()
    if as_json:
        print_json(asdict(seen))
        return
    print_rich(summary(seen), backends_table(seen.backends, width_of_stdout()))
    for backend in seen.backends:
        for sentence in doubts(backend):
            print_rich(f"{sentence}.")
    for drain in seen.drains:
        print_rich(f"{drain.backend} drains: {progress(drain)}")


def print_backends(url: str, *, as_json: bool) -> None:
    """Print its state servers, and how they fare."""
    found = AdminClient(url).backends()
    if as_json:
        print_json({"backends": [asdict(each) for each in found]})
    else:
        print_rich(backends_table(found, width_of_stdout()))


def print_locks(url: str, *, as_json: bool) -> None:
    """Print its locks, the oldest first."""
    held = AdminClient(url).locks()
    if as_json:
        print_json(asdict(held))
        return
    rows = table("session (hash)", "held on", "for", numbers=("for",))
    for lock in held.locks:
        where = lock.server if lock.reachable else f"{lock.server}, which is away: the router stands for it"
        rows.add_row(lock.key, where, age(lock.age))
    print_rich(rows, f"{held.held} held, {len(held.locks)} shown.")


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
