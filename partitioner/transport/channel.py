"""The seam to the network: one connection, and the one function that opens connections.

Foreign exceptions become ours here and nowhere else. A channel over an in-memory stream is as good
as one over a socket; that is how tests put a router on a network of their own.
"""

import errno
import os
import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache

import trio

from partitioner.errors import (
    AddressUnavailable,
    ConnectionBroken,
    ConnectionLost,
    NotListening,
    OutOfFiles,
    Unreachable,
)
from partitioner.membership.backend import Address
from partitioner.transport.sockets import SocketStream, drop_unsent_at_close, give_up_unacknowledged

OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

_GIVEN_UP = frozenset(
    {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
)
"""What the kernel says of a connection over which nothing gets through any more."""

BACKLOG = 4096
"""Clients that have connected and are not accepted yet; the system may allow fewer."""

LOOK_UP_PATIENCE = 0.1
"""Seconds for the look-up of a name that is known from last time."""

_NAME_SERVICE_FAILED = frozenset({socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY, socket.EAI_SYSTEM})
"""Failures of a look-up that say nothing of the name."""


class Channel:
    """One connection to a client or a backend."""

    __slots__ = (
        "_close",
        "_close_in_order",
        "_detach",
        "_is_readable",
        "_send_now",
        "_stream",
        "has_received",
        "peer",
    )

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        peer: str,
        is_readable: Callable[[], bool],
        close: Callable[[], None],
        detach: Callable[[], socket.socket] | None = None,
        close_in_order: Callable[[], None] | None = None,
        send_now: Callable[[bytes], int] | None = None,
    ) -> None:
        """Wrap a stream. `is_readable` tells without waiting whether bytes, or the end of file, are there.

        `detach` gives the socket away, where there is one. `close_in_order` is for streams of which `close`
        drops what is unsent. `send_now` sends what can be sent without waiting; it returns how much.
        """
        self._stream = stream
        self.peer = peer
        self.has_received = False  # a single byte, since it was opened
        self._is_readable = is_readable
        self._close = close
        self._close_in_order = close_in_order or close
        self._detach = detach
        self._send_now = send_now

    def __repr__(self) -> str:
        return f"<Channel to {self.peer}>"

    async def receive(self) -> bytes:
        """The next bytes as they come; none at all means that the other end has finished.

        Raises ConnectionBroken.
        """
        try:
            data = bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise broken(error.__cause__, _cause(error)) from error
        self.has_received = self.has_received or data != b""
        return data

    async def send(self, data: bytes) -> None:
        """Hand all bytes to the network; whether they arrive shows only in what comes back.

        Raises ConnectionBroken.
        """
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise broken(error.__cause__, _cause(error)) from error

    def send_now(self, data: bytes) -> int:
        """Hand as many bytes to the network as it takes at once; return how many, perhaps none.

        Raises ConnectionBroken.
        """
        if self._send_now is None:
            return 0
        try:
            return self._send_now(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionBroken(_cause(error)) from error

    async def send_eof(self) -> None:
        """Say that nothing more will be sent. What the other end still says can be received.

        Raises ConnectionBroken.
        """
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise broken(error.__cause__, _cause(error)) from error

    def is_quiet(self) -> bool:
        """Whether nothing has come in: no byte, and no end of file either."""
        return not self._is_readable()

    def maybe_detach(self) -> socket.socket | None:
        """Give the socket away; the channel counts as closed then. None if there is no socket."""
        return None if self._detach is None else self._detach()

    def close(self) -> None:
        """Close at once, both ways. Closing twice is fine.

        A connection that was opened here is reset: what has not been sent is never sent (design.md 5.3).
        """
        self._close()

    def close_in_order(self) -> None:
        """Close a connection over which nothing is under way: the other end sees an end of file."""
        self._close_in_order()


Dial = Callable[[Address], Awaitable[Channel]]
"""Opens a connection. Raises NotListening, Unreachable or OutOfFiles; the caller owns the time-out."""


async def dial_tcp(address: Address) -> Channel:
    """Connect over TCP, to the first of the host's addresses that takes the connection.

    Raises NotListening, Unreachable or OutOfFiles.
    """
    trouble: NotListening | Unreachable | None = None
    for family, where in await _resolve(address):
        try:
            return await _dial_one(trio.socket.socket(family, trio.socket.SOCK_STREAM), where, str(address))
        except ConnectionRefusedError:
            trouble = NotListening("refused the connection")
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                raise OutOfFiles(f"could not be tried: {error.strerror}") from error
            trouble = Unreachable(f"cannot be reached: {os.strerror(error.errno or 0)}")
    assert trouble is not None  # a host has at least one address, or it does not resolve
    raise trouble


Found = list[tuple[int, object]]
"""The addresses of a host: socket families, with what to connect to."""

_last_found: dict[Address, Found] = {}
"""What names stood for when they were looked up last; an entry for each backend that was ever configured."""

_under_way: set[Address] = set()
"""What is being looked up just now, in some thread."""


async def hosts_of(address: Address) -> frozenset[str]:
    """The IP addresses of a host. Raises Unreachable or OutOfFiles; the caller owns the time-out."""
    return frozenset(str(where[0]) for _, where in await _resolve(address) if isinstance(where, tuple))


async def _resolve(address: Address) -> Found:
    """The addresses of a host, or those of last time where the name service fails or takes long.

    A name service that is in trouble says nothing of the servers whose names it knows.
    """
    try:
        return _look_up(address, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name
    except UnicodeError as error:
        raise Unreachable(f"has no address: {address.host!r} is not a host name") from error
    known = _last_found.get(address)
    if known is not None and address in _under_way:
        return known
    try:
        with trio.move_on_after(float("inf") if known is None else LOOK_UP_PATIENCE) as patience:
            # The look-up blocks a thread for as long as the name servers like, even when no task waits for it
            # any more; the limit keeps one slow name from starving all others.
            return await trio.to_thread.run_sync(
                _look_up_name, address, limiter=_look_ups_of(address.host), abandon_on_cancel=True
            )
    except OSError as error:
        if known is not None:
            return known
        if error.errno in OUT_OF_RESOURCES or error.errno in _NAME_SERVICE_FAILED:
            raise OutOfFiles(f"could not be tried: {error.strerror}") from error
        raise Unreachable(f"has no address: {error.strerror}") from error
    assert known is not None
    assert patience.cancelled_caught
    return known


def _look_up_name(address: Address) -> Found:
    """Look a name up, in a thread; remember what it stands for."""
    _under_way.add(address)
    try:
        found = _last_found[address] = _look_up(address, 0)
        return found
    finally:
        _under_way.discard(address)


@lru_cache(maxsize=1024)
def _look_ups_of(host: str) -> trio.CapacityLimiter:
    return trio.CapacityLimiter(2)


def _look_up(address: Address, flags: int) -> Found:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, where) for family, _, _, _, where in found]


async def _dial_one(connecting: trio.socket.SocketType, where: object, peer: str) -> Channel:
    drop_unsent_at_close(connecting)
    give_up_unacknowledged(connecting)
    try:
        await connecting.connect(where)
    except BaseException:
        connecting.close()
        raise
    return socket_channel(connecting, peer)


async def listen_tcp(address: Address) -> list[trio.SocketListener]:
    """Listen on all that the address stands for, `::` for both families; port 0 takes a free one.

    Raises AddressUnavailable.
    """
    try:
        listeners = await _listen_at(address)
        if address.host != "::":
            return listeners
        try:
            above = listening_address(listeners[0])
            return [*listeners, *await _listen_at(Address("0.0.0.0", above.port))]
        except OSError:
            for listener in listeners:
                listener.socket.close()
            raise
    except OSError as error:
        raise AddressUnavailable(f"cannot listen on {address}: {_why_not_ours(address, error)}") from error
    except UnicodeError as error:
        raise AddressUnavailable(
            f"cannot listen on {address}: {address.host!r} is not a host name"
        ) from error


async def _listen_at(address: Address) -> list[trio.SocketListener]:
    return await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)


def listening(bound: socket.socket) -> trio.SocketListener:
    """Listen on a socket that is bound; one that listens already goes on."""
    bound.listen(BACKLOG)
    return trio.SocketListener(trio.socket.from_stdlib_socket(bound))


def sharing_socket(family: int, place: object) -> socket.socket:
    """A socket that is bound to a place, as getsockname says it, and shares it with others of its kind.

    It does not listen yet. The system spreads clients over those that do, by their address and port, and a
    process that ends takes only its own share along (SO_REUSEPORT, socket(7)).

    Raises OSError where a socket is there that does not share.
    """
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(place)  # type: ignore[arg-type]  # whatever getsockname has said
    except BaseException:
        bound.close()
        raise
    return bound


def listening_address(listener: trio.SocketListener) -> Address:
    """Where a listener listens, with the port that it was given."""
    host, port, *_ = listener.socket.getsockname()
    return Address(host, port)


def socket_channel(connected: trio.socket.SocketType | socket.socket, peer: str) -> Channel:
    """A channel over a connected socket, which it takes over."""
    stream = SocketStream(connected)
    return Channel(
        stream,
        peer,
        stream.is_readable,
        stream.close,
        stream.detach,
        stream.close_in_order,
        stream.send_now,
    )


def broken(cause: BaseException | None, reason: str) -> ConnectionBroken:
    """How a connection broke: whether its other end tore it down, or the network gave it up."""
    is_lost = isinstance(cause, OSError) and cause.errno in _GIVEN_UP
    return ConnectionLost(reason) if is_lost else ConnectionBroken(reason)


def _cause(error: BaseException) -> str:
    cause = error.__cause__
    return (cause.strerror if isinstance(cause, OSError) else None) or str(error) or "closed"


def _why_not_ours(address: Address, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"there is not a host named {address.host!r}"
    # trio raises one error for all of a name's addresses, and keeps each one's own as the cause.
    causes = [error, *getattr(error.__cause__, "exceptions", [error.__cause__])]
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if errno.EADDRINUSE in numbers:
        # A connection may own the port as well: 42424 is among those that Linux gives to outgoing ones.
        return f"port {address.port} is in use, by another process or a recent connection"
    if errno.EADDRNOTAVAIL in numbers:
        return f"{address.host} is not an address of this machine"
    if errno.EACCES in numbers or errno.EPERM in numbers:
        return f"port {address.port} needs privileges that this user does not have"
    return error.strerror or str(error)
