"""`partitioner serve`: run the router."""

from pathlib import Path

import click

from partitioner.cli.options import config_option, read_address
from partitioner.membership.backend import Address


@click.command()
@config_option
@click.option(
    "--listen", metavar="HOST:PORT", callback=read_address, help="Where to listen, in place of the file's."
)
@click.option(
    "--admin",
    metavar="HOST:PORT",
    callback=read_address,
    help="Where to be steered, in place of the file's; `partitioner status` and others ask there.",
)
def serve(config: Path | None, listen: Address | None, admin: Address | None) -> None:
    """Run the router.

    Without a configuration file: three state servers inside this process, and the router in front of
    them on 127.0.0.1:42424. Good for trying it out; when this process ends, their sessions are gone.
    """
    from partitioner.cli.actions.serve import serve_until_stopped

    serve_until_stopped(config, listen, admin)
