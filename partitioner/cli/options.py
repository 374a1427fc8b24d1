"""What the command lines of the verbs share: options, how their values are read, and how they are refused."""

from ipaddress import ip_network
from pathlib import Path
from typing import IO, Any

import click

from partitioner.membership.backend import Address, Network, parse_address
from partitioner.units import parse_duration, parse_size

DEFAULT_URL = "http://127.0.0.1:9424"
TOKEN = "PARTITIONER_TOKEN"
ADMIN = "PARTITIONER_ADMIN"

config_option = click.option(
    "-c",
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),  # what is wrong with it is said by who reads it
    help="Configuration file. Without it, all defaults and an embedded pool of three state servers.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


class Refused(click.ClickException):
    """The command line or the configuration asks for what cannot be; nothing was done."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        complain(self.message, file)


def complain(sentence: str, file: IO[Any] | None = None) -> None:
    """Say what could not be done, as every verb says it: on stderr, after the program's name."""
    click.echo(f"partitioner: {sentence}", err=True, file=file)


class Complaint(click.ClickException):
    """Another ClickException, in the words and after the prefix that all of them have here."""

    def __init__(self, of: click.ClickException) -> None:
        super().__init__(of.format_message())
        self.exit_code = of.exit_code  # type: ignore[misc]  # click reads it from the instance
        self._usage = "" if not isinstance(of, click.UsageError) or of.ctx is None else _usage_of(of.ctx)

    def show(self, file: IO[Any] | None = None) -> None:
        if self._usage:
            click.echo(self._usage, err=True, file=file)
        complain(self.message, file)


def _usage_of(context: click.Context) -> str:
    return f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n"


def read_address(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Address | None:
    """Read an option that is an address; a click callback, as the others here."""
    try:
        return None if text is None else parse_address(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def read_address_or_none(context: click.Context, parameter: click.Parameter, text: str) -> Address | None:
    """Read an option that is an address, or `none`."""
    return None if text == "none" else read_address(context, parameter, text)


def read_networks(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[Network, ...]:
    """Read an option that is a network and may be given several times."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise click.BadParameter(f"{error}; expected a network such as 10.0.0.0/24 or ::1/128") from error
    return tuple(networks)


def read_size(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """Read an option that is a size: bytes."""
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def read_duration(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    """Read an option that is a length of time: seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
