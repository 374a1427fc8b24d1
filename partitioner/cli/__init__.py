"""The verbs of the command line (design.md 9.1): their options. What they do is in `actions`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError

from partitioner import __version__
from partitioner.cli.accept_loss import accept_loss
from partitioner.cli.bench import bench
from partitioner.cli.check import check
from partitioner.cli.claim import claim
from partitioner.cli.example import example
from partitioner.cli.farm import farm
from partitioner.cli.locate import locate
from partitioner.cli.man import man
from partitioner.cli.options import Complaint, complain
from partitioner.cli.plan import plan
from partitioner.cli.roll import roll
from partitioner.cli.serve import serve
from partitioner.cli.session import session, sessions, unlock
from partitioner.cli.state_server import state_server
from partitioner.cli.status import backends, locks, status
from partitioner.cli.steer import drain, maint, ready, reload
from partitioner.cli.top import top
from partitioner.cli.verify import verify


@contextmanager
def _one_voice() -> Iterator[None]:
    """Have everything that is wrong said in one way, also what click says by itself."""
    try:
        yield
    except NoArgsIsHelpError:
        raise
    except click.ClickException as error:
        raise Complaint(error) from error


class Program(click.Group):
    """The program with its verbs."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with _one_voice():
            return super().make_context(*arguments, **extra)

    def invoke(self, context: click.Context) -> Any:
        with _one_voice():
            return super().invoke(context)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="partitioner")
def main() -> None:
    """A router that makes many ASP.NET state servers look like one."""


PREPARING = (serve, state_server, check, locate, plan, farm, example, bench, man)
STEERING = (
    status,
    top,
    backends,
    locks,
    session,
    sessions,
    unlock,
    drain,
    ready,
    maint,
    roll,
    reload,
    claim,
    verify,
    accept_loss,
)

for verb in (*PREPARING, *STEERING):
    main.add_command(verb)


def run() -> None:
    """Run `main`; say in one sentence where its output cannot be written."""
    try:
        main()
    except OSError as error:
        complain(f"cannot write: {error.strerror or error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains once more at its end
        sys.exit(1)
