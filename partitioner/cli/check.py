"""`partitioner check`: is this configuration right, and what does it amount to?"""

from pathlib import Path

import click

from partitioner.cli.options import config_option, json_option
from partitioner.signals import interruptible


@click.command()
@config_option
@click.option(
    "--connect",
    is_flag=True,
    help="Then examine each server: store, lock, read and remove an item of its own.",
)
@json_option
def check(config: Path | None, connect: bool, as_json: bool) -> None:
    """Validate the configuration.

    Prints every problem with its path and exits 2; or prints the pool with the share of the sessions
    that each server gets, and exits 0. With --connect it exits 1 if anything is wrong with a server.
    """
    from partitioner.cli.actions.check import check_configuration

    interruptible(lambda: check_configuration(config, connect=connect, as_json=as_json))
