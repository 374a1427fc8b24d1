"""`partitioner session` and `unlock`: look at one session, and release a lock that no page holds any more."""

import click

from partitioner.cli.options import json_option
from partitioner.cli.router_option import admin_option
from partitioner.signals import interruptible


@click.command()
@admin_option
@json_option
@click.argument("key", metavar="ID")
def session(url: str, as_json: bool, key: str) -> None:
    """Print where a session is and should be, its copies, its lock, and what kind of items is in it.

    ID is a session ID, or the target of a request (it has a `/` or `%` in it). Names, .NET types and sizes of
    items are printed, never values: the body is not deserialised. Needs the router's admin_token, on loopback
    as well. Exit 1 where there is no such session.

    A state server with an `admin` address tells by it, and nothing changes. Any other one is asked as a page
    asks, which starts the session's time-out anew.
    """
    from partitioner.cli.actions.session import show_session

    interruptible(lambda: show_session(url, key, as_json=as_json))


@click.command()
@admin_option
@json_option
@click.option(
    "--force", is_flag=True, help="Also where a page may still hold the lock; what it saves is lost."
)
@click.argument("key", metavar="ID")
def unlock(url: str, as_json: bool, force: bool, key: str) -> None:
    """Release the lock of a session, as its page would do at its end.

    Looks at the session, and releases the very lock that is seen; one that a page takes meanwhile stays.
    ASP.NET itself breaks a lock after 110 s; a younger one is released with --force only. The router's log
    says who has done it. Exit 1 where there is no such lock.
    """
    from partitioner.cli.actions.session import unlock_session

    interruptible(lambda: unlock_session(url, key, force=force, as_json=as_json))
