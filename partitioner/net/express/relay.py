"""The relay: all clients and links of the express lane, and a round of work on them."""

import socket
from collections.abc import Callable

from partitioner.net.conversation import ConversationPolicy, Opening
from partitioner.net.downstream import Door
from partitioner.net.express.books import Books
from partitioner.net.express.clients import ClientReactions
from partitioner.net.express.connections import Client, Link
from partitioner.net.express.handover import HandOver
from partitioner.net.express.links import LinkReactions
from partitioner.net.express.reactor import Reactor
from partitioner.net.express.routes import Routes, Siding
from partitioner.net.express.states import COPYING, ClientState
from partitioner.net.lane import Lane
from partitioner.protocol.messages import Operation

_ACQUIRE = Operation.ACQUIRE

LONG_WAIT = 0.25
"""Seconds to wait for a link, however busy the relay is; at 1000 connections it is a tenth."""


class Relay:
    """Relays ordinary exchanges."""

    def __init__(
        self, lane: Lane, policy: ConversationPolicy, clock: Callable[[], float], door: Door
    ) -> None:
        """`clock` is trio's; the door is where clients come from, and are handed over to."""
        self.lane = lane
        self.clock = clock
        self.is_draining = False
        self.connected: dict[Client, None] = {}
        # Of this round:
        self.asked: list[Link] = []  # the links that have been given a request, which is not sent yet
        self.answers: list[tuple[Client, bytes]] = []
        self.crowded: dict[Siding, None] = {}  # those with a queue
        self._door = door
        routes, self._books = Routes(lane.roster, lane.bookkeeper, lane.mixups, self), Books(lane)
        self.routes = routes
        self.links = LinkReactions(self, self._books)
        self.clients = ClientReactions(self, self._books, routes, policy)
        self.hand_over = HandOver(lane, policy, self)
        self.reactor = Reactor(self.clients, self.links, self._crashed)

    def __repr__(self) -> str:
        return f"<Relay, {len(self.connected)} clients>"

    def work_off(self, timeout: float, most_events: int) -> bool:
        """One round: wait so long for so many events, and react; answer whether there were any."""
        has_come = self.reactor.work_off(timeout, most_events)
        if self.crowded:
            self._ask_queued()
            if timeout and not has_come:
                self._open_more(self.clock())  # it is not for us that they wait, but for the backends
        self._send_requests()
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
        for link in asked:
            client = link.client
            assert client is not None
            try:
                self.links.send(link, client.request)
            except Exception as error:  # noqa: BLE001 - as in a reaction
                self._crashed(link, error)

    def _deliver_answers(self) -> None:
        """To clients that are still there, as far as a lock is handed over."""
        answers, self.answers = self.answers, []
        now = self.clock()
        for client, data in answers:
            try:
                if client.ahead == b"" and client.operation is _ACQUIRE:
                    self.clients.leave_undelivered(client)
                else:
                    self.clients.deliver(client, data, now)
            except Exception as error:  # noqa: BLE001 - as in a reaction
                self._crashed(client, error)

    # --- clients come and go ---

    def take(self, client: Client) -> None:
        """From now on serve this client."""
        self.connected[client] = None
        self.reactor.register(client)

    def give_away(self, client: Client, opening: Opening) -> None:
        """Have the await lane serve this client until its exchange is over."""
        del self.connected[client]
        self._door.converse(self.reactor.let_go(client), client.peer, opening)

    def close_client(self, client: Client) -> None:
        del self.connected[client]
        self.reactor.close(client)
        self._door.client_left()

    # --- copies ---

    def touch(self, target: bytes, slid_by: str) -> bool:
        """Touch the copies of a session that this server has slid, if that is ordinary. A Shortcut."""
        route = self.routes.find(target) or self.routes.look_up(target)
        if route is not None and route.epoch != self.lane.roster.pool.epoch:
            route = self.routes.renewed(route, self.lane.roster.pool)
        return route is not None and route.server == slid_by and self.links.touch(route, self.clock())

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

    # --- the end, and faults ---

    def end(self) -> None:
        """Close everything."""
        for client in tuple(self.connected):
            if client.state is ClientState.DELIVERING:
                self.clients.leave_undelivered(client)
            else:
                self._close(client)
        for siding in self.sidings():
            siding.end()
        self.reactor.epoll.close()

    def _crashed(self, connection: Client | Link, error: Exception) -> None:
        """A fault of ours: the connection is given up, and its exchange with it."""
        client = connection.client if isinstance(connection, Link) else connection
        if isinstance(connection, Link) and connection.touch is not None:
            self.hand_over.touch(connection.touch)
        if client is None or client not in self.connected:
            return
        self.lane.observer.conversation_crashed(client.peer, error)
        if client.link is not None or client.answer:
            client.ahead = b""  # nobody is there to be answered
            self.hand_over.after(client)
        elif client.route is not None:
            self.clients.leave_undelivered(client)
        else:
            self._close(client)

    def _close(self, client: Client) -> None:
        if client.siding is not None:
            del client.siding.queue[client]
        self.close_client(client)
