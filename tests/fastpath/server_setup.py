"""A fast state server without its task: rounds are worked off by hand, over real sockets on loopback."""

import socket

from partitioner.fastpath.connections import Client
from partitioner.fastpath.state_server import FastStateServer
from partitioner.fastpath.states import Signal
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Operation, RequestHead, Status
from partitioner.protocol.target import server_key
from partitioner.sessions.table import SessionTable
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.state_server import StateServer
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import TARGET
from tests.fastpath.router_setup import LONG_ENOUGH, MOST_EVENTS, RecordingClientHandoff, tcp_pair

POLICY = ConversationPolicy(Dialect.STOCK, exchange=30.0, client_idle=30.0, max_body=2**26, held_body=2**26)


class StateServerSetup:
    """A fast state server with its table, and a clock that is set by hand."""

    def __init__(self, max_memory: int | None = None) -> None:
        self.now = 1000.0
        self.observer = RecordingObserver()
        self.table = SessionTable(max_memory)
        self.client_handoff = RecordingClientHandoff()
        server = StateServer(self.table, self.observer, clock=lambda: self.now)
        self.fast_server = FastStateServer(
            server, POLICY, self.observer, lambda: self.now, self.client_handoff
        )
        self._sockets: list[socket.socket] = []

    def close(self) -> None:
        self.fast_server.end()
        for each in (*self._sockets, *self.client_handoff.sockets):
            each.close()

    def client(self) -> tuple[socket.socket, Client]:
        """A client that has just connected: its end, and ours."""
        near, far = tcp_pair()
        self._sockets += [near, far]
        client = Client(far, "192.0.2.1", self.now)
        self.fast_server.take(client)
        return near, client

    def turn(self) -> None:
        """One round, in which something is expected to come."""
        assert self.fast_server.work_off(LONG_ENOUGH, MOST_EVENTS)

    def ask(self, near: socket.socket, asked: bytes) -> bytes:
        """Have a request answered; what the client gets of it at once."""
        near.sendall(asked)
        self.turn()
        return near.recv(1_000_000)

    def put(self, body: bytes) -> None:
        """Have a session stored that is too large to come by the fast path."""
        head = RequestHead(b"", Operation.SET, TARGET, len(body), 20)
        assert self.table.apply(head, server_key(TARGET), body, self.now).status is Status.OK

    def signal(self, client: Client, signal: Signal) -> None:
        self.fast_server.signal(client, signal)
