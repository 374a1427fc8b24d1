"""A web server's end of a connection: sends bytes, and reads answers as bytes."""

import re
from typing import Protocol

import trio

_LENGTH = re.compile(rb"\r\nContent-Length: *([0-9]+)\r\n", re.IGNORECASE)


class Stream(Protocol):
    """What a client asks of its end of a connection: one in memory, or one over a socket.

    A broken connection is trio.BrokenResourceError.
    """

    async def receive_some(self) -> bytes: ...
    async def send_all(self, data: bytes) -> None: ...
    async def send_eof(self) -> None: ...
    def is_readable(self) -> bool: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...


class Client:
    """One connection of a client."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(self, request: bytes) -> bytes:
        """Send a request and read its answer; nothing if the connection was closed instead."""
        await self.send(request)
        return await self.receive_answer(is_to_head=request.startswith(b"HEAD "))

    async def receive_answer(self, *, is_to_head: bool = False) -> bytes:
        """The bytes of the next answer, or as many of them as came before the connection was closed."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if not await self._receive():
                return self._take(len(self._received))
        length = _LENGTH.search(self._received[: end + 2])
        size = end + 4 + (int(length[1]) if length and not is_to_head else 0)
        while len(self._received) < size:
            if not await self._receive():
                break
        return self._take(size)

    async def receive_rest(self) -> bytes:
        """All that comes before the other end closes the connection."""
        while await self._receive():
            pass
        return self._take(len(self._received))

    async def finish(self) -> None:
        """Say that nothing more will be asked, and go on reading."""
        await self.stream.send_eof()

    def leave(self) -> None:
        self.stream.close()

    def reset(self) -> None:
        self.stream.reset()

    async def _receive(self) -> bytes:
        data = await self.stream.receive_some()
        self._received += data
        return data

    def _take(self, count: int) -> bytes:
        taken, self._received = self._received[:count], self._received[count:]
        return taken


async def is_closed_at(client: Client) -> float:
    """Wait until the client is hung up on without another byte; return when that was."""
    assert await client.receive_rest() == b""
    return trio.current_time()
