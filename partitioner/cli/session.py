"""`partitioner session`, `sessions` and `unlock`: look into sessions, release a lock left over."""

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
    "--largest",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="How many of the largest sessions, or of the heaviest items, are printed.",
)
@click.option("--by-item", is_flag=True, help="Print which names of items take the memory, of all sessions.")
def sessions(url: str, as_json: bool, largest: int, by_item: bool) -> None:
    """Print what takes the memory of the state servers: which sessions, applications, and names of items.

    Walks through all sessions of state servers with an `admin` address, and changes nothing. With --by-item
    they add up the sizes of their items, which takes a minute or two for a million sessions. Sessions are not
    named: who knows a session ID is its user. Needs the router's admin_token, on loopback as well.
    """
    from partitioner.cli.actions.sessions import show_items, show_largest

    show = show_items if by_item else show_largest
    interruptible(lambda: show(url, largest, as_json=as_json))


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
