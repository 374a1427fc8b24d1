"""`partitioner accept-loss`: take an engine as it stands that has lost its sessions."""

import click

from partitioner.cli.router_option import admin_option
from partitioner.signals import interruptible


@click.command("accept-loss")
@admin_option
def accept_loss(url: str) -> None:
    """Take the engine of a `store` as it stands, although it has lost its sessions.

    An engine that was flushed, or restarted without persistence, says of every session that it is not there.
    So all clients are closed until somebody says that this is the truth now: their users get new sessions.
    One state server of a farm is enough; the others see that it was accepted.
    """
    from partitioner.cli.actions.accept_loss import accept_loss_now

    interruptible(lambda: accept_loss_now(url))
