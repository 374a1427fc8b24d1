"""`partitioner locate`: where does a session live, and where does it go when that server is out?"""

from pathlib import Path

import click

from partitioner.cli.options import config_option, json_option
from partitioner.signals import interruptible


@click.command()
@config_option
@json_option
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
def locate(config: Path | None, as_json: bool, keys: tuple[str, ...]) -> None:
    """Print the preference lists of sessions.

    A KEY is a session ID, or the target of a request (it has a `/` or `%` in it). `-` reads one key a
    line from stdin.

    The list names every server of the pool, best first: a session is on the first one that is ready
    and up.
    """
    from partitioner.cli.actions.locate import print_locations

    interruptible(lambda: print_locations(config, keys, as_json=as_json))
