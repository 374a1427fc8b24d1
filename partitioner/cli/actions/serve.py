"""Runs the router, and says how web servers find it."""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import trio
from rich.table import Table

from partitioner import __version__
from partitioner.cli.actions.check import warnings
from partitioner.cli.configuration import listing, settings_of
from partitioner.cli.options import Refused
from partitioner.cli.output import percent, warn
from partitioner.cli.tables import print_rich, table
from partitioner.config import LogFormat, Settings, load
from partitioner.daemon.own_addresses import backends_that_lead_here
from partitioner.daemon.policies import uses_fast_path
from partitioner.daemon.process import run_daemon
from partitioner.daemon.router import StartupBanner, run_router
from partitioner.daemon.state_dir import state_place
from partitioner.errors import AddressUnavailable, FileUnusable
from partitioner.membership.backend import Address, Intent
from partitioner.membership.pool import Pool
from partitioner.ops.event_log import Level
from partitioner.ops.log_output import open_log, set_log_level


def serve_until_stopped(config: Path | None, listen: Address | None, admin: Address | None) -> None:
    """Route sessions until a signal says to stop; the addresses given take the place of the file's.

    Raises Refused where the file is wrong, and ClickException where something is in the way.
    """
    settings = _with_addresses(settings_of(config), listen, admin)
    set_log_level(Level(settings.log_level.value))

    def read() -> Settings:
        return _with_addresses(load(config), listen, admin)

    if settings.store is not None:
        _serve_from_store(settings, read if config else None)
        return
    if problems := trio.run(backends_that_lead_here, settings):
        raise Refused(listing(problems, config))
    for sentence in warnings(settings, config):
        warn(sentence)

    def announce(banner: StartupBanner) -> None:
        # A banner that cannot be printed is no reason not to serve; rich exits on a broken pipe.
        with suppress(OSError, SystemExit):
            _print_banner(settings, banner)

    try:
        with open_log(as_json=settings.log_format is LogFormat.JSON):
            run_daemon(run_router, settings, announce, read if config else None)
    except (AddressUnavailable, FileUnusable) as error:
        raise click.ClickException(str(error)) from error


def _serve_from_store(settings: Settings, read: Callable[[], Settings] | None) -> None:
    """Answer from the sessions on an engine, as a state server does."""
    from partitioner.cli.actions.store_server import serve_from_store_until_stopped
    from partitioner.daemon.store import StoreServerOptions

    policy = settings.store_policy()
    assert policy is not None
    options = StoreServerOptions(
        store=policy,
        listen=settings.listen,
        allow=settings.allow_clients,
        max_body=settings.largest_body(),
        connections=settings.limits.connections,
        per_client=settings.limits.per_client,
        exchange=settings.timeouts.exchange,
        client_idle=settings.timeouts.client_idle,
        shutdown=settings.timeouts.shutdown,
        is_fast=uses_fast_path(settings),
        name=settings.name,
        admin=settings.admin,
        admin_token=settings.operators_token(),
        admin_allow=settings.admin_allow,
        canary_place=state_place(settings),
        settings=settings,
        read=read,
    )
    serve_from_store_until_stopped(
        options,
        log_as_json=settings.log_format is LogFormat.JSON,
        workers=settings.workers,
        log_level=settings.log_level.value,
    )


def _with_addresses(settings: Settings, listen: Address | None, admin: Address | None) -> Settings:
    """The settings with what the command line says in place of the file's."""
    given = {"listen": None if listen is None else (listen,), "admin": admin}
    return settings.model_copy(update={key: each for key, each in given.items() if each is not None})


def _print_banner(settings: Settings, banner: StartupBanner) -> None:
    servers = len(banner.pool.places)
    count = "1 state server" if servers == 1 else f"{servers} state servers"
    click.echo(f"partitioner {__version__}: a router in front of {count}\n")
    click.echo("In the web.config of every web server of the farm:\n")
    click.echo(f"  {session_state_snippet(banner.listen)}")  # never wrapped: it is there to be copied
    if banner.standby is None:
        print_rich(_pool_table(settings, banner.pool))
    else:
        print_rich(_standby(banner.standby, answered=bool(banner.pool.eligible)))
    if settings.embedded:
        print_rich("These state servers live in this process: when it ends, their sessions are gone.")
    url = admin_url(banner.admin)
    click.echo(f"What it sees: {url}/ in a browser, `partitioner status`, or {url}/api/v1/status")
    print_rich("Stop with Ctrl-C or SIGTERM: exchanges under way are finished. A second one stops at once.\n")


def _standby(reason: str, *, answered: bool) -> str:
    """Why no client is served, and how that ends: without a server there is nothing to claim."""
    if not answered:
        return f"No client is served yet: {reason}. That begins when one does."
    return (
        f"This router is a standby: {reason}. It serves no client until it is the active one; "
        "`partitioner claim` makes it that at once."
    )


def session_state_snippet(address: Address) -> str:
    """The line for web.config that sends a web server's sessions to this address."""
    host = socket.gethostname() if address.is_everywhere else address.host
    connection = f"tcpip={Address(host, address.port)}"
    return f'<sessionState mode="StateServer" stateConnectionString="{connection}" />'


def admin_url(address: Address) -> str:
    """Where a router is steered, for `--admin`."""
    host = socket.gethostname() if address.is_everywhere else address.host
    return f"http://{Address(host, address.port)}"


def _pool_table(settings: Settings, pool: Pool) -> Table:
    ready = settings.ready_weights()
    rows = table("state server", "address", "intent", "health", "share", numbers=("share",))
    for name, identity in pool.places.items():
        member = pool.members[identity]
        backend, health = member.backend, member.record.health.value
        share = ready.get(name, 0.0) / sum(ready.values())
        is_asked = backend.intent is not Intent.MAINT
        rows.add_row(
            name, str(backend.address), backend.intent.value, health if is_asked else "-", percent(share)
        )
    return rows
