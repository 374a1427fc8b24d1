"""The relay: all clients and links of the express lane, and a round of work on them."""

import socket

from partitioner.fastpath.backends import LinkReactions
from partitioner.fastpath.clients import ClientReactions
from partitioner.fastpath.connections import Client, Link
from partitioner.fastpath.handover import HandOver
from partitioner.fastpath.listener import Station
from partitioner.fastpath.reactor import Clock, Reactor, compiled
from partitioner.fastpath.recorder import Books
from partitioner.fastpath.routes import Routes, Siding
from partitioner.fastpath.states import (
    CLIENT_REACTIONS,
    COPYING,
    LINK_REACTIONS,
    ClientState,
    LinkState,
    Signal,
)
from partitioner.fastpath.task import PATIENCE_SHARE, ExpressLane
from partitioner.routing.core import Lane
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.listener import Door

LONG_WAIT = 0.25
"""Seconds to wait for a link, however busy the relay is; at 1000 connections it is a tenth."""


def relay_lane(lane: Lane, policy: ConversationPolicy) -> ExpressLane:
    """The express lane of a router, beside its await lane."""
    return ExpressLane(lambda clock, door: Relay(lane, policy, clock, door), policy)


class Relay(Station):
    """Relays ordinary exchanges."""

    def __init__(self, lane: Lane, policy: ConversationPolicy, clock: Clock, door: Door) -> None:
        """Shares everything with the await lane."""
        super().__init__(door)
        self.lane = lane
        # Of this round:
        self.asked: list[Link] = []  # the links that have been given a request, which is not sent yet
        self.answers: list[tuple[Client, bytes]] = []
        self.crowded: dict[Siding, None] = {}  # those with a queue
        routes, self._books = Routes(lane.roster, lane.bookkeeper, lane.mixups, self), Books(lane)
        self.routes = routes
        self.links = LinkReactions(self, self._books)
        self.clients = ClientReactions(self, self._books, routes, policy)
        self.hand_over = HandOver(lane, policy, self)
        client_table = compiled(CLIENT_REACTIONS, ClientState, self.clients)
        link_table = compiled(LINK_REACTIONS, LinkState, self.links)
        self._look = lane.standstills.look
        self.reactor = Reactor(client_table, link_table, self._crashed, clock, self._look)
        lane.standstills.listeners.append(self._stood_still)
        lane.toucher.shortcut = self.touch

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
        for siding in self.crowded:
            self.clients.open_more(siding, before)

    def _ask_queued(self) -> None:
        for siding in tuple(self.crowded):
            self.clients.ask_queued(siding)
            if not siding.queue:
                del self.crowded[siding]

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

    def touch(self, target: bytes, slid_by: str) -> bool:
        """Touch the copies of a session that this server has slid, if that is ordinary. A Shortcut."""
        route, now = self.routes.find(target) or self.routes.look_up(target), self.reactor.tell_time()
        if route is not None and route.pool is not self.lane.roster.pool:
            route = self.routes.renewed(route, self.lane.roster.pool)
        return route is not None and route.server == slid_by and self.links.touch(route, now)

    # --- links come and go ---

    def let_go(self, link: Link) -> socket.socket:
        """Forget a link; answer its socket."""
        return self.links.let_go(link)

    def idle_links_before(self, moment: float) -> list[Link]:
        """The links that nobody has used since then."""
        idle = [link for siding in self.sidings() for link in siding.idle_links]
        return [link for link in idle if link.since < moment]

    def copies_before(self, moment: float) -> list[Link]:
        """The links on which copies are being written since before then."""
        links = [link for siding in self.sidings() for link in siding.links]
        return [link for link in links if link.state in COPYING and link.since < moment]

    def sidings(self) -> list[Siding]:
        """Those of all backends."""
        sidings = [upstream.siding for upstream in self.lane.roster.upstreams.values()]
        return [each for each in sidings if isinstance(each, Siding)]

    # --- from time to time, the end, and faults ---

    def look_after(self, now: float) -> None:
        for link in self.idle_links_before(now - self.lane.policy.upstream.idle):
            self.reactor.signal(link, Signal.OVERDUE)
        for link in self.copies_before(now - self.lane.policy.copy * PATIENCE_SHARE):
            self.reactor.signal(link, Signal.OVERDUE)
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
        if self._stood_still in self.lane.standstills.listeners:
            self.lane.standstills.listeners.remove(self._stood_still)
        self.lane.toucher.shortcut = None
        self._close_clients()
        for link in self.copies_before(float("inf")):
            if link.touch is not None:
                self.links.give_up(link.touch)
        for siding in self.sidings():
            siding.end()
        self.reactor.epoll.close()

    def _crashed(self, connection: Client | Link, error: Exception) -> None:
        """A fault of ours: the connection is given up, and its exchange with it."""
        client = connection.client if isinstance(connection, Link) else connection
        if isinstance(connection, Link) and connection.touch is not None:
            self.lane.observer.conversation_crashed(connection.identity, error)
            self.hand_over.touch(connection.touch)
        if client is None or client not in self.connected:
            return
        self.lane.observer.conversation_crashed(client.peer, error)
        if client.route is None:
            self._close(client)
        elif client.link is not None or client.answer:
            client.ahead = b""  # nobody is there to be answered
            self.hand_over.after(client)
        else:
            self.clients.leave_undelivered(client)

    def _close(self, client: Client) -> None:
        if client.siding is not None:
            del client.siding.queue[client]
        self.close_client(client)


def _has_left(client: Client) -> bool:
    """Whether nobody is there to be given a lock; a full round has not told of everybody who has left."""
    if client.ahead is not None:
        return client.ahead == b""
    try:
        return client.socket.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
