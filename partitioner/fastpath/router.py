"""The fast router: all clients and links of the fast path, and a round of work on them."""

import socket
from collections.abc import Iterator
from itertools import islice

from partitioner.fastpath.backends import LinkReactions
from partitioner.fastpath.clients import ClientReactions
from partitioner.fastpath.connections import BackendConnection, BackendLinks, Client
from partitioner.fastpath.copies import Copies
from partitioner.fastpath.handover import HandOver
from partitioner.fastpath.links import Links, SharedLinks
from partitioner.fastpath.listener import FastListener
from partitioner.fastpath.reactor import Clock, EventDispatch, Reactor, dispatch_table
from partitioner.fastpath.recorder import ExchangeRecorder
from partitioner.fastpath.round import ConnectedClients, Round
from partitioner.fastpath.routes import Routes
from partitioner.fastpath.states import (
    CLIENT_REACTIONS,
    COPYING,
    LINK_REACTIONS,
    ClientState,
    LinkState,
    Signal,
)
from partitioner.fastpath.task import PATIENCE_SHARE, SLICE, FastPathTask
from partitioner.membership.backend import BackendId
from partitioner.protocol.ordinary import AnswerRecogniser
from partitioner.routing.core import RouterCore
from partitioner.transport.backend_connections import Upstream
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.listener import ClientHandoff

_SOME = 4
"""Connections opened at a time where there are many: a busy machine falls silent for other reasons, too."""

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
        reactor = Reactor(clock)
        super().__init__(ConnectedClients(reactor, client_handoff, policy.in_flight))
        self.core = core
        self.round = Round(reactor, self.clients)
        self.routes = Routes(core.roster, core.ledger_keeper, core.farm_mismatch, self.links_to)
        self.hand_over = HandOver(core, policy, self.round)
        self.links = Links(self.round, self.hand_over)
        self.recogniser = AnswerRecogniser()
        recorder = ExchangeRecorder(core, self.routes)
        self._copies = Copies(self.round, recorder, self.routes, self.links, self.hand_over, self.recogniser)
        link_reactions = LinkReactions(
            self.round, recorder, self.links, self._copies, self.hand_over, self.recogniser
        )
        self.client_reactions = ClientReactions(
            core, self.round, recorder, self.routes, self.links, self.hand_over, policy
        )
        self._look = core.standstills.look
        self.dispatch = EventDispatch(
            reactor,
            dispatch_table(CLIENT_REACTIONS, ClientState, self.client_reactions),
            dispatch_table(LINK_REACTIONS, LinkState, link_reactions),
            self._crashed,
            self._look,
        )
        core.standstills.listeners.append(self._stood_still)
        core.expiry_sync.shortcuts.append(self.touch)

    def work_off(self, timeout: float, most_events: int) -> bool:
        round_ = self.round
        has_come = self.dispatch.work_off(timeout, most_events)
        if round_.crowded:
            self._dispatch_queued()
            if timeout and not has_come:
                self._open_more(round_.reactor.now)  # it is not for us that they wait, but for the backends
            has_come = has_come or self._is_behind()
        if round_.asked or round_.answers:
            self._look()  # after a standstill neither has anything in it
        if round_.asked:
            self._send_requests()
        if round_.answers:
            self._deliver_answers()
        return has_come

    def _room_at(self, backend_links: BackendLinks) -> int:
        """How many of its queue may be asked; where the backend is out, of those who serve in its place.

        Not before it is written down that it is out: until then the slow path has to wait for that. And not
        while a slice waits there: those who ask these servers for their own sessions would wait behind it.
        """
        if not backend_links.is_out:
            return backend_links.room
        if self.core.roster.pool.unrecorded:
            return 1
        waiting = sum(len(links.queue) for links in self.round.crowded if not links.is_out)
        return max(0, SLICE - waiting)

    def _is_behind(self) -> bool:
        """Whether some may be asked at once that wait in the queue of a backend that is out."""
        is_known = not self.core.roster.pool.unrecorded
        return is_known and any(links.is_out and self._room_at(links) for links in self.round.crowded)

    def look_at_queues(self, now: float) -> None:
        """Places may have come free without a word, and a slow backend may be hidden by fast ones."""
        self._dispatch_queued()
        self._open_more(now - LONG_WAIT)
        self._send_requests()

    def _open_more(self, before: float) -> None:
        """Hand some over that have come before then and wait for a link: that opens as many connections."""
        for backend_links in self.round.crowded:
            for client in tuple(islice(backend_links.queue, min(backend_links.limit.free, _SOME))):
                if client.began_at < before:
                    self.signal(client, Signal.TIMED_OUT)

    def _dispatch_queued(self) -> None:
        """Have as many requests dispatched as there is room for, first come, first served."""
        for backend_links in tuple(self.round.crowded):
            backend_links.opening = 0
            for _ in range(min(len(backend_links.queue), self._room_at(backend_links))):
                self.signal(next(iter(backend_links.queue)), Signal.ROOM)
            if not backend_links.queue:
                del self.round.crowded[backend_links]

    def _send_requests(self) -> None:
        asked, self.round.asked = self.round.asked, []
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
        answers, self.round.answers = self.round.answers, []
        now, was_full = self.reactor.tell_time(), self.reactor.was_full
        for client, data in answers:
            try:
                if (was_full or client.ahead is not None) and client.has_been_granted and _has_left(client):
                    self.client_reactions.leave_undelivered(client)
                else:
                    self.client_reactions.deliver(client, data, now)
            except Exception as error:  # noqa: BLE001 - as in a reaction
                self._crashed(client, error)

    # --- copies ---

    def touch(self, target: bytes, renewed_by: BackendId) -> bool:
        """Touch the copies of a session that this server has renewed, if that is ordinary. A Shortcut."""
        route, now = self.routes.find(target) or self.routes.look_up(target), self.reactor.tell_time()
        if route is not None and route.pool is not self.core.roster.pool:
            route = self.routes.renewed(route, self.core.roster.pool)
        return route is not None and route.server == renewed_by and self._copies.touch(route, now)

    # --- links come and go ---

    def links_to(self, upstream: Upstream) -> BackendLinks:
        """The links to a backend, which its upstream shares."""
        shared = upstream.fast_links
        if not isinstance(shared, SharedLinks):
            shared = SharedLinks(BackendLinks(upstream), self.round, self.signal)
            upstream.share(shared)
        return shared.backend_links

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
        return [shared.backend_links for shared in self._shared_links()]

    def _shared_links(self) -> list[SharedLinks]:
        every = [upstream.fast_links for upstream in self.core.roster.upstreams.values()]
        return [each for each in every if isinstance(each, SharedLinks)]

    # --- from time to time, the end, and faults ---

    def look_after(self, now: float) -> Iterator[None]:
        for link in self.idle_links_before(now - self.core.policy.upstream.idle):
            self.signal(link, Signal.TIMED_OUT)
        late_before = now - self.core.policy.copy * PATIENCE_SHARE
        for index, link in enumerate(self.copies_before(late_before)):
            if link.state in COPYING and link.since < late_before:  # it may have got on meanwhile
                self.signal(link, Signal.TIMED_OUT)
            if index % SLICE == SLICE - 1:
                yield
        self.look_at_queues(now)

    def _stood_still(self, duration: float) -> None:
        """Close all clients: exchanges with a link under way have been handed over, and are closed there."""
        answers, self.round.answers = self.round.answers, []
        self.round.asked.clear()
        self.round.crowded.clear()
        for client, _ in answers:
            self.client_reactions.leave_undelivered(client)
        self._close_clients()

    def _close_clients(self) -> None:
        for client in tuple(self.connected):
            if client.state is ClientState.DELIVERING:
                self.client_reactions.leave_undelivered(client)
            else:
                self._close(client)

    def end(self) -> None:
        if self._stood_still in self.core.standstills.listeners:
            self.core.standstills.listeners.remove(self._stood_still)
        if self.touch in self.core.expiry_sync.shortcuts:
            self.core.expiry_sync.shortcuts.remove(self.touch)
        self._close_clients()
        for link in self.copies_before(float("inf")):
            if link.touch is not None:
                self._copies.give_up(link.touch)
        for shared in self._shared_links():
            shared.end()
        self.reactor.epoll.close()

    def _crashed(self, connection: Client | BackendConnection, error: Exception) -> None:
        """A fault of ours: it is reported, and the connection is given up, and its exchange with it."""
        if isinstance(connection, BackendConnection):
            client, peer = connection.client, str(connection.identity)
        else:
            client, peer = connection, connection.peer
        self.core.observer.conversation_crashed(peer if client is None else client.peer, error)
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
            self.client_reactions.leave_undelivered(client)

    def _close(self, client: Client) -> None:
        if client.backend_links is not None:
            del client.backend_links.queue[client]
        self.clients.close(client)


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
