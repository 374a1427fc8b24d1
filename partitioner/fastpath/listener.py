"""A fast listener: the clients at one reactor, and what is done in a round of it.

There are two kinds. The fast router answers with what backends say; the fast state server answers itself,
from a session table. Both take in only what is ordinary, and have the slow path serve whatever is not.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from partitioner.fastpath.connections import BackendConnection, Client
from partitioner.fastpath.reactor import EventDispatch
from partitioner.fastpath.round import ConnectedClients
from partitioner.fastpath.states import Signal


class FastListener(ABC):
    """Serves clients."""

    dispatch: EventDispatch

    def __init__(self, clients: ConnectedClients) -> None:
        self.clients = clients
        self.connected = clients.connected
        self.reactor = clients.reactor

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self.connected)} clients>"

    def work_off(self, timeout: float, most_events: int) -> bool:
        """One round: wait so long for so many events, and react; return whether there were any."""
        return self.dispatch.work_off(timeout, most_events)

    def signal(self, connection: Client | BackendConnection, signal: Signal) -> None:
        """Have a connection reacted to a signal that does not come over the network."""
        self.dispatch.signal(connection, signal)

    def take(self, client: Client) -> None:
        """From now on serve this client."""
        self.clients.take(client)

    @abstractmethod
    def look_after(self, now: float) -> Iterator[None]:
        """From time to time: whatever is to be done besides looking at the deadlines of clients.

        Pauses between slices, in which others have their turn.
        """

    @abstractmethod
    def end(self) -> None:
        """Close everything."""
