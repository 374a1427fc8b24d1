"""The state tables of the fast path, cell by cell: a connection in each state, and each signal.

A connection is brought into its state by what brings it there in life, over real sockets. What a signal does
to it is looked up in a table of outcomes that is written independently of the reactions' names.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from partitioner.fastpath.connections import BackendConnection, Client
from partitioner.fastpath.states import (
    CLIENT_REACTIONS,
    COPYING,
    LINK_REACTIONS,
    ClientState,
    LinkState,
    Signal,
)
from partitioner.transport.backend_connections import HELD_BODY
from tests.doubles.backends import ok
from tests.doubles.sessions import CONTENT, GET, SET, TARGET
from tests.fastpath.router_setup import RouterSetup, reset, shrink
from tests.tables import each_case

ANSWER = ok(CONTENT, b"Timeout: 20")
LARGE = b"x" * HELD_BODY
LARGE_ANSWER = ok(LARGE, b"Timeout: 20")

STAYS = "stays as it is"
CLOSED = "closed"
BEFORE = "handed over before anything was sent"
AFTER = "handed over with its lease"
WAITS = "its request is at the backend"
PAUSED = "not listened to any more"
IDLE = "idle"

CLIENT_OUTCOMES = {
    #                         DATA   END     BROKEN  ROOM   TIMED OUT SHUTDOWN
    ClientState.IDLE:        (WAITS, CLOSED, CLOSED, STAYS, CLOSED, CLOSED),
    ClientState.RECEIVING:   (WAITS, CLOSED, CLOSED, STAYS, BEFORE, STAYS),
    ClientState.QUEUED: (BEFORE, BEFORE, BEFORE, STAYS, BEFORE, STAYS),
    ClientState.WAITING:     (PAUSED,  PAUSED,   PAUSED,   STAYS, AFTER,  STAYS),
    ClientState.PAUSED:        (STAYS, STAYS,  STAYS,  STAYS, AFTER,  STAYS),
    ClientState.DELIVERING:  (STAYS, STAYS,  STAYS,  IDLE,  CLOSED, STAYS),
    ClientState.GONE:        (STAYS, STAYS,  STAYS,  STAYS, STAYS,  STAYS),
}  # fmt: skip

LINK_OUTCOMES = {
    #                         DATA    END     BROKEN  ROOM   TIMED OUT SHUTDOWN
    LinkState.IDLE:          (CLOSED, CLOSED, CLOSED, STAYS, CLOSED, CLOSED),
    LinkState.SENDING:       (STAYS,  STAYS,  STAYS,  WAITS, STAYS,  AFTER),
    LinkState.READING:       (IDLE,   AFTER,  AFTER,  STAYS, STAYS,  AFTER),
    LinkState.SENDING_COPY:  (STAYS,  STAYS,  STAYS,  WAITS, AFTER,  AFTER),
    LinkState.READING_COPY:  (IDLE,   AFTER,  AFTER,  STAYS, AFTER,  AFTER),
    LinkState.GONE:          (STAYS,  STAYS,  STAYS,  STAYS, STAYS,  STAYS),
}  # fmt: skip


@dataclass
class Scene:
    """A client, links to the servers that hold its session, and the far ends of all three connections."""

    router_setup: RouterSetup
    near: socket.socket
    client: Client
    backend: socket.socket
    link: BackendConnection
    copy_backend: socket.socket
    copy_link: BackendConnection

    def bring_client(self, state: ClientState) -> None:
        match state:
            case ClientState.RECEIVING:
                self.near.sendall(GET[:50])
                self.router_setup.turn()
            case ClientState.QUEUED:
                self.link.backend_links.upstream.limit.free = 0
                self.ask(GET)
            case ClientState.WAITING:
                self.ask(GET)
            case ClientState.PAUSED:
                self.ask(GET)
                self.near.shutdown(socket.SHUT_WR)
                self.router_setup.turn()
            case ClientState.DELIVERING:
                shrink(self.client.socket)
                self.ask(GET)
                self.backend.sendall(LARGE_ANSWER)
                while self.client.state is ClientState.WAITING:
                    self.router_setup.turn()
            case ClientState.GONE:
                self.near.close()
                self.router_setup.turn()
        assert self.client.state is state

    def bring_link(self, state: LinkState) -> tuple[socket.socket, BackendConnection]:
        """Bring one into this state; its far end, and it."""
        match state:
            case LinkState.READING:
                self.ask(GET)
            case LinkState.SENDING:
                shrink(self.link.socket)
                self.near.sendall(request_of(LARGE))
                while self.client.state is not ClientState.WAITING:
                    self.router_setup.turn()
            case LinkState.READING_COPY:
                self.have_accepted(SET)
            case LinkState.SENDING_COPY:
                shrink(self.copy_link.socket)
                self.have_accepted(request_of(LARGE))
            case LinkState.GONE:
                self.backend.close()
                self.router_setup.turn()
        is_copy = state in COPYING
        far, link = (self.copy_backend, self.copy_link) if is_copy else (self.backend, self.link)
        assert link.state is state
        return far, link

    def have_accepted(self, write: bytes) -> None:
        """Have the first server accept a write, so that it is the copy's turn."""
        self.near.sendall(write)
        heard = b""
        while len(heard) < len(write):
            self.router_setup.turn()
            heard += self.backend.recv(len(write)) if self.client.state is ClientState.WAITING else b""
        self.backend.sendall(ok())
        self.router_setup.turn()

    def ask(self, request: bytes) -> None:
        self.near.sendall(request)
        self.router_setup.turn()

    def client_outcome(self, state: ClientState) -> str:
        if self.client.state is state:
            return STAYS
        if self.client not in self.router_setup.fast_router.connected:
            return self._where_it_went()
        return {ClientState.WAITING: WAITS, ClientState.PAUSED: PAUSED, ClientState.IDLE: IDLE}[
            self.client.state
        ]

    def link_outcome(self, link: BackendConnection, state: LinkState) -> str:
        if link.state is state:
            return STAYS
        if link not in link.backend_links.links:
            return AFTER if self.router_setup.client_handoff.openings else CLOSED
        return IDLE if link.state is LinkState.IDLE else WAITS

    def _where_it_went(self) -> str:
        if not self.router_setup.client_handoff.openings:
            assert self.router_setup.client_handoff.left == 1
            return CLOSED
        return BEFORE if self.router_setup.client_handoff.openings[0].respond is None else AFTER


def request_of(body: bytes) -> bytes:
    return SET.replace(b"Content-Length:7", b"Content-Length:%d" % len(body)).removesuffix(CONTENT) + body


@contextmanager
def new_scene(nursery: trio.Nursery) -> Iterator[Scene]:
    router_setup = RouterSetup(nursery, copies=2, backends=2)
    (backend, link), (copy_backend, copy_link) = (
        router_setup.link(name) for name in router_setup.holders(TARGET)
    )
    near, client = router_setup.client()
    try:
        yield Scene(router_setup, near, client, backend, link, copy_backend, copy_link)
    finally:
        router_setup.close()


def send(
    signal: Signal, scene: Scene, far: socket.socket, connection: Client | BackendConnection, data: bytes
) -> None:
    """Have a signal come in: over the network where the connection listens to it, else by hand."""
    is_heard = connection.state not in (ClientState.PAUSED, ClientState.DELIVERING, ClientState.GONE)
    if isinstance(connection, BackendConnection):
        is_heard = connection.state not in (LinkState.SENDING, LinkState.SENDING_COPY, LinkState.GONE)
    over_network: dict[Signal, Callable[[], None]] = {
        Signal.DATA: lambda: far.sendall(data),
        Signal.END: lambda: far.shutdown(socket.SHUT_WR),
        Signal.BROKEN: lambda: reset(far),
    }
    if signal in over_network and is_heard:
        over_network[signal]()
        scene.router_setup.turn()
    elif signal is Signal.ROOM and connection.rest is not None:
        while connection.rest is not None:
            far.recv(2 * HELD_BODY)
            scene.router_setup.turn()
    else:
        scene.router_setup.fast_router.signal(connection, signal)


@each_case("state", ClientState)
@each_case("signal", Signal)
async def test_a_client_reacts_as_the_table_says(
    state: ClientState, signal: Signal, nursery: trio.Nursery
) -> None:
    """Each cell of the table of clients, by what becomes of the client."""
    with new_scene(nursery) as scene:
        scene.bring_client(state)
        data = GET[50:] if state is ClientState.RECEIVING else GET
        send(signal, scene, scene.near, scene.client, data)

        assert CLIENT_OUTCOMES[state][signal] == scene.client_outcome(state)


@each_case("state", LinkState)
@each_case("signal", Signal)
async def test_a_link_reacts_as_the_table_says(
    state: LinkState, signal: Signal, nursery: trio.Nursery
) -> None:
    """Each cell of the table of links, by what becomes of the link."""
    with new_scene(nursery) as scene:
        far, link = scene.bring_link(state)
        send(signal, scene, far, link, ok() if state in COPYING else ANSWER)

        assert LINK_OUTCOMES[state][signal] == scene.link_outcome(link, state)


def test_no_cell_is_left_out() -> None:
    """Both tables say of every state what every signal does."""
    assert {(state, signal) for state in ClientState for signal in Signal} == set(CLIENT_REACTIONS)
    assert {(state, signal) for state in LinkState for signal in Signal} == set(LINK_REACTIONS)
