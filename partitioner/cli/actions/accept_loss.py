"""Has a state server take its engine as it stands."""

import click

from partitioner.cli.admin_client import AdminClient


def accept_loss_now(url: str) -> None:
    """Say it to the state server at this URL. Raises ClickException (exit 1) where that cannot be."""
    click.echo(AdminClient(url).accept_loss())
