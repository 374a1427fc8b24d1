"""`partitioner state-server`: run a state server of our own."""

from dataclasses import replace
from pathlib import Path

import click

from partitioner.cli.options import read_address, read_address_or_none, read_networks, read_size
from partitioner.membership.backend import Address, Network
from partitioner.token_file import read_token_file, weaknesses


@click.command()
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:42424",
    show_default=True,
    callback=read_address,
    help="Where to listen; port 0 takes a free one.",
)
@click.option(
    "--admin",
    metavar="HOST:PORT|none",
    default="none",
    show_default=True,
    callback=read_address_or_none,
    help="Where to list which sessions are here, so that a router can drain this server (its key "
    "`backends[].admin`). Clients in --allow may ask here, and no others.",
)
@click.option(
    "--admin-token-file",
    metavar="PATH",
    help="A file with the token that the listing wants (`backend_token_file` of the router); metrics are "
    "free. Without it no sessions are listed: a drain moves them only as they are used.",
)
@click.option(
    "--allow",
    metavar="NETWORK",
    multiple=True,
    callback=read_networks,
    help="A network from which clients may connect; can be given several times. Needed unless --listen is "
    "loopback: any client that reaches this port can read and replace every session.",
)
@click.option(
    "--max-memory",
    metavar="SIZE",
    callback=read_size,
    help="Memory for sessions, such as 2GiB. When it is used up, new sessions are refused (400); "
    "existing ones are kept, and may still grow. Default: no limit.",
)
@click.option(
    "--state-file",
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),
    help="A file in which the sessions outlive a planned restart: written at SIGTERM or SIGINT, and taken "
    "in at the next start. Whatever expired meanwhile is left out. Without it, a restart forgets them all.",
)
@click.option(
    "--store",
    metavar="URL",
    help="Keep the sessions on an engine instead of in memory: redis://HOST:PORT, or valkey://; with TLS "
    "rediss:// or valkeys://. A user and a password stand before the host: redis://USER:PASSWORD@HOST.",
)
@click.option(
    "--max-body",
    metavar="SIZE",
    callback=read_size,
    help="The largest session that is taken. Behind a router: at least its limits.body.  [default: 64MiB; "
    "with --store 16MiB]",
)
@click.option(
    "--liberal", is_flag=True, help="Take what other implementations send, too. Not behind a router."
)
@click.option("--log-format", type=click.Choice(["console", "json"]), default="console", show_default=True)
@click.option(
    "--log-level",
    type=click.Choice(["info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Which lines of the log are written, at least.",
)
def state_server(
    listen: Address,
    admin: Address | None,
    admin_token_file: str | None,
    allow: tuple[Network, ...],
    max_memory: int | None,
    state_file: Path | None,
    store: str | None,
    max_body: int | None,
    liberal: bool,
    log_format: str,
    log_level: str,
) -> None:
    """Run a state server, as aspnet_state.exe is one, on this machine. Sessions are kept in memory."""
    for option, address in (("--listen", listen), ("--admin", admin)):
        if not allow and address is not None and not address.is_loopback:
            raise click.UsageError(
                f"{option} {address} can be reached from other machines; say with --allow which networks may "
                "connect, for example --allow 10.0.0.0/24"
            )
    if store is not None:
        for option, value in (("--max-memory", max_memory), ("--state-file", state_file), ("--admin", admin)):
            if value is not None:
                raise click.UsageError(f"{option} is for sessions in memory; with --store there are none")
        _serve_from_store(store, listen, allow, max_body, is_liberal=liberal, as_json=log_format == "json")
        return
    from partitioner.cli.actions.state_server import serve_until_stopped
    from partitioner.daemon.serving import LOOPBACK
    from partitioner.daemon.state_server import StateServerOptions

    options = StateServerOptions(
        listen=(listen,),
        allow=allow or LOOPBACK,
        max_memory=max_memory,
        state_file=state_file,
        max_body=64 * 1024 * 1024 if max_body is None else max_body,
        is_liberal=liberal,
        admin=admin,
        admin_token=_token_in(admin_token_file),
    )
    serve_until_stopped(options, log_as_json=log_format == "json", log_level=log_level)


def _token_in(file: str | None) -> str | None:
    """The token of the listing. Raises UsageError if the file holds none."""
    if file is None:
        return None
    try:
        read = read_token_file(file)
    except ValueError as error:
        raise click.UsageError(f"--admin-token-file: {error}") from error
    for sentence in weaknesses("--admin-token-file", read):
        click.echo(f"partitioner: warning: {sentence}", err=True)
    return read.token


def _serve_from_store(
    url: str,
    listen: Address,
    allow: tuple[Network, ...],
    max_body: int | None,
    *,
    is_liberal: bool,
    as_json: bool,
) -> None:
    from partitioner.cli.actions.store_server import serve_from_store_until_stopped
    from partitioner.daemon.serving import LOOPBACK
    from partitioner.daemon.store import StoreServerOptions
    from partitioner.store.policy import parse_store_url

    try:
        policy = parse_store_url(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--store") from error
    options = StoreServerOptions(
        store=policy, listen=(listen,), allow=allow or LOOPBACK, is_liberal=is_liberal
    )
    if max_body is not None:
        options = replace(options, max_body=max_body)
    serve_from_store_until_stopped(options, log_as_json=as_json)
