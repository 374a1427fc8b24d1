"""Runs a state server of our own, and says where it is."""

from contextlib import suppress

import click

from partitioner.daemon.process import run_daemon
from partitioner.daemon.state_server import StateServerOptions, run_state_server
from partitioner.errors import AddressUnavailable, FileUnusable
from partitioner.membership.backend import Address
from partitioner.ops.log_output import open_log
from partitioner.units import format_size


def serve_until_stopped(options: StateServerOptions, *, log_as_json: bool) -> None:
    """Serve sessions until a signal says to stop. Raises ClickException if that cannot be."""

    def announce(address: Address, admin: Address | None) -> None:
        at_most = options.max_memory
        limit = "no memory limit" if at_most is None else f"at most {format_size(at_most)} of sessions"
        with suppress(OSError):  # a banner that cannot be printed is no reason not to serve
            beside = f"admin port on {admin}; " if admin is not None else ""
            click.echo(f"state server on {address}, {limit}; {beside}stop with Ctrl-C or SIGTERM")

    try:
        with open_log(as_json=log_as_json):
            run_daemon(run_state_server, options, announce)
    except (AddressUnavailable, FileUnusable) as error:
        raise click.ClickException(str(error)) from error
