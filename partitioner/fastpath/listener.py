"""A fast listener: the clients at one reactor, from the moment they come to the moment they go.

There are two kinds. The fast router answers with what backends say; the fast state server answers itself,
from a session table. Both take in only what is ordinary, and have the slow path serve whatever is not.
"""

from abc import ABC, abstractmethod
from dataclasses import replace

from partitioner.fastpath.connections import Client
from partitioner.fastpath.reactor import Reactor
from partitioner.fastpath.states import ClientState
from partitioner.transport.client_connection import Opening
from partitioner.transport.listener import ClientHandoff


class FastListener(ABC):
    """Serves clients."""

    reactor: Reactor

    def __init__(self, client_handoff: ClientHandoff) -> None:
        """The client handoff is where clients come from, and are handed over to."""
        self.is_stopping = False
        self.connected: dict[Client, None] = {}
        self._client_handoff = client_handoff

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self.connected)} clients>"

    def work_off(self, timeout: float, most_events: int) -> bool:
        """One round: wait so long for so many events, and react; return whether there were any."""
        return self.reactor.work_off(timeout, most_events)

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

    def close_client(self, client: Client) -> None:
        self._forget(client)
        self.reactor.close(client)
        self._client_handoff.client_left()

    def _forget(self, client: Client) -> None:
        del self.connected[client]
        client.state = ClientState.GONE

    @abstractmethod
    def look_after(self, now: float) -> None:
        """From time to time: whatever is to be done besides looking at the deadlines of clients."""

    @abstractmethod
    def end(self) -> None:
        """Close everything."""
