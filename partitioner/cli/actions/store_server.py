"""Runs a state server whose sessions are on an engine, and says where it is."""

from contextlib import suppress

import click

from partitioner.daemon.process import run_daemon
from partitioner.daemon.store import StoreServerOptions
from partitioner.daemon.store_server import run_store_server
from partitioner.errors import AddressUnavailable, FileUnusable, WorkerFailed
from partitioner.membership.backend import Address
from partitioner.ops.log_output import open_log


def serve_from_store_until_stopped(
    options: StoreServerOptions, *, log_as_json: bool, workers: int = 1, log_level: str = "info"
) -> None:
    """Serve sessions until a signal says to stop, by so many processes.

    Raises ClickException if that cannot be.
    """

    def announce(address: Address, admin: Address | None) -> None:
        with suppress(OSError):
            beside = "" if admin is None else f"; admin port on {admin}"
            beside = beside if workers == 1 else f"; {workers} workers{beside}"
            where = options.store.place
            click.echo(f"state server on {address}, sessions on {where}{beside}; stop with Ctrl-C or SIGTERM")

    try:
        with open_log(as_json=log_as_json):
            if workers == 1:
                run_daemon(run_store_server, options, announce)
            else:
                from partitioner.daemon.store_supervisor import run_store_workers

                run_daemon(run_store_workers, workers, options, announce, log_as_json, log_level)
    except (AddressUnavailable, FileUnusable, WorkerFailed) as error:
        raise click.ClickException(str(error)) from error
