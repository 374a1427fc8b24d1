"""`partitioner roll`: restart the state servers of a pool, one after the other."""

import click

from partitioner.cli.options import json_option, read_duration
from partitioner.cli.router_option import admin_option, complete_server
from partitioner.signals import interruptible


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_server)
@click.option(
    "--run",
    "command",
    metavar="COMMAND",
    help="What restarts a server, and returns when that is done; the server's name is its last argument. "
    "Without it you are asked to do so, and to press Enter.",
)
@click.option(
    "--drain",
    "drains",
    is_flag=True,
    help="Drain each server before its restart, so that sessions have all their copies meanwhile; always "
    "done where `copies` is 1.",
)
@click.option(
    "--timeout",
    "within",
    metavar="DURATION",
    default="2h",
    show_default=True,
    callback=read_duration,
    help="How long each wait may take: until a server is safe to stop, drained, or back, and until the pool "
    "is redundant.",
)
@admin_option
@json_option
def roll(
    names: tuple[str, ...], command: str | None, drains: bool, within: float, url: str, as_json: bool
) -> None:
    """Restart the state servers one after the other, without the loss of a session.

    For each server (of all that are ready, or of those named): waits until it is safe to stop, has it left
    alone (maint), waits for its restart, has it serve again, and waits until the pool is redundant. Says
    what goes on, a line for each step; --json: an object a line.

    Stops at the first thing that is not as it should be (exit 1) and says how things stand then, as Ctrl-C
    does. Exit 3 where no router answers for a minute.

    Example: partitioner roll --run ./restart-state-server
    """
    from partitioner.cli.actions.roll import roll_now

    interruptible(lambda: roll_now(url, names, command, drains=drains, within=within, as_json=as_json))
