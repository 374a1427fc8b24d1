"""The verbs of the command line."""

import click

from partitioner import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="partitioner")
def main() -> None:
    """A router that makes many ASP.NET state servers look like one."""
