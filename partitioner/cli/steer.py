"""`partitioner drain`, `ready` and `maint`: tell a running router what is wanted of a state server."""

import click

from partitioner.cli.options import json_option
from partitioner.cli.router_option import admin_option, complete_server
from partitioner.signals import interruptible

name_argument = click.argument("name", shell_complete=complete_server)
wait_option = click.option("--wait", is_flag=True, help="Show the progress, and return when it is done.")


@click.command()
@name_argument
@wait_option
@admin_option
@json_option
def drain(name: str, wait: bool, url: str, as_json: bool) -> None:
    """Have a state server hand its sessions off, and place no new ones on it.

    With `backends[].admin` all of its sessions are moved at once; others move as they are used, and what
    is left at the end of the longest session has expired. When it is done the server can be stopped.
    """
    _order(name, "drain", url, has_to_wait=wait, as_json=as_json)


@click.command()
@name_argument
@wait_option
@admin_option
@json_option
def ready(name: str, wait: bool, url: str, as_json: bool) -> None:
    """Have a state server serve. --wait: until it is up.

    Also says of one that is recovering that it has missed nothing: it is read again at once.
    """
    _order(name, "ready", url, has_to_wait=wait, as_json=as_json)


@click.command()
@name_argument
@wait_option
@admin_option
@json_option
def maint(name: str, wait: bool, url: str, as_json: bool) -> None:
    """Have a state server left alone: nothing is asked of it any more, and its sessions are not found.

    Drain it first, or be sure that its sessions have copies: `partitioner status --safe-to-stop NAME`.
    """
    _order(name, "maint", url, has_to_wait=wait, as_json=as_json)


def _order(name: str, intent: str, url: str, *, has_to_wait: bool, as_json: bool) -> None:
    from partitioner.cli.actions.steer import Wait, give_order

    wait: Wait | None = None
    if has_to_wait:
        from partitioner.cli.actions.waiting import wait
    interruptible(lambda: give_order(url, name, intent, wait, as_json=as_json))
