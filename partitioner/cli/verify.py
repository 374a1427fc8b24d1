"""`partitioner verify`: look whether every session has all its copies."""

import click

from partitioner.cli.options import admin_option, json_option
from partitioner.signals import interruptible


@click.command()
@admin_option
@json_option
def verify(url: str, as_json: bool) -> None:
    """Walk through all sessions, change nothing, and count them: exit 0 if all of them are whole, else 1.

    Counts on how many servers they are, and which lack a copy, differ between servers, or lie where they do
    not belong. State servers without an `admin` address cannot be asked, and are named.
    """
    from partitioner.cli.actions.verify import verify_now

    interruptible(lambda: verify_now(url, as_json=as_json))
