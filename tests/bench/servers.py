"""State servers to be benched: an honest one, and some that cheat, each in its own way."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from queue import SimpleQueue

import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair

from partitioner.membership.backend import Address
from partitioner.protocol.grammar import Dialect, parse_answer_head, parse_request_head
from partitioner.protocol.messages import Answer, Operation, Status
from partitioner.protocol.writer import write_answer, write_request
from partitioner.sessions.table import SessionTable
from partitioner.transport.channel import Channel, Dial, listen_tcp, listening_address
from partitioner.transport.client_connection import Conversation, ConversationPolicy
from partitioner.transport.listener import Downstream, DownstreamPolicy
from partitioner.transport.messages import Request, Responder, Response
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import StateServer

POLICY = ConversationPolicy(
    dialect=Dialect.STOCK, exchange=30.0, client_idle=30.0, max_body=2**20, held_body=2**20
)
READS = frozenset({Operation.GET, Operation.ACQUIRE})


def honest() -> Responder:
    """A state server that does as it should."""
    return StateServer(SessionTable(), Observer(), clock=trio.current_time).respond


class Cheat:
    """A state server that does as it should, until a subclass has changed its answers."""

    def __init__(self) -> None:
        self._honest = honest()
        self._reads = 0

    async def __call__(self, request: Request) -> Response:
        response = await self._honest(request)
        if request.head.operation not in READS:
            return response
        self._reads += 1
        return await self.twist(request, response)

    async def twist(self, request: Request, response: Response) -> Response:
        """Change the answer to a get or an acquire."""
        return response

    async def ask(self, request: Request, operation: Operation, lock_cookie: int | None = None) -> Response:
        """Do something honest with the session that the request is about."""
        raw = write_request(operation, request.head.target, lock_cookie=lock_cookie)
        head = parse_request_head(raw, Dialect.STOCK)
        return await self._honest(replace(request, head=head, body=b""))


class RemembersTheFirst(Cheat):
    """Answers the first body that was ever read of a session, for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[bytes, bytes] = {}

    async def twist(self, request: Request, response: Response) -> Response:
        if response.head.status != 200 or b"bench" not in request.head.target:
            return response  # honest to whoever examines it first
        return replace(response, body=self._first.setdefault(request.head.target, response.body))


class Forgets(Cheat):
    """Forgets the session of the thirtieth read, once."""

    async def twist(self, request: Request, response: Response) -> Response:
        if self._reads != 30:
            return response
        await self.ask(request, Operation.REMOVE, response.head.lock_cookie or 0)
        return NOT_FOUND


class LocksTwice(Cheat):
    """Grants a lock to whoever asks, held or not."""

    async def twist(self, request: Request, response: Response) -> Response:
        if request.head.operation is not Operation.ACQUIRE or response.head.status != 423:
            return response
        await self.ask(request, Operation.RELEASE, response.head.lock_cookie)
        return await self.ask(request, Operation.ACQUIRE)


class FlipsAByte(Cheat):
    """Answers every tenth read with one byte changed."""

    async def twist(self, request: Request, response: Response) -> Response:
        if self._reads % 10 or not response.body:
            return response
        return replace(response, body=response.body[:-1] + bytes([response.body[-1] ^ 1]))


class MixesUp(Cheat):
    """Answers one read in ten with the body of another session."""

    def __init__(self) -> None:
        super().__init__()
        self._bodies: dict[bytes, bytes] = {}

    async def twist(self, request: Request, response: Response) -> Response:
        if response.head.status != 200:
            return response
        others = [body for target, body in self._bodies.items() if target != request.head.target]
        self._bodies[request.head.target] = response.body
        return replace(response, body=others[0]) if others and self._reads % 10 == 0 else response


NOT_FOUND = Response(parse_answer_head(write_answer(Answer(Status.NOT_FOUND))), b"")


def slowly(responder: Responder, delay: float) -> Responder:
    """The same responder, each of whose answers takes a while."""

    async def respond(request: Request) -> Response:
        await trio.sleep(delay)
        return await responder(request)

    return respond


def memory_dial(responder: Responder, nursery: trio.Nursery) -> Dial:
    """A dial that leads to this responder wherever it is asked to."""

    async def dial(address: Address) -> Channel:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(Conversation(_channel(theirs), responder, POLICY, Observer()).run)
        return _channel(ours)

    return dial


def _channel(stream: trio.StapledStream[MemorySendStream, MemoryReceiveStream]) -> Channel:
    def close() -> None:
        stream.send_stream.close()
        stream.receive_stream.close()

    return Channel(stream, "memory", lambda: False, close)


@contextmanager
def served_in_a_thread(make_responder: Callable[[], Responder]) -> Iterator[Address]:
    """Serve on a free loopback port while the test is busy; return where."""
    started: SimpleQueue[tuple[Address, trio.lowlevel.TrioToken, Downstream]] = SimpleQueue()

    async def serve() -> None:
        listeners = await listen_tcp(Address("127.0.0.1", 0))
        policy = DownstreamPolicy((ip_network("127.0.0.0/8"),), 100, POLICY)
        downstream = Downstream(make_responder(), policy, Observer())
        started.put((listening_address(listeners[0]), trio.lowlevel.current_trio_token(), downstream))
        await downstream.serve(listeners)

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    address, token, downstream = started.get()
    try:
        yield address
    finally:
        token.run_sync_soon(downstream.stop)
        thread.join()


def closed_port() -> Address:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", taken.getsockname()[1])
