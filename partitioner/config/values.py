"""How single values are read: from what the file says to what the code holds, or a sentence.

Each function here makes a validator for pydantic's `Annotated`. All of them run *before* pydantic's
own conversions, which are too generous (`"3"` for 3, 1 for true) and complain in words of their own.
A value that is already what the code holds passes, except for durations and sizes: a number could as
well be one without a unit.
"""

import math
import os
import re
from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import TypeVar

from pydantic import BeforeValidator

from partitioner.config.findings import sight
from partitioner.membership.backend import Address, Network, parse_address
from partitioner.token_file import TOKEN_RULE, is_token
from partitioner.units import parse_duration, parse_size

Quantity = TypeVar("Quantity", int, float)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_DOTTED_DIGITS = re.compile(r"[0-9.]+")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # no braces: they would tie all sessions to one shard
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_A_DURATION = "a duration such as 250ms, 2s or 1h"


def duration(least: str, most: str) -> BeforeValidator:
    """A duration with its unit, from `least` to `most`, as float seconds."""
    return _quantity(parse_duration, _A_DURATION, least, most)


def duration_below(least: str, limit: str, reason: str) -> BeforeValidator:
    """A duration with its unit, from `least` to what is shorter than `limit`, as float seconds."""

    def read(value: object) -> float:
        seconds = _with_unit(value, parse_duration, _A_DURATION)
        if not parse_duration(least) <= seconds < parse_duration(limit):
            expected = f"expected at least {least} and less than {limit}, {reason}"
            raise ValueError(f"{sight(value)} is out of range; {expected}")
        return seconds

    return BeforeValidator(read)


def size(least: str, most: str) -> BeforeValidator:
    """A size with its unit, from `least` to `most`, as int bytes."""
    return _quantity(parse_size, "a size such as 512B, 64KiB or 2GiB", least, most)


def whole_number(least: int, most: int) -> BeforeValidator:
    """A count, from `least` to `most`."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{sight(value)} is not a whole number; expected {least} to {most}")
        if not least <= value <= most:
            raise ValueError(f"{value!r} is out of range; expected {least} to {most}")
        return value

    return BeforeValidator(read)


def share() -> BeforeValidator:
    """A share of a whole, from 0 to 1."""

    def read(value: object) -> float:
        number = _number(value, "a share from 0 to 1")
        if not 0 <= number <= 1:
            raise ValueError(f"{value!r} is out of range; expected a share from 0 to 1")
        return number

    return BeforeValidator(read)


def choice(choices: type[Enum]) -> BeforeValidator:
    """A member of an Enum, written as its value."""

    def read(value: object) -> Enum:
        if isinstance(value, choices):
            return value
        for each in choices:
            if each.value == value:
                return each
        raise ValueError(f"{sight(value)} is not one of the choices; expected {either(choices)}")

    return BeforeValidator(read)


def or_none(read: Callable[[object], object]) -> BeforeValidator:
    """What `read` reads, or the word `none` for nothing."""
    return BeforeValidator(lambda value: None if value == "none" else read(value))


def either(choices: type[Enum]) -> str:
    """List the values of an Enum for a sentence: `'new' or 'close'`."""
    *others, last = (repr(each.value) for each in choices)
    return f"{', '.join(others)} or {last}"


def read_name(value: object) -> str:
    """Read the name of a router or a backend. Raises ValueError with a sentence."""
    if not isinstance(value, str):
        raise ValueError(f"{sight(value)} is not text; expected a name, in quotes if it looks like a number")
    if _NAME.fullmatch(value) is None:
        raise ValueError(f"{sight(value)} is not a name; expected 1 to 64 letters, digits, '-', '_' or '.'")
    return value


def read_weight(value: object) -> float:
    """Read the weight of a backend. Raises ValueError with a sentence."""
    number = _number(value, "a number greater than 0")
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(f"{value!r} is out of range; expected a number greater than 0")
    return number


def read_address(value: object) -> Address:
    """Read an address to listen on; port 0 lets the system choose. Raises ValueError with a sentence."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{sight(value)} is not an address such as 10.0.0.11:42424 or [::1]:42424")
    address = parse_address(value)
    return Address(_host(address.host, value), address.port)


def read_listen_addresses(value: object) -> tuple[Address, ...]:
    """Read one address to listen on, or a list of them. Raises ValueError with a sentence."""
    if not isinstance(value, list | tuple):
        return (read_address(value),)
    addresses = tuple(read_address(each) for each in value)
    if not addresses:
        raise ValueError("an empty list is nowhere to listen; expected at least one address")
    for address in addresses:
        above = Address("::", address.port)  # it takes both families
        is_within = address.host == "0.0.0.0" and above in addresses
        if addresses.count(address) > 1 or is_within:
            twice = f"{str(above)!r} takes IPv4 as well" if is_within else "expected no two alike"
            raise ValueError(f"{str(address)!r} is listened on twice; {twice}")
    return addresses


def read_backend_address(value: object) -> Address:
    """Read an address to connect to. Raises ValueError with a sentence."""
    address = read_address(value)
    if address.port == 0:
        raise ValueError(f"{sight(value)} has the port 0; expected the port of a state server, 1 to 65535")
    return address


def read_engine_address(value: object) -> Address:
    """Read the address of an engine or a Sentinel. Raises ValueError with a sentence."""
    address = read_address(value)
    if address.port == 0:
        raise ValueError(f"{sight(value)} has the port 0; expected the port of an engine, 1 to 65535")
    return address


def read_directory(value: object) -> Path:
    """Read the path of a directory, which need not be there yet. Raises ValueError with a sentence."""
    if not isinstance(value, str | Path):
        raise ValueError(f"{sight(value)} is not a path such as /var/lib/partitioner; or `none`")
    if not Path(value).is_absolute():
        raise ValueError(
            f"{sight(value)} is not absolute; expected a path such as /var/lib/partitioner, or none"
        )
    return Path(value)


def read_token(value: object) -> str:
    """Read a bearer token, written out or as `${NAME}` for what that variable of the environment holds.

    Raises ValueError with a sentence, which never shows the token.
    """
    if not isinstance(value, str):
        raise ValueError("not text; expected a token in quotes, or ${NAME} of an environment variable")
    if "$" not in value:
        return _token(value, "not a token")
    variable = _VARIABLE.fullmatch(value)
    if variable is None:
        raise ValueError("holds a '$'; expected the whole value to be ${NAME}, with nothing around it")
    held = os.environ.get(variable[1])
    if held is None:
        raise ValueError(f"{value} is not set in the environment; expected a variable that holds the token")
    return _token(held, f"what {value} holds in the environment is not a token")


def read_secret(value: object) -> str:
    """Read a password, written out or as `${NAME}` for what that variable of the environment holds.

    Raises ValueError with a sentence, which never shows the password.
    """
    if not isinstance(value, str) or not value:
        raise ValueError("not text; expected a password in quotes, or ${NAME} of an environment variable")
    variable = _VARIABLE.fullmatch(value)
    if variable is None:
        return value
    held = os.environ.get(variable[1])
    if not held:
        raise ValueError(f"{value} is not set in the environment; expected a variable with the password")
    return held


def read_text(value: object) -> str:
    """Read a word or a sentence. Raises ValueError with a sentence."""
    if not isinstance(value, str):
        raise ValueError(f"{sight(value)} is not text; expected it in quotes")
    return value


def read_prefix(value: object) -> str:
    """Read what the names of a store's items begin with. Raises ValueError with a sentence."""
    text = read_text(value)
    if _PREFIX.fullmatch(text) is None:
        raise ValueError(f"{sight(value)} is not a prefix; expected 1 to 64 letters, digits and any of -._:")
    return text


def _token(text: str, what_is_wrong: str) -> str:
    if not is_token(text):
        raise ValueError(f"{what_is_wrong}; {TOKEN_RULE}")
    return text


def read_network(value: object) -> Network:
    """Read a network of clients; a single address is a network of one. Raises ValueError with a sentence."""
    if isinstance(value, Network):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{sight(value)} is not a network such as 10.1.0.0/16 or ::1/128")
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{sight(value)} is not a network such as 10.1.0.0/16 or ::1/128") from None
    if "/" not in value and network.network_address.is_unspecified:
        raise ValueError(f"{sight(value)} is no client's address; expected '{value}/0' for all clients")
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError(f"{sight(value)} is an address inside a network; expected '{network}'") from None


def refuse_empty(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """Pass a list of networks that has one in it. Raises ValueError with a sentence."""
    if not networks:
        raise ValueError("an empty list admits no client; expected at least one network")
    return networks


def refuse_no_address(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Pass a list of addresses that has one in it. Raises ValueError with a sentence."""
    if not addresses:
        raise ValueError("an empty list names no Sentinel; expected at least one address")
    return addresses


def _quantity(parse: Callable[[str], Quantity], expected: str, least: str, most: str) -> BeforeValidator:
    def read(value: object) -> Quantity:
        quantity = _with_unit(value, parse, expected)
        if not parse(least) <= quantity <= parse(most):
            raise ValueError(f"{sight(value)} is out of range; expected {least} to {most}")
        return quantity

    return BeforeValidator(read)


def _with_unit(value: object, parse: Callable[[str], Quantity], expected: str) -> Quantity:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value!r} has no unit; expected {expected}")
    if not isinstance(value, str):
        raise ValueError(f"{sight(value)} is not {expected}")
    return parse(value)


def _number(value: object, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{sight(value)} is not {expected}")
    return float(value)


def _host(host: str, seen: str) -> str:
    """Check what stands before the port: a name or an IP address, not a piece of a connection string."""
    try:
        if ":" in host:
            return str(IPv6Address(host))  # its shortest spelling, so that equal addresses look equal
        if _DOTTED_DIGITS.fullmatch(host):
            return str(IPv4Address(host))
    except ValueError:
        raise ValueError(f"{sight(seen)} has the host {sight(host)}, which is no IP address") from None
    if _HOST.fullmatch(host) is None:
        raise ValueError(f"{sight(seen)} has the host {sight(host)}; expected a host name or an IP address")
    return host.lower()
