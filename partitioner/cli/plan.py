"""`partitioner plan`: what would a change of the pool move, before it is made?"""

from pathlib import Path

import click

from partitioner.cli.options import config_option, json_option
from partitioner.signals import interruptible


@click.command()
@config_option
@json_option
@click.option("--add", multiple=True, metavar="NAME[=WEIGHT]", help="Add a server; its weight is 1.")
@click.option("--remove", multiple=True, metavar="NAME", help="Remove a server.")
@click.option("--weight", multiple=True, metavar="NAME=WEIGHT", help="Change the weight of a server.")
def plan(
    config: Path | None,
    as_json: bool,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weight: tuple[str, ...],
) -> None:
    """Print what a change of the pool would move.

    Counts, over 100,000 sample sessions (fewer where there are more than 100 servers), which server each
    of them is on now and would be on then.
    Each option may be given several times; all changes together are one.
    """
    from partitioner.cli.actions.plan import print_plan

    interruptible(lambda: print_plan(config, add, remove, weight, as_json=as_json))
