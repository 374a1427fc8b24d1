"""`partitioner drain`, `ready`, `maint` and `reload`: tell a running router what is wanted of its servers."""

import click

from partitioner.cli.options import json_option
from partitioner.cli.router_option import admin_option, complete_server
from partitioner.signals import interruptible

name_argument = click.argument("name", shell_complete=complete_server)
wait_option = click.option("--wait", is_flag=True, help="Show the progress, and return when it is done.")
force_option = click.option(
    "--force", is_flag=True, help="Do it although it takes the last good copy of sessions out of reach."
)
trust_option = click.option(
    "--force", is_flag=True, help="Have it read at once although it may have missed changes (recovering)."
)


@click.command()
@name_argument
@wait_option
@force_option
@admin_option
@json_option
def drain(name: str, wait: bool, force: bool, url: str, as_json: bool) -> None:
    """Have a state server hand its sessions off, and place no new ones on it.

    With `backends[].admin` all of its sessions are moved at once; others move as they are used, and what
    is left at the end of the longest session has expired. When it is done the server can be stopped.

    Refused (exit 1) where fewer servers than `copies` would be left to take sessions.

    Example: partitioner drain state-2 --wait
    """
    _order(name, "drain", url, has_to_wait=wait, force=force, as_json=as_json)


@click.command()
@name_argument
@wait_option
@trust_option
@admin_option
@json_option
def ready(name: str, wait: bool, force: bool, url: str, as_json: bool) -> None:
    """Have a state server serve. --wait: until it is up.

    One that is recovering is read again when healing has been through it, or when whatever it may have missed
    has expired. --force has it read at once: only if you know that it has missed nothing.

    Example: partitioner ready state-2 --wait
    """
    _order(name, "ready", url, has_to_wait=wait, force=force, as_json=as_json)


@click.command()
@name_argument
@wait_option
@force_option
@admin_option
@json_option
def maint(name: str, wait: bool, force: bool, url: str, as_json: bool) -> None:
    """Have a state server left alone: nothing is asked of it any more, and its sessions are not found.

    Refused (exit 1) with the number of sessions at stake where they may have no good copy elsewhere; drain
    it first, or wait until it is safe: `partitioner status --safe-to-stop NAME --wait`.

    Example: partitioner maint state-2
    """
    _order(name, "maint", url, has_to_wait=wait, force=force, as_json=as_json)


@click.command()
@force_option
@admin_option
@json_option
def reload(force: bool, url: str, as_json: bool) -> None:
    """Have the router read its configuration again, as SIGHUP does, and say what that changes.

    Refused (exit 1) where the file takes servers away whose sessions may have no good copy elsewhere; what
    was in force goes on then. Exit 2 where the file is wrong.

    Example: partitioner reload
    """
    from partitioner.cli.actions.steer import reload_now

    interruptible(lambda: reload_now(url, force=force, as_json=as_json))


def _order(name: str, intent: str, url: str, *, has_to_wait: bool, force: bool, as_json: bool) -> None:
    from partitioner.cli.actions.steer import Wait, give_order

    wait: Wait | None = None
    if has_to_wait:
        from partitioner.cli.actions.waiting import wait
    interruptible(lambda: give_order(url, name, intent, wait, force=force, as_json=as_json))
