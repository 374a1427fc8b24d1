"""A state server on loopback that fails as it is told, and writes down what it is asked."""

import socket
import struct

import trio

from partitioner.membership.backend import Address
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import RequestHead
from partitioner.protocol.reader import BodyPiece, Event, Reader, request_reader
from partitioner.sessions.table import SessionTable
from partitioner.transport.messages import Request
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import StateServer
from tests.doubles.backends import CANARY_TARGET
from tests.fastpath.plans import HARMLESS, Fault

A_MOMENT = 0.001


class RecordingBackend:
    """It can go away and return, always at one address. Probes are neither written down nor do they fail."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.asked: list[bytes] = []
        self.faults: list[Fault] = []  # the next one's first
        self.under_way = 0
        self._nursery = nursery
        # While it is away no other socket is given its port, and a client that connects is refused.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self._presence = trio.CancelScope()
        self._has_gone = trio.Event()
        self.forget()

    def forget(self) -> None:
        """Begin a new, empty incarnation."""
        self._server = StateServer(SessionTable(), Observer(), clock=lambda: 1000.0)

    @property
    def address(self) -> Address:
        return Address(*self._place.getsockname())

    async def come(self) -> None:
        """Be there."""
        (listener,) = await trio.open_tcp_listeners(self.address.port, host="127.0.0.1")
        self._presence, self._has_gone = trio.CancelScope(), trio.Event()
        self._nursery.start_soon(self._be_there, listener)

    async def go(self) -> None:
        """Be there no more: all connections are closed."""
        self._presence.cancel()
        await self._has_gone.wait()

    def close(self) -> None:
        self._place.close()

    async def _be_there(self, listener: trio.SocketListener) -> None:
        with self._presence:
            await trio.serve_listeners(self._serve, [listener])
        self._has_gone.set()

    async def _serve(self, stream: trio.SocketStream) -> None:
        reader = request_reader(Dialect.STOCK)
        async with stream:
            try:
                while await self._serve_one(stream, reader):
                    pass
            except trio.BrokenResourceError:
                pass

    async def _serve_one(self, stream: trio.SocketStream, reader: Reader[RequestHead]) -> bool:
        heard = await _hear(stream, reader)
        if heard is None:
            return False
        head, body = heard
        asked = Request(head, body, None, 0.0)
        if head.target == CANARY_TARGET:
            return await self._answer(stream, asked, Fault.NONE)
        self.under_way += 1
        try:
            self.asked.append(head.raw + body)
            fault = self.faults.pop(0) if self.faults else Fault.NONE
            return await self._answer(stream, asked, fault)
        finally:
            self.under_way -= 1

    async def _answer(self, stream: trio.SocketStream, asked: Request, fault: Fault) -> bool:
        if fault is Fault.HANG_UP:
            return False
        if fault is Fault.RESET:
            _reset(stream)
            return False
        response = await self._server.respond(asked)
        head, answer = response.head.raw, response.head.raw + response.body
        match fault:
            case Fault.SPLIT:
                for piece in (answer[:5], answer[5 : len(head) + 3], answer[len(head) + 3 :]):
                    await stream.send_all(piece)
                    await trio.sleep(2 * A_MOMENT)
            case Fault.LATE:
                await trio.sleep(20 * A_MOMENT)
                await stream.send_all(answer)
            case Fault.ODD:
                await stream.send_all(answer.replace(b"Content-Length", b"content-length"))
            case Fault.PREFIXED:
                await stream.send_all(b"HTTP/1.1 " + answer)
            case Fault.EXTRA:
                await stream.send_all(answer + b"and more")
            case Fault.ERROR:
                await stream.send_all(b"503 Server Too Busy\r\nContent-Length: 0\r\n\r\n")
            case Fault.HALF_HEAD:
                await stream.send_all(answer[:20])
            case Fault.HALF_BODY:
                await stream.send_all(answer[:-1])
            case Fault.STALL:
                await _wait_for_end(stream)
            case Fault.HANG_UP_LATER:
                pass
            case _:
                await stream.send_all(answer)
        return fault in (*HARMLESS[:-1], Fault.EXTRA, Fault.ERROR)


async def _hear(stream: trio.SocketStream, reader: Reader[RequestHead]) -> tuple[RequestHead, bytes] | None:
    """The next request; None at the end."""
    head: RequestHead | None = None
    body = b""
    while True:
        event = reader.next_event()
        if event is Event.NEED_DATA:
            data = await stream.receive_some()
            if not data:
                return None
            reader.feed(bytes(data))
        elif isinstance(event, RequestHead):
            head = event
        elif isinstance(event, BodyPiece):
            body += event.data
        else:
            assert head is not None
            return head, body


async def _wait_for_end(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


def _reset(stream: trio.SocketStream) -> None:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
