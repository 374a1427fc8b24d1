"""`partitioner farm`: do the web servers share what they must?"""

from pathlib import Path

import click

from partitioner.cli.options import config_option, json_option
from partitioner.signals import interruptible


@click.command()
@config_option
@json_option
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def farm(config: Path | None, as_json: bool, files: tuple[str, ...]) -> None:
    """Compare the configurations of web servers.

    A FILE is a web.config, applicationHost.config or machine.config that was gathered from a web server, or
    a folder with such files. `-` reads one name a line from stdin. The first folder in which the names
    differ tells which web server a file is of; `NAME=FILE` says it outright.

    Prints what the web servers share and what they do not, each with file, line and reason. Exits 1 if they
    are not one farm, or a file cannot be read. Machine keys are compared, and never printed.
    """
    from partitioner.cli.actions.farm import compare_files

    interruptible(lambda: compare_files(files, config, as_json=as_json))
