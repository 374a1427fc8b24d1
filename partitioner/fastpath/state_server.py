"""The fast state server: the clients of a state server on the reactor, answered straight from its session
table.

An ordinary request is carried out in the round in which it is whole, and its answer is sent at the end of
that. So a client waits for nothing but room in the network, and nothing has to be handed over once a request
was carried out.
"""

from functools import partial

from partitioner.errors import RouterSuperseded
from partitioner.fastpath.connections import BackendConnection, Client, EventData
from partitioner.fastpath.listener import FastListener
from partitioner.fastpath.reactor import Clock, EventDispatch, Reactor, dispatch_table
from partitioner.fastpath.request_collector import RequestCollector
from partitioner.fastpath.round import ConnectedClients
from partitioner.fastpath.states import STATE_SERVER_REACTIONS, ClientState
from partitioner.fastpath.task import FastPathTask
from partitioner.protocol.messages import RequestHead
from partitioner.protocol.ordinary import Frame, is_ordinary_target
from partitioner.transport.client_connection import SLOW, ConversationPolicy
from partitioner.transport.listener import ClientHandoff
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import StateServer

_IDLE, _RECEIVING, _WAITING = ClientState.IDLE, ClientState.RECEIVING, ClientState.WAITING
_DELIVERING, _GONE = ClientState.DELIVERING, ClientState.GONE


def state_server_fast_path(
    server: StateServer, policy: ConversationPolicy, observer: Observer
) -> FastPathTask:
    """The fast path of a state server, beside its slow path."""
    return FastPathTask(
        lambda clock, client_handoff: FastStateServer(server, policy, observer, clock, client_handoff), policy
    )


class FastStateServer(FastListener):
    """Answers ordinary requests; these are the reactions that the table of its clients names."""

    def __init__(
        self,
        server: StateServer,
        policy: ConversationPolicy,
        observer: Observer,
        clock: Clock,
        client_handoff: ClientHandoff,
    ) -> None:
        super().__init__(ConnectedClients(Reactor(clock), client_handoff, policy.in_flight))
        self._server = server
        self._policy = policy
        self._observer = observer
        self._answers: list[tuple[Client, bytes]] = []  # of this round
        self._break_off = self.break_off  # bound once, and not in every exchange
        self.collector = RequestCollector(self.clients, policy.max_body, self._answer)
        self.take_request = self.collector.take_request
        self.take_more_of_request = self.collector.take_more_of_request
        self.hand_over_request = self.collector.hand_over_request
        table = dispatch_table(STATE_SERVER_REACTIONS, ClientState, self)
        self.dispatch = EventDispatch(self.reactor, table, [], self._crashed)

    def work_off(self, timeout: float, most_events: int) -> bool:
        has_come = self.dispatch.work_off(timeout, most_events)
        answers, self._answers = self._answers, []
        for client, data in answers:
            try:
                self._deliver(client, data)
            except Exception as error:  # noqa: BLE001 - as in a reaction
                self._crashed(client, error)
        return has_come

    def take(self, client: Client) -> None:
        if client.router is not None:
            client.router.hand_over(partial(self.break_off, client))
        super().take(client)

    def close_client(self, client: Client) -> None:
        self.clients.close(client)
        if client.router is not None:
            client.router.forget()

    def break_off(self, client: Client, reason: str) -> None:
        """Close a client's connection now, with the request that comes in over it."""
        if client.state is _RECEIVING:
            self._observer.exchange_closed(client.peer, None, reason)
        self.close_client(client)

    def look_after(self, now: float) -> None:
        """There are no connections besides clients."""

    def end(self) -> None:
        for client in tuple(self.connected):
            self.close_client(client)
        self.reactor.epoll.close()

    # --- reactions ---

    def ignore(self, client: Client, event: EventData) -> None:
        """It cannot happen, or does not matter."""

    def close_silently(self, client: Client, event: EventData) -> None:
        """No client is left to answer, or nothing was asked."""
        self.close_client(client)

    def close_when_answered(self, client: Client, event: EventData) -> None:
        """It asks for nothing more, but has not said that it does not read: a half-closed client is owed its
        answer, and an acquire whose answer is withheld leaves a lock that no page holds.
        """
        client.ahead = b""

    def deliver_more(self, client: Client, event: EventData) -> None:
        assert client.rest is not None
        self._deliver(client, client.rest)

    def close_undelivered_late(self, client: Client, event: EventData) -> None:
        reason = f"the exchange was not over after {self._policy.exchange:g} s"
        self._observer.exchange_closed(client.peer, client.operation, reason)
        self.close_client(client)

    # --- exchanges ---

    def _answer(self, client: Client, data: bytes, target: bytes, frame: Frame) -> bool:
        """Carry out a request."""
        if not is_ordinary_target(target):
            return False
        operation, _, size, minutes, cookie = frame
        end = len(data) - size
        timeout_minutes = None if minutes is None else int(minutes)
        lock_cookie = None if cookie is None else int(cookie)
        head = RequestHead(data[:end], operation, target, size, timeout_minutes, lock_cookie)
        client.operation, client.size = operation, size
        try:
            client.status, answer = self._server.answer(head, data[end:], client, self._break_off)
        except RouterSuperseded as refusal:
            self._observer.exchange_closed(client.peer, operation, str(refusal))
            self.close_client(client)
            return True
        client.state = _WAITING
        self._answers.append((client, answer))
        return True

    def _deliver(self, client: Client, data: bytes | memoryview) -> None:
        """Send an answer, or its rest."""
        send = client.send
        try:
            sent = send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            if client.state is not _GONE:
                self.close_client(client)  # it has gone, and with it its answer
            return
        if sent == len(data):
            self._finish(client)
            return
        if client.rest is None:
            self.reactor.await_room(client)
        client.state = _DELIVERING
        client.rest = memoryview(data)[sent:]

    def _finish(self, client: Client) -> None:
        """The exchange is over; this client may ask again."""
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
        if self.clients.is_stopping or client.ahead is not None:
            self.close_client(client)

    def _crashed(self, connection: Client | BackendConnection, error: Exception) -> None:
        """A fault of ours: it is reported, and the client is given up if it is still there."""
        assert isinstance(connection, Client)
        self._observer.conversation_crashed(connection.peer, error)
        if connection in self.connected:
            self.close_client(connection)
