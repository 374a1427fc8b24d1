"""`partitioner farm`: do the web servers share what they must?"""

from pathlib import Path

import click

from partitioner.cli.options import TOKEN, config_option, json_option
from partitioner.signals import interruptible


@click.command()
@config_option
@json_option
@click.option(
    "--admin",
    "url",
    metavar="URL",
    help="Say as well which of these web servers make the applications that the router there saw mixed. Its "
    f"token, if any, is taken from ${TOKEN}.",
)
@click.option(
    "--set",
    "connection",
    metavar="tcpip=HOST:PORT",
    help="Show what this connection string would change in the files, in place of comparing them.",
)
@click.option("--write", is_flag=True, help="With --set: write it, and keep each file as it was beside it.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(allow_dash=True))
def farm(
    config: Path | None,
    as_json: bool,
    url: str | None,
    connection: str | None,
    write: bool,
    files: tuple[str, ...],
) -> None:
    """Compare the configurations of web servers.

    A FILE is a web.config, applicationHost.config or machine.config that was gathered from a web server, or
    a folder with such files. `-` reads one name a line from stdin. The first folder in which the names
    differ tells which web server a file is of; `NAME=FILE` says it outright.

    Prints what the web servers share and what they do not, each with file, line and reason. Exits 1 if they
    are not one farm, or a file cannot be read. Machine keys are compared, and never printed.
    """
    from partitioner.cli.actions.farm import compare_files, given_files

    if connection is None:
        if write:
            raise click.UsageError("--write goes with --set")
        interruptible(lambda: compare_files(given_files(files), config, url, as_json=as_json))
        return
    from partitioner.cli.actions.farm_set import set_connection

    interruptible(lambda: set_connection(given_files(files), connection, write=write, as_json=as_json))
