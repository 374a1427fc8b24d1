"""A connected socket as a stream, at no more cost than the work itself.

trio's own SocketStream tries to receive before it waits, which fails for a peer that has just been
asked, and yields to the scheduler after each send. In a relay that is half of all system calls and
most of the scheduling. This one waits first and then receives, and sends without a detour; a task
that uses it yields whenever it waits for bytes, which it does once in every exchange.
"""

import select
import socket
import struct

import trio

_LINGER_NOT = struct.pack("ii", 1, 0)  # struct linger: on, for 0 seconds
_LINGER = struct.pack("ii", 0, 0)  # the default: close() returns at once, and the kernel goes on sending

RECEIVE_SIZE = 64 * 1024
"""Bytes taken in at a time. A session of ordinary size comes in one piece, and a large one in few."""


def drop_unsent_at_close(connected: socket.socket | trio.socket.SocketType) -> None:
    """From now on closing this socket resets the connection, and drops what was not sent yet.

    The same when its process ends, however it ends. By default the kernel would go on sending for minutes,
    and a request whose client has gone would be carried out late. Bytes that have arrived and were
    not read are dropped at the peer, too; Linux leaves them to a reader that does not look for the reset
    first.
    """
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)


GIVE_UP_AFTER = 3.0
"""Seconds for which what was sent to a backend may go unacknowledged. A firewall that forgets its connections
drops what comes over them without a word; by default the kernel sends it again for a quarter of an hour. The
kernel of a frozen process acknowledges."""


def give_up_unacknowledged(connected: socket.socket | trio.socket.SocketType) -> None:
    """From now on break this connection when what is sent over it is not acknowledged in time.

    Its other end may have received it all the same, and does not know that the connection is gone.
    Source: RFC 5482; Linux tcp(7), TCP_USER_TIMEOUT.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(GIVE_UP_AFTER * 1000))


def close_in_order(connected: socket.socket) -> None:
    """Close a socket with an end of file, whatever `drop_unsent_at_close` has set. What is unsent is sent."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    connected.close()


class SocketStream(trio.abc.HalfCloseableStream):
    """A stream over a connected TCP socket, which it takes over."""

    def __init__(self, connected: trio.socket.SocketType | socket.socket) -> None:
        self._socket = socket.socket(connected.family, connected.type, connected.proto, connected.detach())
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def detach(self) -> socket.socket:
        """Give the socket away; this stream counts as closed then. No task may be waiting for it."""
        detached = socket.socket(
            self._socket.family, self._socket.type, self._socket.proto, self._socket.detach()
        )
        detached.setblocking(False)
        return detached

    def is_readable(self) -> bool:
        """Whether bytes, or the end of file, are there."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return poll.poll(0) != []

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; none at the end. Raises BrokenResourceError or ClosedResourceError."""
        while True:
            try:
                await trio.lowlevel.wait_readable(self._open_socket())
                return self._socket.recv(max_bytes or RECEIVE_SIZE)
            except BlockingIOError:
                continue  # woken for nothing
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all bytes. Raises BrokenResourceError or ClosedResourceError.

        Not a checkpoint unless the network is busy.
        """
        remaining = memoryview(data)
        while True:
            try:
                remaining = remaining[self._socket.send(remaining) :]
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            if not remaining:
                return
            await self.wait_send_all_might_not_block()

    def send_now(self, data: bytes) -> int:
        """Send what can be sent without waiting. Raises BrokenResourceError or ClosedResourceError."""
        try:
            return self._open_socket().send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until something can be sent. Raises BrokenResourceError or ClosedResourceError."""
        try:
            await trio.lowlevel.wait_writable(self._open_socket())
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_eof(self) -> None:
        """Say that nothing more will be sent. Raises BrokenResourceError."""
        await trio.lowlevel.checkpoint()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    def _open_socket(self) -> socket.socket:
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("this connection was closed here")
        return self._socket

    def close(self) -> None:
        """Close at once; a task that waits for this socket is woken."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def close_in_order(self) -> None:
        """Close with an end of file, also where closing drops what is unsent."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            close_in_order(self._socket)

    async def aclose(self) -> None:
        """Close at once."""
        self.close()
        await trio.lowlevel.checkpoint()
