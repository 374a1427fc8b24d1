"""`partitioner top`: the status page in a terminal."""

import sys

import click

from partitioner.cli.options import json_option
from partitioner.cli.router_option import admin_option
from partitioner.cli.status import read_interval
from partitioner.signals import interruptible


@click.command()
@admin_option
@json_option
@click.option(
    "--interval",
    metavar="DURATION",
    default="2s",
    show_default=True,
    callback=read_interval,
    help="How long to wait between two looks; at least 100ms.",
)
def top(url: str, as_json: bool, interval: float) -> None:
    """Show how a running router fares, and what the last hour was like, until Ctrl-C.

    It goes on while no router answers, and says so. Where there is no terminal, it shows that once.

    In the strip of a server each character is a few minutes, the newest on the right, with the worst of it:
    - up, X down, r recovering, ? not known, d drained, m in maint, o removed, = standby.
    """
    from partitioner.cli.actions.top import show_once, show_until_stopped, top_as_json

    if as_json:
        interruptible(lambda: top_as_json(url))
    elif not sys.stdout.isatty():
        interruptible(lambda: show_once(url))
    else:
        interruptible(lambda: show_until_stopped(url, interval))
