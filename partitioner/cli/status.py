"""`partitioner status`, `backends` and `locks`: what a running router sees."""

from dataclasses import asdict

import click

from partitioner.cli.admin_client import AdminClient, admin_option
from partitioner.cli.output import json_option, print_json, print_rich, table, width_of_stdout
from partitioner.cli.pool_table import age, backends_table, progress, summary
from partitioner.cli.watch import watch_as_json, watch_on_terminal
from partitioner.ops.admin.reports import BackendReport
from partitioner.units import parse_duration

SHORTEST_INTERVAL = 0.1
"""Seconds: a router that is looked at more often than that has less time for its clients."""


def _interval(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    try:
        interval = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if interval < SHORTEST_INTERVAL:
        raise click.BadParameter(f"{text} is too short; expected at least 100ms")
    return interval


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
    print_rich(summary(seen), backends_table(seen.backends, width_of_stdout()))
    for drain in seen.drains:
        print_rich(f"{drain.backend} drains: {progress(drain)}")


@click.command()
@admin_option
@json_option
@click.option(
    "--watch", is_flag=True, help="Look again and again, until Ctrl-C; also while no router answers. Exit 0."
)
@click.option(
    "--interval",
    metavar="DURATION",
    default="1s",
    show_default=True,
    callback=_interval,
    help="How long to wait between two looks of --watch; at least 100ms.",
)
def backends(url: str, as_json: bool, watch: bool, interval: float) -> None:
    """Print the state servers of a running router, and how they fare.

    Requests (a second), p50, p99 (times of answers) and failed are those of the last minute.
    """
    if watch:
        (watch_as_json if as_json else watch_on_terminal)(url, interval)
        return
    found = AdminClient(url).backends()
    if as_json:
        print_json({"backends": [asdict(each) for each in found]})
    else:
        print_rich(backends_table(found, width_of_stdout()))


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
