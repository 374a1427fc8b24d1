"""`partitioner status`, `backends` and `locks`: what a running router sees."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

import click
from rich.table import Table

from partitioner.cli.admin_client import AdminClient, admin_option
from partitioner.cli.output import json_option, percent, print_json, print_rich, table
from partitioner.ops.admin.reports import BackendReport, DrainReport, Status


@click.command()
@admin_option
@json_option
@click.option(
    "--safe-to-stop",
    metavar="NAME",
    help="Only say whether this state server may be stopped without losing a session: exit 0 if so, else 1.",
)
def status(url: str, as_json: bool, safe_to_stop: str | None) -> None:
    """Print what a running router sees of itself and its state servers."""
    client = AdminClient(url)
    if safe_to_stop is not None:
        _judge(client.backend(safe_to_stop), as_json)
        return
    seen = client.status()
    if as_json:
        print_json(asdict(seen))
        return
    print_rich(_summary(seen), _backends_table(seen.backends))
    for drain in seen.drains:
        print_rich(f"{drain.backend} drains: {progress(drain)}")


@click.command()
@admin_option
@json_option
def backends(url: str, as_json: bool) -> None:
    """Print the state servers of a running router, and how they fare."""
    found = AdminClient(url).backends()
    if as_json:
        print_json({"backends": [asdict(each) for each in found]})
    else:
        print_rich(_backends_table(found))


@click.command()
@admin_option
@json_option
def locks(url: str, as_json: bool) -> None:
    """Print which sessions are locked by a page, where, and for how long; the oldest first.

    Sessions are not named: who knows a session ID is its user. A hash of the key tells them apart.
    """
    held = AdminClient(url).locks()
    if as_json:
        print_json(asdict(held))
        return
    rows = table("session (hash)", "held on", "for", numbers=("for",))
    for lock in held.locks:
        where = lock.server if lock.reachable else f"{lock.server}, which is away: the router stands for it"
        rows.add_row(lock.key, where, age(lock.age))
    print_rich(rows, f"{held.held} held, {len(held.locks)} shown.")


def progress(drain: DrainReport) -> str:
    """How far a drain has come, in a line."""
    left = "nobody can tell how many are left" if drain.left is None else f"{drain.left} left"
    if drain.done:
        return f"done, {drain.moved} sessions moved"
    if drain.stalled is not None:
        return f"{drain.moved} sessions moved, {left}; stalled: {drain.stalled}"
    until = "" if drain.estimate is None else f", at most {age(drain.estimate)} to go"
    return f"{drain.moved} sessions moved, {left}{until}"


def age(seconds: float) -> str:
    """A length of time for people, to the second: 0:01:30."""
    return str(timedelta(seconds=round(seconds)))


def _judge(backend: BackendReport, as_json: bool) -> None:
    """Say whether a backend may be stopped; exit 1 if not."""
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


def _summary(seen: Status) -> Table:
    rows = table("", "")
    rows.show_header = False
    is_redundant = seen.redundant_since is not None
    redundant = f"for {age(seen.redundant_since or 0.0)}" if is_redundant else "; ".join(seen.not_redundant)
    oldest = "" if seen.oldest_lock is None else f", the oldest for {age(seen.oldest_lock)}"
    rows.add_row("router", f"{seen.name}, version {seen.version}")
    rows.add_row("ready", "yes" if seen.ready else f"no: {'; '.join(seen.not_ready)}")
    rows.add_row("state servers", f"{seen.serving} of {len(seen.backends)} serve, {seen.copies} copies kept")
    rows.add_row("redundant", redundant if is_redundant else f"no: {redundant}")
    rows.add_row("locks", f"{seen.locks_held} held{oldest}")
    rows.add_row("to put right", f"{seen.keys_marked} copies")
    return rows


def _backends_table(found: Sequence[BackendReport]) -> Table:
    headers = ("state server", "address", "intent", "health", "for", "share", "to put right", "drain")
    rows = table(*headers, numbers=("for", "share", "to put right"))
    for each in found:
        rows.add_row(
            each.name,
            each.address,
            "removed" if each.removed else each.intent,
            each.health if each.trouble is None else f"{each.health} ({each.trouble})",
            "-" if each.health_for is None else age(each.health_for),
            percent(each.share),
            str(each.keys_marked),
            "-" if each.drain is None else progress(each.drain),
        )
    return rows
