"""A station: the clients at one reactor, from the moment they come to the moment they go.

There are two kinds. The relay answers with what backends say; the origin answers itself, from a session
table. Both take in only what is ordinary, and have the await lane serve whatever is not.
"""

from abc import ABC, abstractmethod
from dataclasses import replace

from partitioner.fastpath.connections import Client
from partitioner.fastpath.reactor import Reactor
from partitioner.fastpath.states import ClientState
from partitioner.transport.client_connection import Opening
from partitioner.transport.listener import Door


class Station(ABC):
    """Serves clients."""

    reactor: Reactor

    def __init__(self, door: Door) -> None:
        """The door is where clients come from, and are handed over to."""
        self.is_draining = False
        self.connected: dict[Client, None] = {}
        self._door = door

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self.connected)} clients>"

    def work_off(self, timeout: float, most_events: int) -> bool:
        """One round: wait so long for so many events, and react; answer whether there were any."""
        return self.reactor.work_off(timeout, most_events)

    def take(self, client: Client) -> None:
        """From now on serve this client."""
        self.connected[client] = None
        self.reactor.register(client)

    def give_away(self, client: Client, opening: Opening) -> None:
        """Have the await lane serve this client until its exchange is over."""
        self._forget(client)
        received = opening.received + self.reactor.unread(client)
        opening = replace(opening, received=received, router=client.router)
        self._door.converse(self.reactor.let_go(client), client.peer, opening)

    def close_client(self, client: Client) -> None:
        self._forget(client)
        self.reactor.close(client)
        self._door.client_left()

    def _forget(self, client: Client) -> None:
        del self.connected[client]
        client.state = ClientState.GONE

    @abstractmethod
    def look_after(self, now: float) -> None:
        """From time to time: whatever is to be done besides looking at the deadlines of clients."""

    @abstractmethod
    def end(self) -> None:
        """Close everything."""
