"""Listening sockets that the service manager has opened and passed to this process (sd_listen_fds(3)).

Such a socket outlives the process: while one router stops and the next one starts, clients that connect
wait in its backlog and are served then. No client is refused in an upgrade.

    LISTEN_PID=4711  LISTEN_FDS=2  LISTEN_FDNAMES=state:admin      descriptors 3 and 4

A descriptor is known by its name (`FileDescriptorName=` of the socket unit): `state`, or `admin`. One
alone, or the first of several, may have any other name, and is the state port.
"""

import os
import socket
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

import trio

from partitioner.errors import AddressUnavailable
from partitioner.membership.backend import Address
from partitioner.ops.log import Log
from partitioner.transport.channel import listen_tcp, listening_address

FIRST_DESCRIPTOR = 3
STATE, ADMIN = "state", "admin"


@dataclass(frozen=True, slots=True)
class Port:
    """One of a daemon's ports: what listens there, and where that is."""

    listeners: list[trio.SocketListener]
    addresses: tuple[Address, ...]  # of each, with the port that it was given

    @property
    def address(self) -> Address:
        """The one that is shown."""
        return self.addresses[0]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return all(address.is_loopback for address in self.addresses)


@dataclass(frozen=True, slots=True)
class InheritedSockets:
    """What was passed, by port."""

    state: Sequence[socket.socket] = ()
    admin: Sequence[socket.socket] = ()


def take_inherited(environment: MutableMapping[str, str] = os.environ) -> InheritedSockets:
    """Take over the sockets that are meant for this process.

    The variables are taken away: they are meant for this process and for none that it may start.

    Raises AddressUnavailable where something was passed that is not such a socket.
    """
    meant, count, names = (environment.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if meant != str(os.getpid()) or not count.isdecimal():
        return InheritedSockets()
    ports: dict[str, list[socket.socket]] = {STATE: [], ADMIN: []}
    called = names.split(":")
    for index in range(int(count)):
        descriptor, name = FIRST_DESCRIPTOR + index, called[index] if index < len(called) else "unknown"
        ports[_port_of(descriptor, name)].append(_listening(descriptor))
    return InheritedSockets(**ports)


async def open_port(
    key: str, inherited: Sequence[socket.socket], configured: Sequence[Address], log: Log
) -> Port:
    """Take what was passed, or listen at all addresses that this key of the configuration names.

    Raises AddressUnavailable.
    """
    if not inherited:
        assert configured, "a port that is neither passed nor configured is not opened"
        return _port(await _listen(key, configured))
    port = _port([trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in inherited])
    unused = [str(each) for each in configured if each not in port.addresses]
    log.note(
        "listening socket passed",
        port=key,
        address=", ".join(str(address) for address in port.addresses),
        cause="the service manager has opened it",
        consequence=f"`{key}` {', '.join(unused)} is not used" if unused else "it outlives this process",
    )
    return port


async def _listen(key: str, addresses: Sequence[Address]) -> list[trio.SocketListener]:
    """At all of them, or none. Raises AddressUnavailable."""
    listeners: list[trio.SocketListener] = []
    try:
        for address in addresses:
            listeners += await listen_tcp(address)
    except AddressUnavailable as error:
        for listener in listeners:
            listener.socket.close()
        raise AddressUnavailable(f"{key}: {error}; choose another with --{key}") from error
    return listeners


def _port_of(descriptor: int, name: str) -> str:
    if name in (STATE, ADMIN):
        return name
    if descriptor == FIRST_DESCRIPTOR:
        return STATE
    raise AddressUnavailable(
        f"descriptor {descriptor} was passed under the name {name!r}; expected `state` or `admin` "
        "(FileDescriptorName= of the socket unit)"
    )


def _listening(descriptor: int) -> socket.socket:
    """The listening TCP socket that a descriptor is. Raises AddressUnavailable."""
    expected = "expected a listening TCP socket (ListenStream= of the socket unit, Accept=no)"
    try:
        os.set_inheritable(descriptor, False)
        inherited = socket.socket(fileno=descriptor)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AddressUnavailable(f"descriptor {descriptor} was passed: {reason}; {expected}") from error
    unfit = _why_unfit(inherited)
    if unfit:
        inherited.close()
        raise AddressUnavailable(f"descriptor {descriptor} was passed: {unfit}; {expected}")
    return inherited


def _why_unfit(inherited: socket.socket) -> str:
    if inherited.family not in (socket.AF_INET, socket.AF_INET6):
        return "it is not an Internet socket"
    if inherited.type is not socket.SOCK_STREAM:
        return "it is a socket of datagrams"
    is_listening = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return "" if is_listening else "it does not listen"


def _port(listeners: list[trio.SocketListener]) -> Port:
    return Port(listeners, tuple(listening_address(listener) for listener in listeners))
