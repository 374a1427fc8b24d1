"""A web server's end of a real connection, in the form in which the simulation's clients know one."""

import trio

from partitioner.errors import ConnectionBroken, NotListening, OutOfFiles, Unreachable
from partitioner.membership.backend import Address
from partitioner.transport.channel import Channel, dial_tcp


class Wire:
    """A connection that is made when its first bytes are sent; it fits tests.doubles.clients.Stream."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._channel: Channel | None = None

    async def send_all(self, data: bytes) -> None:
        try:
            if self._channel is None:
                self._channel = await dial_tcp(self._address)
            await self._channel.send(data)
        except (NotListening, Unreachable, OutOfFiles, ConnectionBroken) as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def receive_some(self) -> bytes:
        assert self._channel is not None
        try:
            return await self._channel.receive()
        except ConnectionBroken as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_eof(self) -> None:
        assert self._channel is not None
        await self._channel.send_eof()

    def is_readable(self) -> bool:
        return self._channel is not None and not self._channel.is_quiet()

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def reset(self) -> None:
        self.close()
