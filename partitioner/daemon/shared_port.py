"""A port at which several processes listen.

Each has a socket of its own there (SO_REUSEPORT), so the system spreads clients over the processes, and a
process that dies takes only its own clients along. What the service manager has opened is one socket, from
which all of them accept.
"""

import socket
from collections.abc import Sequence

import trio

from partitioner.daemon.activation import Port, open_port
from partitioner.errors import AddressUnavailable
from partitioner.membership.backend import Address
from partitioner.ops.log import Log
from partitioner.transport.channel import sharing_socket


class SharedPort:
    """Holds a port; no client is accepted by this."""

    def __init__(self, port: Port, *, is_inherited: bool) -> None:
        """Take the port over from its listeners. Raises OSError."""
        self.addresses = port.addresses
        self._inherited: list[trio.SocketListener] = port.listeners if is_inherited else []
        self._places: list[tuple[int, object]] = []
        for each in [] if is_inherited else port.listeners:
            self._places.append((each.socket.family, each.socket.getsockname()))
            each.socket.close()  # it has shown that the port is free; with it nothing could be shared
        # They are bound and never listen: no other program gets the port while no worker has it.
        self._holding = [sharing_socket(*place) for place in self._places]

    @property
    def address(self) -> Address:
        """The one that is shown."""
        return self.addresses[0]

    def new_sockets(self) -> list[socket.socket]:
        """Sockets for one more process, which has to listen on them. Raises OSError."""
        if self._inherited:
            return [socket.socket(fileno=_duplicate(each)) for each in self._inherited]
        return [sharing_socket(*place) for place in self._places]

    def close(self) -> None:
        for each in self._holding:
            each.close()
        for listener in self._inherited:
            listener.socket.close()


def _duplicate(listener: trio.SocketListener) -> int:
    return socket.dup(listener.socket.fileno())


async def open_shared_port(
    inherited: Sequence[socket.socket], configured: Sequence[Address], log: Log
) -> SharedPort:
    """Take what was passed, or the port that is configured. Raises AddressUnavailable."""
    port = await open_port("listen", inherited, configured, log)
    try:
        return SharedPort(port, is_inherited=bool(inherited))
    except OSError as error:
        raise AddressUnavailable(f"listen: cannot share {port.address}: {error.strerror or error}") from error
