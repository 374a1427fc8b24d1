"""`partitioner serve`: run the router."""

import socket
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.table import Table

from partitioner import __version__
from partitioner.cli.output import settings_or_exit
from partitioner.config import LogFormat, Settings
from partitioner.daemon import run_router
from partitioner.errors import AddressUnavailable
from partitioner.membership.backend import Address, Backend
from partitioner.ops.log import configure_log

_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})


@click.command()
@click.option("-c", "--config", type=click.Path(path_type=Path), help="The configuration file (YAML).")
def serve(config: Path | None) -> None:
    """Run the router.

    Without a configuration file: three state servers inside this process, and the router in front of them on
    127.0.0.1:42424. Good for trying it out; a restart of this process logs everybody out.
    """
    settings = settings_or_exit(config)
    configure_log(as_json=settings.log_format is LogFormat.JSON)

    def announce(address: Address, backends: tuple[Backend, ...]) -> None:
        _print_welcome(settings, address, backends)

    try:
        trio.run(run_router, settings, announce)
    except AddressUnavailable as error:
        raise click.ClickException(str(error)) from error


def _print_welcome(settings: Settings, address: Address, backends: tuple[Backend, ...]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]partitioner {__version__}[/bold]: one state server in front of {len(backends)}\n")
    console.print("In the web.config of every web server of the farm:\n")
    console.print(f"  {session_state_snippet(address)}\n", markup=False)
    console.print(_pool_table(settings, backends))
    if settings.embedded:
        console.print("\nThese state servers live in this process: their sessions end with it.")
    console.print(
        "\nStop with Ctrl-C or SIGTERM: exchanges under way are finished. A second one stops now.\n"
    )


def session_state_snippet(address: Address) -> str:
    """The line for web.config that sends a web server's sessions to this address."""
    host = socket.gethostname() if address.host in _EVERY_ADDRESS else address.host
    connection = f"tcpip={Address(host, address.port)}"
    return f'<sessionState mode="StateServer" stateConnectionString="{connection}" />'


def _pool_table(settings: Settings, backends: tuple[Backend, ...]) -> Table:
    weights = settings.weights()
    table = Table(
        "state server", "address", "intent", "share", box=None, pad_edge=False, padding=(0, 4, 0, 0)
    )
    for backend in backends:
        share = weights[backend.name] / sum(weights.values())
        table.add_row(f"  {backend.name}", str(backend.address), backend.intent.value, f"{share:.1%}")
    return table
