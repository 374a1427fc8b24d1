"""A fast path without its task: rounds are worked off by hand, over real sockets on loopback."""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from partitioner.fastpath.connections import BackendConnection, BackendLinks, Client
from partitioner.fastpath.links import SharedLinks
from partitioner.fastpath.router import FastRouter
from partitioner.membership.backend import BackendId
from partitioner.membership.ledger import LedgerPolicy
from partitioner.protocol.target import server_key
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.client_connection import Opening
from tests.doubles.routers import CONVERSATION, MemoryRouter
from tests.identities import STATE_1

MOST_EVENTS = 256
LONG_ENOUGH = 30.0
"""Seconds for which a round waits for what has been sent on loopback; mostly it comes in microseconds."""

SMALL_BUFFER = 4096

A_MOMENT, AN_HOUR = 1e-9, 3600.0


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for each in (near, far):
        each.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # or each piece waits for an acknowledgement
    near.settimeout(30)
    far.setblocking(False)
    return near, far


def local_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection that is full until the other end reads, and not until TCP finds some room."""
    near, far = socket.socketpair()
    near.settimeout(30)
    far.setblocking(False)
    return near, far


def reset(connected: socket.socket) -> None:
    """Tear a connection down, as the death of a process with unread bytes does."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connected.close()


@dataclass
class RecordingClientHandoff:
    """Where clients go that are handed over."""

    openings: list[Opening] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    left: int = 0

    def converse(self, connected: socket.socket, peer: str, opening: Opening) -> None:
        self.openings.append(opening)
        self.sockets.append(connected)

    def client_left(self, peer: str) -> None:
        self.left += 1


class RouterSetup:
    """A fast router in front of state-1, which is UP, with its recorder and connections to look into."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        copies: int = 1,
        backends: int = 1,
        is_settled: bool = True,
        longest_life: float = A_MOMENT,
    ) -> None:
        """Sessions are not known to live for any time, and never will be for longer than `longest_life`."""
        shortest = A_MOMENT if is_settled else AN_HOUR
        ledger = LedgerPolicy(session_timeout=shortest, session_timeout_max=max(shortest, longest_life))
        self.router = MemoryRouter(nursery, backends, copies=copies, ledger=ledger)
        self.router.take_in()
        self.client_handoff = RecordingClientHandoff()
        # The tests' clock stands still, and a moment after the last change of the pool times are settled.
        self.fast_router = FastRouter(
            self.router.core, CONVERSATION, lambda: trio.current_time() + 1e-6, self.client_handoff
        )
        self._sockets: list[socket.socket] = []

    def close(self) -> None:
        self.fast_router.end()
        for upstream in self.router.roster.upstreams.values():
            upstream.close_idle()
            for lease in upstream.leases:
                lease.channel.close()
        for each in (*self._sockets, *self.client_handoff.sockets):
            each.close()

    def client(self, *, is_local: bool = False) -> tuple[socket.socket, Client]:
        """A client that has just connected: its end, and ours; over a Unix socket if it `is_local`."""
        near, far = self._pair(local_pair if is_local else tcp_pair)
        client = Client(far, "192.0.2.1", self.fast_router.reactor.tell_time())
        self.fast_router.take(client)
        return near, client

    def link(self, name: BackendId = STATE_1) -> tuple[socket.socket, BackendConnection]:
        """An idle link to a backend: its end, and ours."""
        near, far = self._pair()
        upstream = self.router.roster.upstreams[name]
        assert upstream.incarnation is not None
        self.fast_router.reactor.tell_time()
        backend_links = self.fast_router.links_to(upstream)
        return near, self.fast_router.links.add(far, backend_links, upstream.incarnation)

    def holders(self, target: bytes) -> tuple[BackendId, ...]:
        """Who holds a session, the primary first."""
        core = self.router.core
        acting = core.roster.pool.acting_set(core.ledger_keeper.placement_of(server_key(target)))
        assert acting is not None
        return acting.written

    def backend_links(self, name: BackendId = STATE_1) -> BackendLinks:
        return self.fast_router.links_to(self.router.roster.upstreams[name])

    def shared_links(self, name: BackendId = STATE_1) -> SharedLinks:
        """The same links, as their upstream sees them."""
        self.backend_links(name)
        shared = self.router.roster.upstreams[name].fast_links
        assert isinstance(shared, SharedLinks)
        return shared

    def turn(self) -> None:
        """One round, in which something is expected to come."""
        assert self.fast_router.work_off(LONG_ENOUGH, MOST_EVENTS)

    def _pair(
        self, connect: Callable[[], tuple[socket.socket, socket.socket]] = tcp_pair
    ) -> tuple[socket.socket, socket.socket]:
        pair = connect()
        self._sockets += pair
        return pair


def shrink(connected: socket.socket) -> None:
    """Have little room for what is sent over this end."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)


def nothing_has_come(backend: socket.socket) -> bool:
    """Whether nothing more has come to this end than perhaps its end of file."""
    backend.setblocking(False)
    try:
        return backend.recv(1) == b""
    except BlockingIOError:
        return True


def relayed(
    router_setup: RouterSetup, near: socket.socket, backend: socket.socket, asked: bytes, answer: bytes
) -> bytes:
    """Have a request and its answer relayed; what the client gets."""
    near.sendall(asked)
    router_setup.turn()
    assert asked == backend.recv(2 * HELD_BODY)
    backend.sendall(answer)
    router_setup.turn()
    return near.recv(2 * HELD_BODY)
