"""The fast router: all clients and links of the fast path, and a round of work on them."""

import socket

from partitioner.fastpath.backends import LinkReactions
from partitioner.fastpath.clients import ClientReactions
from partitioner.fastpath.connections import BackendConnection, Client
from partitioner.fastpath.handover import HandOver
from partitioner.fastpath.listener import FastListener
from partitioner.fastpath.reactor import Clock, Reactor, dispatch_table
from partitioner.fastpath.recorder import ExchangeRecorder
from partitioner.fastpath.routes import BackendLinks, Routes
from partitioner.fastpath.states import (
    CLIENT_REACTIONS,
    COPYING,
    LINK_REACTIONS,
    ClientState,
    LinkState,
    Signal,
)
from partitioner.fastpath.task import PATIENCE_SHARE, FastPathTask
from partitioner.routing.core import RouterCore
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.listener import ClientHandoff

LONG_WAIT = 0.25
"""Seconds to wait for a link, however busy the fast router is; at 1000 connections it is a tenth."""


def router_fast_path(core: RouterCore, policy: ConversationPolicy) -> FastPathTask:
    """The fast path of a router, beside its slow path."""
    return FastPathTask(lambda clock, client_handoff: FastRouter(core, policy, clock, client_handoff), policy)


class FastRouter(FastListener):
    """Relays ordinary exchanges."""

    def __init__(
        self, core: RouterCore, policy: ConversationPolicy, clock: Clock, client_handoff: ClientHandoff
    ) -> None:
        """Shares everything with the slow path."""
        super().__init__(client_handoff)
        self.core = core
        # Of this round:
        self.asked: list[
            BackendConnection
        ] = []  # the links that have been given a request, which is not sent yet
        self.answers: list[tuple[Client, bytes]] = []
        self.crowded: dict[BackendLinks, None] = {}  # those with a queue
        routes, self._recorder = (
            Routes(core.roster, core.ledger_keeper, core.farm_mismatch, self),
            ExchangeRecorder(core),
        )
        self.routes = routes
        self.links = LinkReactions(self, self._recorder)
        self.clients = ClientReactions(self, self._recorder, routes, policy)
        self.hand_over = HandOver(core, policy, self)
        client_table = dispatch_table(CLIENT_REACTIONS, ClientState, self.clients)
        link_table = dispatch_table(LINK_REACTIONS, LinkState, self.links)
        self._look = core.standstills.look
        self.reactor = Reactor(client_table, link_table, self._crashed, clock, self._look)
        core.standstills.listeners.append(self._stood_still)
        core.expiry_sync.shortcut = self.touch

    def work_off(self, timeout: float, most_events: int) -> bool:
        has_come = self.reactor.work_off(timeout, most_events)
        if self.crowded:
            self._ask_queued()
            if timeout and not has_come:
                self._open_more(self.reactor.now)  # it is not for us that they wait, but for the backends
        if self.asked or self.answers:
            self._look()  # after a standstill neither has anything in it
        if self.asked:
            self._send_requests()
        if self.answers:
            self._deliver_answers()
        return has_come

    def look_at_queues(self, now: float) -> None:
        """Places may have come free without a word, and a slow backend may be hidden by fast ones."""
        self._ask_queued()
        self._open_more(now - LONG_WAIT)
        self._send_requests()

    def _open_more(self, before: float) -> None:
        for backend_links in self.crowded:
            self.clients.open_more(backend_links, before)

    def _ask_queued(self) -> None:
        for backend_links in tuple(self.crowded):
            self.clients.ask_queued(backend_links)
            if not backend_links.queue:
                del self.crowded[backend_links]

    def _send_requests(self) -> None:
        asked, self.asked = self.asked, []
        now = self.reactor.tell_time()
        for link in asked:
            client = link.client
            assert client is not None
            client.sent_at = link.since = now
            try:
                self.links.send(link, client.request)
            except Exception as error:  # noqa: BLE001 - as in a reaction
                self._crashed(link, error)

    def _deliver_answers(self) -> None:
        """To clients that are still there, as far as a lock is handed over."""
        answers, self.answers = self.answers, []
        now, was_full = self.reactor.tell_time(), self.reactor.was_full
        for client, data in answers:
            try:
                if (was_full or client.ahead is not None) and client.has_been_granted and _has_left(client):
                    self.clients.leave_undelivered(client)
                else:
                    self.clients.deliver(client, data, now)
            except Exception as error:  # noqa: BLE001 - as in a reaction
                self._crashed(client, error)

    # --- copies ---

    def touch(self, target: bytes, renewed_by: str) -> bool:
        """Touch the copies of a session that this server has renewed, if that is ordinary. A Shortcut."""
        route, now = self.routes.find(target) or self.routes.look_up(target), self.reactor.tell_time()
        if route is not None and route.pool is not self.core.roster.pool:
            route = self.routes.renewed(route, self.core.roster.pool)
        return route is not None and route.server == renewed_by and self.links.touch(route, now)

    # --- links come and go ---

    def let_go(self, link: BackendConnection) -> socket.socket:
        """Forget a link; return its socket."""
        return self.links.let_go(link)

    def idle_links_before(self, moment: float) -> list[BackendConnection]:
        """The links that have been idle since then."""
        idle = [link for backend_links in self.links_of_backends() for link in backend_links.idle_links]
        return [link for link in idle if link.since < moment]

    def copies_before(self, moment: float) -> list[BackendConnection]:
        """The links on which copies are being written since before then."""
        links = [link for backend_links in self.links_of_backends() for link in backend_links.links]
        return [link for link in links if link.state in COPYING and link.since < moment]

    def links_of_backends(self) -> list[BackendLinks]:
        """Those of all backends."""
        links_of_backends = [upstream.fast_links for upstream in self.core.roster.upstreams.values()]
        return [each for each in links_of_backends if isinstance(each, BackendLinks)]

    # --- from time to time, the end, and faults ---

    def look_after(self, now: float) -> None:
        for link in self.idle_links_before(now - self.core.policy.upstream.idle):
            self.reactor.signal(link, Signal.TIMED_OUT)
        for link in self.copies_before(now - self.core.policy.copy * PATIENCE_SHARE):
            self.reactor.signal(link, Signal.TIMED_OUT)
        self.look_at_queues(now)

    def _stood_still(self, duration: float) -> None:
        """Close all clients: exchanges with a link under way have been handed over, and are closed there."""
        answers, self.answers = self.answers, []
        self.asked.clear()
        self.crowded.clear()
        for client, _ in answers:
            self.clients.leave_undelivered(client)
        self._close_clients()

    def _close_clients(self) -> None:
        for client in tuple(self.connected):
            if client.state is ClientState.DELIVERING:
                self.clients.leave_undelivered(client)
            else:
                self._close(client)

    def end(self) -> None:
        if self._stood_still in self.core.standstills.listeners:
            self.core.standstills.listeners.remove(self._stood_still)
        self.core.expiry_sync.shortcut = None
        self._close_clients()
        for link in self.copies_before(float("inf")):
            if link.touch is not None:
                self.links.give_up(link.touch)
        for backend_links in self.links_of_backends():
            backend_links.end()
        self.reactor.epoll.close()

    def _crashed(self, connection: Client | BackendConnection, error: Exception) -> None:
        """A fault of ours: it is reported, and the connection is given up, and its exchange with it."""
        if isinstance(connection, BackendConnection):
            client, subject = connection.client, connection.identity
        else:
            client, subject = connection, connection.peer
        self.core.observer.conversation_crashed(subject if client is None else client.peer, error)
        if isinstance(connection, BackendConnection) and connection.touch is not None:
            self.hand_over.touch(connection.touch)
        if client is None or client not in self.connected:
            return
        if client.route is None:
            self._close(client)
        elif client.link is not None or client.answer:
            client.ahead = b""  # no client is left to answer
            self.hand_over.after(client)
        else:
            self.clients.leave_undelivered(client)

    def _close(self, client: Client) -> None:
        if client.backend_links is not None:
            del client.backend_links.queue[client]
        self.close_client(client)


def _has_left(client: Client) -> bool:
    """Whether the client has left and cannot be given a lock; a full round does not report all that have
    left."""
    if client.ahead is not None:
        return client.ahead == b""
    try:
        return client.socket.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
