"""`partitioner claim`: make a router the active one of its farm."""

import click

from partitioner.cli.options import admin_option, json_option
from partitioner.signals import interruptible


@click.command()
@admin_option
@json_option
def claim(url: str, as_json: bool) -> None:
    """Make this router the active one of its farm at once, even if another one is.

    For the program that has moved the farm's address here, such as notify_master of keepalived. Without it a
    standby waits until the active router has been silent for 5 s. The other router closes its clients and
    goes on as a standby. A router that is active already stays it. Exit 1 where no server can be asked.
    """
    from partitioner.cli.actions.claim import claim_now

    interruptible(lambda: claim_now(url, as_json=as_json))
