"""`partitioner serve`: run the router."""

import socket
from pathlib import Path

import click
import trio
from rich.table import Table

from partitioner import __version__
from partitioner.cli.output import config_option, percent, print_rich, printable, settings_of, table
from partitioner.config import LogFormat, Settings
from partitioner.daemon import run_router
from partitioner.errors import AddressUnavailable
from partitioner.membership.backend import Address, Backend
from partitioner.ops.log import configure_log

_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})


@click.command()
@config_option
def serve(config: Path | None) -> None:
    """Run the router.

    Without a configuration file: three state servers inside this process, and the router in front of
    them on 127.0.0.1:42424. Good for trying it out; when this process ends, their sessions are gone.
    """
    settings = settings_of(config)
    configure_log(as_json=settings.log_format is LogFormat.JSON)

    def announce(address: Address, backends: tuple[Backend, ...]) -> None:
        _print_welcome(settings, address, backends)

    try:
        trio.run(run_router, settings, announce)
    except AddressUnavailable as error:
        raise click.ClickException(str(error)) from error


def _print_welcome(settings: Settings, address: Address, backends: tuple[Backend, ...]) -> None:
    print_rich(
        f"partitioner {__version__}: a router in front of {len(backends)} state server(s)\n",
        "In the web.config of every web server of the farm:\n",
        printable(f"  {session_state_snippet(address)}"),
        _pool_table(settings, backends),
    )
    if settings.embedded:
        print_rich("These state servers live in this process: when it ends, their sessions are gone.")
    print_rich("Stop with Ctrl-C or SIGTERM: exchanges under way are finished. A second one stops at once.\n")


def session_state_snippet(address: Address) -> str:
    """The line for web.config that sends a web server's sessions to this address."""
    host = socket.gethostname() if address.host in _EVERY_ADDRESS else address.host
    connection = f"tcpip={Address(host, address.port)}"
    return f'<sessionState mode="StateServer" stateConnectionString="{connection}" />'


def _pool_table(settings: Settings, backends: tuple[Backend, ...]) -> Table:
    ready = settings.ready_weights()
    pool = table("state server", "address", "intent", "share", numbers=("share",))
    for backend in backends:
        share = ready.get(backend.name, 0.0) / sum(ready.values())
        pool.add_row(backend.name, str(backend.address), backend.intent.value, percent(share))
    return pool
