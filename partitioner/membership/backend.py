"""A state server as the router knows it: a name, an address, a weight, and what the operator wants of it."""

import re
from collections.abc import Container
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import chain, count
from typing import NewType

Network = IPv4Network | IPv6Network
"""Addresses from which clients may connect."""

BackendId = NewType("BackendId", str)
"""The identity of a backend: it stands for one memory, where a plain `str` is a name of the configuration."""

NO_IDENTITY = BackendId("")
"""No backend's. A backend that is made with it takes its name for its identity."""

_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]\s]*:[^\[\]\s]*)\]|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    host: str  # a name, an IPv4 address, or an IPv6 address without brackets
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_everywhere(self) -> bool:
        """Whether it stands for every address of this machine."""
        return self.host in ("0.0.0.0", "::")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it. Of a host name, that depends on how it is resolved."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Intent(Enum):
    """What the operator wants of a backend."""

    READY = "ready"  # it serves
    DRAIN = "drain"  # it hands its sessions off, and takes no new ones
    MAINT = "maint"  # it is not spoken to


@dataclass(frozen=True, slots=True)
class Backend:
    """One state server. Placement hashes its name, never its address, so it may move house.

    Its *identity* stands for the memory behind the address: all that is known of a server's content (marks,
    locks, who served when) is filed under it. A server that shows up under another name or address with a
    memory that is known keeps its identity; one with another memory gets another one (design.md 5.1).
    """

    name: str
    address: Address
    weight: float = 1.0
    intent: Intent = Intent.READY
    admin: Address | None = None  # of the project's own state server: where it lists its sessions
    identity: BackendId = NO_IDENTITY  # its name, unless another backend of this name is still remembered

    def __post_init__(self) -> None:
        if not self.identity:
            object.__setattr__(self, "identity", BackendId(self.name))

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"


def free_identity(backend: Backend, taken: Container[BackendId]) -> BackendId:
    """An identity for a memory that is not known yet: the backend's name, if no other memory has that."""
    candidates = chain(
        (backend.name, f"{backend.name}@{backend.address}"),
        (f"{backend.name}@{backend.address}#{number}" for number in count(2)),
    )
    return next(BackendId(each) for each in candidates if each not in taken)


def parse_address(text: str) -> Address:
    """Read `host:port` or `[IPv6]:port`.

    Raises ValueError, with a sentence that says what was expected.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an address such as 10.0.0.11:42424 or [::1]:42424")
    if int(match["port"]) > 65535:
        raise ValueError(f"{text!r} has the port {match['port']}; expected 0 to 65535")
    return Address(match["host"] or match["ipv6"], int(match["port"]))
