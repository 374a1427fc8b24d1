"""How the verbs that ask a running router are told where it is, and of which of its servers they speak."""

from collections.abc import Callable
from pathlib import Path

import click

from partitioner.cli.options import ADMIN, DEFAULT_URL, TOKEN
from partitioner.membership.backend import Address

COMPLETION_PATIENCE = 1.0
"""Seconds: somebody has hit the tab key."""

_CONFIGURATION = "partitioner.cli.router_option.config"  # in the `meta` of click's context


def _keep_configuration(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    context.meta[_CONFIGURATION] = path


def _find_router(context: click.Context, _parameter: click.Parameter, url: str | None) -> str:
    """Where the router is steered: what is given, what the configuration says, or the default."""
    config: Path | None = context.meta.get(_CONFIGURATION)
    if url is not None or config is None:
        return url or DEFAULT_URL
    from partitioner.cli.configuration import settings_of  # reading one takes pydantic and yaml

    admin = settings_of(config).admin
    return f"http://{Address('localhost', admin.port) if admin.is_everywhere else admin}"


def admin_option(verb: Callable[..., None]) -> Callable[..., None]:
    """Let a verb be told where the router is steered; it gets that as `url`."""
    to_admin = click.option(
        "--admin",
        "url",
        metavar="URL",
        envvar=ADMIN,
        callback=_find_router,
        help=f"Where the router is steered: its key `admin`. Default: ${ADMIN}, else what -c FILE says, else "
        f"{DEFAULT_URL}. Its token, if any, is taken from ${TOKEN}.",
    )
    to_config = click.option(
        "-c",
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path, readable=False),
        expose_value=False,
        is_eager=True,
        callback=_keep_configuration,
        help="The router's configuration file, for its key `admin`.",
    )
    return to_config(to_admin(verb))


def complete_server(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The names of state servers that begin so, as the router tells them; none where none answers."""
    from partitioner.cli.admin_client import AdminClient

    try:
        found = AdminClient(context.params.get("url") or DEFAULT_URL, COMPLETION_PATIENCE).backends()
    except click.ClickException:
        return []
    return [each.name for each in found if each.name.startswith(begun)]
