"""`partitioner status`, `backends` and `locks`: what a running router sees."""

import click

from partitioner.cli.options import json_option, read_duration
from partitioner.cli.router_option import admin_option, complete_server
from partitioner.signals import interruptible

SHORTEST_INTERVAL = 0.1
"""Seconds: a router that is looked at more often than that has less time for its clients."""


def read_interval(context: click.Context, parameter: click.Parameter, text: str) -> float:
    interval = read_duration(context, parameter, text)
    if interval < SHORTEST_INTERVAL:
        raise click.BadParameter(f"{text} is too short; expected at least 100ms")
    return interval


def _timeout(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    return None if text is None else read_duration(context, parameter, text)


@click.command()
@admin_option
@json_option
@click.option(
    "--safe-to-stop",
    metavar="NAME",
    shell_complete=complete_server,
    help="Only say whether this state server may be stopped without losing a session: exit 0 if so, else 1; "
    "3 where no router answers.",
)
@click.option("--wait", is_flag=True, help="With --safe-to-stop: return when it may be stopped.")
@click.option(
    "--timeout",
    "within",
    metavar="DURATION",
    callback=_timeout,
    help="With --wait: for how long at most; then exit 1.",
)
def status(url: str, as_json: bool, safe_to_stop: str | None, wait: bool, within: float | None) -> None:
    """Print what a running router sees of itself and its state servers.

    Example: partitioner status --safe-to-stop state-2 --wait && ssh state-2 reboot
    """
    if wait and safe_to_stop is None:
        raise click.UsageError("--wait goes with --safe-to-stop NAME")
    if within is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")
    if safe_to_stop is not None:
        from partitioner.cli.actions.scripted import judge

        interruptible(lambda: judge(url, safe_to_stop, waits=wait, within=within, as_json=as_json))
    elif as_json:
        from partitioner.cli.actions.scripted import print_status

        interruptible(lambda: print_status(url))
    else:
        from partitioner.cli.actions.status import show_status

        interruptible(lambda: show_status(url))


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
    callback=read_interval,
    help="How long to wait between two looks of --watch; at least 100ms.",
)
def backends(url: str, as_json: bool, watch: bool, interval: float) -> None:
    """Print the state servers of a running router, and how they fare.

    Requests (a second), p50, p99 (times of answers) and failed are those of the last minute.
    """
    match watch, as_json:
        case True, True:
            from partitioner.cli.watch import watch_as_json

            interruptible(lambda: watch_as_json(url, interval))
        case True, False:
            from partitioner.cli.watch import watch_on_terminal

            interruptible(lambda: watch_on_terminal(url, interval))
        case False, True:
            from partitioner.cli.actions.scripted import print_backends

            interruptible(lambda: print_backends(url))
        case _:
            from partitioner.cli.actions.status import show_backends

            interruptible(lambda: show_backends(url))


@click.command()
@admin_option
@json_option
def locks(url: str, as_json: bool) -> None:
    """Print which sessions are locked by a page, where, and for how long; the oldest first.

    Sessions are not named: who knows a session ID is its user. A hash of the key tells them apart.
    """
    if as_json:
        from partitioner.cli.actions.scripted import print_locks

        interruptible(lambda: print_locks(url))
    else:
        from partitioner.cli.actions.status import show_locks

        interruptible(lambda: show_locks(url))
