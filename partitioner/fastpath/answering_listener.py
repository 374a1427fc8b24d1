"""A fast listener that answers ordinary requests itself, and asks no backend: what its two kinds share.

    AnsweringListener ── FastStateServer   from a session table, in the same round
                      └─ FastStore         from an engine, when its replies have come

Requests come in, answers go out, and connections end in the same way for both. How a request is carried out,
and what becomes of an answer that does not reach its client, is each one's own.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping

from partitioner.fastpath.connections import BackendConnection, Client, EventData
from partitioner.fastpath.listener import FastListener
from partitioner.fastpath.reactor import Clock, EventDispatch, Reactor, dispatch_table
from partitioner.fastpath.request_collector import RequestCollector
from partitioner.fastpath.round import ConnectedClients
from partitioner.fastpath.states import ClientState, Signal
from partitioner.protocol.ordinary import Frame
from partitioner.transport.client_connection import SLOW, ConversationPolicy, too_late
from partitioner.transport.listener import ClientHandoff
from partitioner.transport.observer import Observer

_IDLE, _DELIVERING = ClientState.IDLE, ClientState.DELIVERING

LEAVES = b""
"""What a client has sent ahead (Client.ahead) that will ask for nothing more: it is closed when it has its
answer."""


class AnsweringListener(FastListener):
    """Serves clients; these are the reactions that the tables of both kinds name."""

    def __init__(
        self,
        policy: ConversationPolicy,
        observer: Observer,
        clock: Clock,
        client_handoff: ClientHandoff,
        reactions: Mapping[tuple[ClientState, Signal], str],
    ) -> None:
        super().__init__(ConnectedClients(Reactor(clock), client_handoff, policy.in_flight))
        self._policy = policy
        self._observer = observer
        self.collector = RequestCollector(self.clients, policy, self._serve)
        self.take_request = self.collector.take_request
        self.take_more_of_request = self.collector.take_more_of_request
        self.dispatch = EventDispatch(
            self.reactor, dispatch_table(reactions, ClientState, self), [], self._crashed
        )

    # --- what each kind does in its own way ---

    @abstractmethod
    def _serve(self, client: Client, data: bytes, target: bytes, frame: Frame) -> bool:
        """Carry a whole request out, or begin to. This is the Serve of the request collector."""

    @abstractmethod
    def _leave_undelivered(self, client: Client) -> None:
        """The client has gone, and with it its answer: close it."""

    def close_client(self, client: Client) -> None:
        """Close a client's connection."""
        self.clients.close(client)

    def give_up(self, client: Client) -> None:
        """Close a client's connection, whatever it waits for."""
        self.close_client(client)

    # --- the same for both ---

    def look_after(self, now: float) -> Iterator[None]:
        """There are no connections besides clients."""
        return iter(())

    def end(self) -> None:
        for client in tuple(self.connected):
            self.give_up(client)
        self.reactor.epoll.close()

    def ignore(self, client: Client, event: EventData) -> None:
        """It cannot happen, or does not matter."""

    def close_silently(self, client: Client, event: EventData) -> None:
        """No client is left to answer, or nothing was asked."""
        self.close_client(client)

    def close_unfinished(self, client: Client, event: EventData) -> None:
        """Its request has taken all the time that there is for an exchange to come."""
        self._observer.exchange_closed(client.peer, None, too_late(self._policy))
        self.close_client(client)

    def close_undelivered_late(self, client: Client, event: EventData) -> None:
        self._observer.exchange_closed(client.peer, client.operation, too_late(self._policy))
        self._leave_undelivered(client)

    def deliver_more(self, client: Client, event: EventData) -> None:
        assert client.rest is not None
        self._deliver(client, client.rest)

    def _deliver(self, client: Client, data: bytes | memoryview) -> None:
        """Send an answer, or its rest."""
        send = client.send
        try:
            sent = send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._leave_undelivered(client)
            return
        if sent == len(data):
            self._finish(client)
            return
        if client.rest is None:
            self.reactor.await_room(client)
        client.state = _DELIVERING
        client.rest = memoryview(data)[sent:]

    def _finish(self, client: Client) -> None:
        """The exchange is over; this client may ask again, and perhaps has."""
        now = self.reactor.tell_time()
        duration = now - client.began_at
        self._observer.exchange_finished(client.operation, client.status, duration, client.size)
        if duration >= SLOW:
            self._observer.exchange_was_slow(client.peer, client.operation, duration, "")
        client.began_at = now
        client.state = _IDLE
        if client.rest is not None:
            client.rest = None
            self.reactor.await_data(client)
        ahead = client.ahead
        if ahead:
            client.ahead = None
            self.collector.take_request(client, ahead)
        elif ahead is not None or self.clients.is_stopping:
            self.close_client(client)

    def _crashed(self, connection: Client | BackendConnection, error: Exception) -> None:
        """A fault of ours: it is reported, and the client is given up if it is still there."""
        assert isinstance(connection, Client)
        self._observer.conversation_crashed(connection.peer, error)
        if connection in self.connected:
            self.give_up(connection)
