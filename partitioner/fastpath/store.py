"""The fast path: ordinary requests of all clients over one epoll, and their calls over the same pipes.

    client --- request ---> begin an exchange; its client waits
    pipe   --- replies ---> the exchange ends: its answer is sent at once

All requests of a round become one batch, and all its answers are sent when its replies have come, without a
task for any of them. A request is carried out from here on whatever becomes of its client, so nothing is
handed over to the slow path once it has begun; what is not ordinary goes there before that.
"""

from collections.abc import Iterator

from partitioner.fastpath.connections import BackendConnection, Client, EventData
from partitioner.fastpath.listener import FastListener
from partitioner.fastpath.reactor import Clock, EventDispatch, Reactor, dispatch_table
from partitioner.fastpath.request_collector import RequestCollector
from partitioner.fastpath.round import ConnectedClients
from partitioner.fastpath.states import ClientState, Signal
from partitioner.fastpath.task import SHARED, FastPathTask
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.messages import RequestHead
from partitioner.protocol.ordinary import Frame, is_ordinary_target
from partitioner.protocol.writer import write_answer
from partitioner.sessions.session import OK
from partitioner.store.responder import written_head
from partitioner.store.sessions import EngineSessions, Exchange
from partitioner.transport.client_connection import ANSWER_MARGIN, SLOW, ConversationPolicy, too_late
from partitioner.transport.listener import ClientHandoff
from partitioner.transport.observer import Observer

_IDLE, _WAITING, _PAUSED = ClientState.IDLE, ClientState.WAITING, ClientState.PAUSED
_DELIVERING = ClientState.DELIVERING
MOST_EVENTS = 1024
"""Clients that are looked at before locks are handed over."""

_WRITTEN_OK = write_answer(OK)

STORE_REACTIONS: dict[tuple[ClientState, Signal], str] = {
    (ClientState.IDLE, Signal.DATA): "take_request",
    (ClientState.IDLE, Signal.END): "close_silently",
    (ClientState.IDLE, Signal.BROKEN): "close_silently",
    (ClientState.IDLE, Signal.ROOM): "ignore",
    (ClientState.IDLE, Signal.TIMED_OUT): "close_silently",
    (ClientState.IDLE, Signal.SHUTDOWN): "close_silently",
    (ClientState.RECEIVING, Signal.DATA): "take_more_of_request",
    (ClientState.RECEIVING, Signal.END): "close_silently",
    (ClientState.RECEIVING, Signal.BROKEN): "close_silently",
    (ClientState.RECEIVING, Signal.ROOM): "ignore",
    (ClientState.RECEIVING, Signal.TIMED_OUT): "close_unfinished",
    (ClientState.RECEIVING, Signal.SHUTDOWN): "ignore",  # it is closed after its exchange
    (ClientState.WAITING, Signal.DATA): "keep_for_later",
    (ClientState.WAITING, Signal.END): "note_end",
    (ClientState.WAITING, Signal.BROKEN): "abandon",
    (ClientState.WAITING, Signal.ROOM): "ignore",
    (ClientState.WAITING, Signal.TIMED_OUT): "ignore",  # its exchange ends at its deadline
    (ClientState.WAITING, Signal.SHUTDOWN): "ignore",
    (ClientState.PAUSED, Signal.DATA): "ignore",
    (ClientState.PAUSED, Signal.END): "ignore",
    (ClientState.PAUSED, Signal.BROKEN): "abandon",
    (ClientState.PAUSED, Signal.ROOM): "ignore",
    (ClientState.PAUSED, Signal.TIMED_OUT): "ignore",
    (ClientState.PAUSED, Signal.SHUTDOWN): "ignore",
    (ClientState.DELIVERING, Signal.DATA): "ignore",
    (ClientState.DELIVERING, Signal.END): "ignore",
    (ClientState.DELIVERING, Signal.BROKEN): "ignore",  # sending will tell
    (ClientState.DELIVERING, Signal.ROOM): "deliver_more",
    (ClientState.DELIVERING, Signal.TIMED_OUT): "close_undelivered_late",
    (ClientState.DELIVERING, Signal.SHUTDOWN): "ignore",
    **dict.fromkeys([(ClientState.GONE, signal) for signal in Signal], "ignore"),
}
"""What happens to a client in each state. A PAUSED one waits, and has finished sending."""


def store_fast_path(sessions: EngineSessions, policy: ConversationPolicy, observer: Observer) -> FastPathTask:
    """The fast path beside the slow one. This is the FastPath of a Downstream.

    It never waits for clients alone: what it is waiting for then are replies, which come to other tasks.
    """

    def open_listener(clock: Clock, client_handoff: ClientHandoff) -> FastStore:
        return FastStore(sessions, policy, observer, clock, client_handoff)

    return FastPathTask(open_listener, policy, alone=SHARED)


class FastStore(FastListener):
    """Serves clients from the sessions on an engine; these are the reactions that their table names."""

    def __init__(
        self,
        sessions: EngineSessions,
        policy: ConversationPolicy,
        observer: Observer,
        clock: Clock,
        client_handoff: ClientHandoff,
    ) -> None:
        super().__init__(ConnectedClients(Reactor(clock), client_handoff, policy.in_flight))
        self._sessions = sessions
        self._policy = policy
        self._patience = policy.exchange - ANSWER_MARGIN
        self._observer = observer
        self._under_way: dict[Client, Exchange] = {}
        self._looked_at = 0  # what number of replies had been taken when all clients were looked at
        self._leaving: set[Client] = set()  # who have finished sending, while they are sent an answer
        self.collector = RequestCollector(self.clients, policy.max_body, self._begin)
        self.take_request = self.collector.take_request
        self.take_more_of_request = self.collector.take_more_of_request
        table = dispatch_table(STORE_REACTIONS, ClientState, self)
        self.dispatch = EventDispatch(self.reactor, table, [], self._crashed)

    def work_off(self, timeout: float, most_events: int) -> bool:
        """One round; its calls go out together."""
        engine = self._sessions.engine
        engine.collect()
        try:
            return self.dispatch.work_off(timeout, most_events)
        finally:
            engine.flush()

    def look_after(self, now: float) -> Iterator[None]:
        """Exchanges end by themselves."""
        return iter(())

    def end(self) -> None:
        for client in tuple(self.connected):
            self.abandon(client, b"")
        self.reactor.epoll.close()

    def _close(self, client: Client) -> None:
        self._leaving.discard(client)
        self.clients.close(client)

    # --- reactions ---

    def ignore(self, client: Client, event: EventData) -> None:
        """It cannot happen, or does not matter."""

    def close_silently(self, client: Client, event: EventData) -> None:
        """Nobody is there to be answered, or nothing was asked."""
        self._close(client)

    def keep_for_later(self, client: Client, event: EventData) -> None:
        """It sends the next request before it has the answer to this one."""
        assert isinstance(event, bytes)
        client.ahead = (client.ahead or b"") + event
        if len(client.ahead) > MAX_HEAD_BYTES + self._policy.max_body:
            self.abandon(client, event)

    def note_end(self, client: Client, event: EventData) -> None:
        """It has finished sending, or has left, which looks the same. It gets its answer, and no lock."""
        client.state = _PAUSED

    def abandon(self, client: Client, event: EventData) -> None:
        """Nobody waits for the answer any more."""
        exchange = self._under_way.pop(client, None)
        if exchange is not None:
            exchange.abandon()
        self._close(client)

    def deliver_more(self, client: Client, event: EventData) -> None:
        assert client.rest is not None
        self._send(client, client.rest)

    def close_unfinished(self, client: Client, event: EventData) -> None:
        """Its request has taken all the time that there is for an exchange to come."""
        self._observer.exchange_closed(client.peer, None, too_late(self._policy))
        self._close(client)

    def close_undelivered_late(self, client: Client, event: EventData) -> None:
        self._observer.exchange_closed(client.peer, client.operation, too_late(self._policy))
        self._close_undelivered(client)

    # --- exchanges ---

    def _begin(self, client: Client, data: bytes, target: bytes, frame: Frame) -> bool:
        """Have a request carried out."""
        if not is_ordinary_target(target):
            return False
        operation, _, size, minutes, cookie = frame
        body = data[len(data) - size :] if size else b""
        timeout_minutes = None if minutes is None else int(minutes)
        lock_cookie = None if cookie is None else int(cookie)
        head = RequestHead(b"", operation, target, size, timeout_minutes, lock_cookie)
        client.operation, client.size = operation, size
        client.state = _WAITING
        client.ahead = None
        began_at = client.began_at
        exchange = self._sessions.exchange(
            head, body, began_at, began_at + self._patience, self._end_exchange, client
        )
        self._under_way[client] = exchange
        exchange.start()
        return True

    def _end_exchange(self, exchange: Exchange) -> None:
        """There is an answer, or a reason why there is none."""
        client = exchange.asker
        assert isinstance(client, Client)
        try:
            self._deliver(client, exchange)
        except Exception as error:  # noqa: BLE001 - one client's trouble must not become everybody's
            self._crashed(client, error)

    def _deliver(self, client: Client, exchange: Exchange) -> None:
        failure, answer = exchange.failure, exchange.answer
        if failure is not None:
            del self._under_way[client]
            self._observer.exchange_closed(client.peer, client.operation, str(failure))
            self._close(client)
            return
        assert answer is not None
        client.status = answer.status.code
        if client.has_been_granted and not self._may_be_granted(client):
            return
        self._send(client, _WRITTEN_OK if answer is OK else written_head(exchange) + answer.body)

    def _may_be_granted(self, client: Client) -> bool:
        """Whether a client is there to be given a lock; if not, it was closed, and its lock is given back.

        Its end of file, or a reset, may be there already. All clients are looked at once for all replies that
        have come together.
        """
        engine = self._sessions.engine
        if self._looked_at != engine.replies_taken:
            self._looked_at = engine.replies_taken
            self.work_off(0.0, MOST_EVENTS)
        if client.state is _PAUSED:
            self._close_undelivered(client)
        return client.state is _WAITING

    def _send(self, client: Client, data: bytes | memoryview) -> None:
        """Send an answer, or its rest."""
        send = client.send
        try:
            sent = send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close_undelivered(client)
            return
        if sent == len(data):
            self._finish(client)
            return
        if client.rest is None:
            self.reactor.await_room(client)
        if client.state is _PAUSED:
            self._leaving.add(client)
        client.state = _DELIVERING
        client.rest = memoryview(data)[sent:]

    def _close_undelivered(self, client: Client) -> None:
        """It has gone: a lock that it was to be given is given back."""
        self._under_way.pop(client).note_undelivered()
        self._close(client)

    def _finish(self, client: Client) -> None:
        """The exchange is over; this client may ask again."""
        del self._under_way[client]
        now = self.reactor.tell_time()
        duration = now - client.began_at
        self._observer.exchange_finished(client.operation, client.status, duration, client.size)
        if duration >= SLOW:
            self._observer.exchange_was_slow(client.peer, client.operation, duration, "")
        has_left = client.state is _PAUSED or client in self._leaving
        client.began_at = now
        client.state = _IDLE
        if client.rest is not None:
            client.rest = None
            self.reactor.await_data(client)
        if has_left or (self.clients.is_stopping and client.ahead is None):
            self._close(client)
            return
        ahead, client.ahead = client.ahead, None
        if ahead is not None:
            self.collector.take_request(client, ahead)

    def _crashed(self, connection: Client | BackendConnection, error: Exception) -> None:
        """A fault of ours: the client is given up."""
        if isinstance(connection, Client) and connection in self.connected:
            self._observer.conversation_crashed(connection.peer, error)
            self.abandon(connection, b"")
