"""What the parts of the fast path share: the clients at one reactor, and the work of one round.

Reactions append to the lists of the round; the listener sends what is in them at its end.
"""

import socket
from dataclasses import dataclass, field, replace

from partitioner.fastpath.connections import BackendConnection, BackendLinks, Client
from partitioner.fastpath.reactor import Reactor
from partitioner.fastpath.states import ClientState, LinkState
from partitioner.transport.client_connection import Opening
from partitioner.transport.limits import BytesInFlight
from partitioner.transport.listener import ClientHandoff


class ConnectedClients:
    """The clients of one listener, from the moment they come to the moment they go."""

    def __init__(
        self, reactor: Reactor, client_handoff: ClientHandoff, in_flight: BytesInFlight | None = None
    ) -> None:
        """The client handoff is where clients come from, and are handed over to."""
        self.in_flight = BytesInFlight() if in_flight is None else in_flight
        self.reactor = reactor
        self.connected: dict[Client, None] = {}
        self.is_stopping = False
        self._client_handoff = client_handoff

    def take(self, client: Client) -> None:
        """From now on serve this client."""
        self.connected[client] = None
        self.reactor.register(client)

    def give_away(self, client: Client, opening: Opening) -> None:
        """Have the slow path serve this client until its exchange is over."""
        self._forget(client)
        received = opening.received + self.reactor.unread(client)
        opening = replace(opening, received=received, router=client.router)
        self._client_handoff.converse(self.reactor.let_go(client), client.peer, opening)

    def close(self, client: Client) -> None:
        """Close a client's connection."""
        self._forget(client)
        self.reactor.close(client)
        self._client_handoff.client_left(client.peer)

    def _forget(self, client: Client) -> None:
        del self.connected[client]
        client.state = ClientState.GONE
        if client.pieces:
            self.in_flight.give_back(sum(map(len, client.pieces)))
            client.pieces = []


@dataclass(eq=False, slots=True)
class Round:
    """What is to be done at the end of a round of a fast router."""

    reactor: Reactor
    clients: ConnectedClients
    asked: list[BackendConnection] = field(default_factory=list)
    """The links that have been given a request, which is not sent yet."""
    answers: list[tuple[Client, bytes]] = field(default_factory=list)
    crowded: dict[BackendLinks, None] = field(default_factory=dict)
    """Those with a queue."""

    def let_go(self, link: BackendConnection) -> socket.socket:
        """Forget a link; return its socket."""
        del link.backend_links.links[link]
        if link.state is LinkState.IDLE:
            link.backend_links.idle_links.remove(link)
        link.state = LinkState.GONE
        return self.reactor.let_go(link)
