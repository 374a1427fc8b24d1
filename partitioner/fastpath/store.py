"""The fast path: ordinary requests of all clients over one epoll, and their calls over the same pipes.

    client --- request ---> begin an exchange; its client waits
    pipe   --- replies ---> the exchange ends: its answer is sent at once

All requests of a round become one batch, and all its answers are sent when its replies have come, without a
task for any of them. A request is carried out from here on whatever becomes of its client, so nothing is
handed over to the slow path once it has begun; what is not ordinary goes there before that.
"""

from partitioner.fastpath.answering_listener import LEAVES, AnsweringListener
from partitioner.fastpath.connections import Client, EventData
from partitioner.fastpath.reactor import Clock
from partitioner.fastpath.states import STORE_REACTIONS, ClientState
from partitioner.fastpath.task import SHARED, FastPathTask
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.messages import RequestHead
from partitioner.protocol.ordinary import Frame, is_ordinary_target
from partitioner.protocol.writer import write_answer
from partitioner.sessions.session import OK
from partitioner.store.responder import written_head
from partitioner.store.sessions import EngineSessions, Exchange
from partitioner.transport.client_connection import ANSWER_MARGIN, ConversationPolicy
from partitioner.transport.listener import ClientHandoff
from partitioner.transport.observer import Observer

_WAITING, _PAUSED = ClientState.WAITING, ClientState.PAUSED

MOST_EVENTS = 1024
"""Clients that are looked at before locks are handed over."""

_WRITTEN_OK = write_answer(OK)


def store_fast_path(sessions: EngineSessions, policy: ConversationPolicy, observer: Observer) -> FastPathTask:
    """The fast path beside the slow one. This is the FastPath of a Downstream.

    It never waits for clients alone: what it is waiting for then are replies, which come to other tasks.
    """

    def open_listener(clock: Clock, client_handoff: ClientHandoff) -> FastStore:
        return FastStore(sessions, policy, observer, clock, client_handoff)

    return FastPathTask(open_listener, policy, alone=SHARED)


class FastStore(AnsweringListener):
    """Answers from the sessions on an engine."""

    def __init__(
        self,
        sessions: EngineSessions,
        policy: ConversationPolicy,
        observer: Observer,
        clock: Clock,
        client_handoff: ClientHandoff,
    ) -> None:
        super().__init__(policy, observer, clock, client_handoff, STORE_REACTIONS)
        self._sessions = sessions
        self._patience = policy.exchange - ANSWER_MARGIN
        self._under_way: dict[Client, Exchange] = {}
        self._looked_at = 0  # what number of replies had been taken when all clients were looked at

    def work_off(self, timeout: float, most_events: int) -> bool:
        """One round; its calls go out together."""
        engine = self._sessions.engine
        engine.collect()
        try:
            return self.dispatch.work_off(timeout, most_events)
        finally:
            engine.flush()

    def give_up(self, client: Client) -> None:
        self.abandon(client, b"")

    # --- reactions ---

    def keep_for_later(self, client: Client, event: EventData) -> None:
        """It sends the next request before it has the answer to this one."""
        assert isinstance(event, bytes)
        client.ahead = (client.ahead or b"") + event
        if len(client.ahead) > MAX_HEAD_BYTES + self._policy.max_body:
            self.abandon(client, event)

    def note_end(self, client: Client, event: EventData) -> None:
        """It has finished sending, or has left, which looks the same. It gets its answer, and no lock."""
        client.state = _PAUSED
        client.ahead = LEAVES

    def abandon(self, client: Client, event: EventData) -> None:
        """Nobody waits for the answer any more."""
        exchange = self._under_way.pop(client, None)
        if exchange is not None:
            exchange.abandon()
        self.close_client(client)

    # --- exchanges ---

    def _serve(self, client: Client, data: bytes, target: bytes, frame: Frame) -> bool:
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
            self._answer(client, exchange)
        except Exception as error:  # noqa: BLE001 - one client's trouble must not become everybody's
            self._crashed(client, error)

    def _answer(self, client: Client, exchange: Exchange) -> None:
        failure, answer = exchange.failure, exchange.answer
        if failure is not None:
            del self._under_way[client]
            self._observer.exchange_closed(client.peer, client.operation, str(failure))
            self.close_client(client)
            return
        assert answer is not None
        client.status = answer.status.code
        if client.has_been_granted and not self._may_be_granted(client):
            return
        self._deliver(client, _WRITTEN_OK if answer is OK else written_head(exchange) + answer.body)

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
            self._leave_undelivered(client)
        return client.state is _WAITING

    def _leave_undelivered(self, client: Client) -> None:
        """It has gone: a lock that it was to be given is given back."""
        self._under_way.pop(client).note_undelivered()
        self.close_client(client)

    def _finish(self, client: Client) -> None:
        del self._under_way[client]
        super()._finish(client)
