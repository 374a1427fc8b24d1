"""The verbs of the command line (design.md 9.1): their options. What they do is in `actions`."""

import os
import sys

import click

from partitioner import __version__
from partitioner.cli.accept_loss import accept_loss
from partitioner.cli.bench import bench
from partitioner.cli.check import check
from partitioner.cli.claim import claim
from partitioner.cli.example import example
from partitioner.cli.locate import locate
from partitioner.cli.plan import plan
from partitioner.cli.serve import serve
from partitioner.cli.state_server import state_server
from partitioner.cli.status import backends, locks, status
from partitioner.cli.steer import drain, maint, ready
from partitioner.cli.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="partitioner")
def main() -> None:
    """A router that makes many ASP.NET state servers look like one."""


PREPARING = (serve, state_server, check, locate, plan, example, bench)
STEERING = (status, backends, locks, drain, ready, maint, claim, verify, accept_loss)

for verb in (*PREPARING, *STEERING):
    main.add_command(verb)


def run() -> None:
    """Run `main`; say in one sentence where its output cannot be written."""
    try:
        main()
    except OSError as error:
        click.echo(f"partitioner: cannot write: {error.strerror or error}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains once more at its end
        sys.exit(1)
