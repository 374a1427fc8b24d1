"""The fast state server: the clients of a state server on the reactor, answered straight from its session
table.

An ordinary request is carried out in the round in which it is whole, and its answer is sent at the end of
that. So a client waits for nothing but room in the network, and nothing has to be handed over once a request
was carried out.
"""

from functools import partial

from partitioner.errors import RouterSuperseded
from partitioner.fastpath.answering_listener import LEAVES, AnsweringListener
from partitioner.fastpath.connections import Client, EventData
from partitioner.fastpath.reactor import Clock
from partitioner.fastpath.states import STATE_SERVER_REACTIONS, ClientState
from partitioner.fastpath.task import FastPathTask
from partitioner.protocol.messages import RequestHead
from partitioner.protocol.ordinary import Frame, is_ordinary_target
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.listener import ClientHandoff
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import StateServer

_RECEIVING, _WAITING, _GONE = ClientState.RECEIVING, ClientState.WAITING, ClientState.GONE


def state_server_fast_path(
    server: StateServer, policy: ConversationPolicy, observer: Observer
) -> FastPathTask:
    """The fast path of a state server, beside its slow path."""
    return FastPathTask(
        lambda clock, client_handoff: FastStateServer(server, policy, observer, clock, client_handoff), policy
    )


class FastStateServer(AnsweringListener):
    """Answers from a session table."""

    def __init__(
        self,
        server: StateServer,
        policy: ConversationPolicy,
        observer: Observer,
        clock: Clock,
        client_handoff: ClientHandoff,
    ) -> None:
        super().__init__(policy, observer, clock, client_handoff, STATE_SERVER_REACTIONS)
        self._server = server
        self._answers: list[tuple[Client, bytes]] = []  # of this round
        self._break_off = self.break_off  # bound once, and not in every exchange

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
        super().close_client(client)
        if client.router is not None:
            client.router.forget()

    def break_off(self, client: Client, reason: str) -> None:
        """Close a client's connection now, with the request that comes in over it."""
        if client.state is _RECEIVING:
            self._observer.exchange_closed(client.peer, None, reason)
        self.close_client(client)

    # --- reactions ---

    def close_when_answered(self, client: Client, event: EventData) -> None:
        """It asks for nothing more, but has not said that it does not read: a half-closed client is owed its
        answer, and an acquire whose answer is withheld leaves a lock that no page holds.
        """
        client.ahead = LEAVES

    # --- exchanges ---

    def _serve(self, client: Client, data: bytes, target: bytes, frame: Frame) -> bool:
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

    def _leave_undelivered(self, client: Client) -> None:
        if client.state is not _GONE:  # it may have been broken off since
            self.close_client(client)
