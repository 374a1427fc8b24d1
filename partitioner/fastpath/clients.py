"""Reactions to what happens to clients' connections: takes requests, and delivers answers."""

from itertools import islice
from typing import TYPE_CHECKING

from partitioner.fastpath.connections import Client, News
from partitioner.fastpath.recorder import Books
from partitioner.fastpath.request_collector import Intake
from partitioner.fastpath.routes import Routes, Siding
from partitioner.fastpath.states import ClientState, Signal
from partitioner.protocol.ordinary import Frame
from partitioner.transport.client_connection import ConversationPolicy

if TYPE_CHECKING:
    from partitioner.fastpath.router import Relay

_IDLE, _QUEUED, _WAITING = ClientState.IDLE, ClientState.QUEUED, ClientState.WAITING
_DEAF, _DELIVERING = ClientState.DEAF, ClientState.DELIVERING

_SOME = 4
"""Connections opened at a time where there are many: a busy machine falls silent for other reasons, too."""


class ClientReactions:
    """What the table of clients names."""

    def __init__(self, relay: "Relay", books: Books, routes: Routes, policy: ConversationPolicy) -> None:
        self._relay = relay
        self._books = books
        self._routes = routes
        self._policy = policy
        self._roster = relay.lane.roster
        self._observer = relay.lane.observer
        self.intake = Intake(relay, policy.max_body, self._ask)
        self.take_request = self.intake.take_request
        self.take_more_of_request = self.intake.take_more_of_request
        self.hand_over_request = self.intake.hand_over_request

    def nothing(self, client: Client, news: News) -> None:
        """It cannot happen, or does not matter."""

    # --- requests ---

    def _ask(self, client: Client, data: bytes, target: bytes, frame: Frame) -> bool:
        """Send a request to its acting primary, unless something about it is out of the ordinary."""
        find = self._routes.find
        route = find(target) or self._routes.look_up(target)
        if route is None:
            return False
        if route.noted_until < client.began_at:
            self._routes.note_application(route, client.began_at)
        pool = self._roster.pool
        if route.pool is not pool:
            route = self._routes.renewed(route, pool)
        siding = route.siding
        if siding is None:
            return False
        links, places = siding.idle_links, siding.places
        if not places.free or (siding.queue and client.state is not _QUEUED):
            self._queue(client, data, siding, (target, frame))
            return True
        if not links and not self._relay.links.adopt(siding):
            if siding.has_enough:
                self._queue(client, data, siding, (target, frame))
            return siding.has_enough
        link = links.pop()
        if not self._books.open(frame[0], route, link, self._relay.reactor.now):
            links.append(link)
            return False
        places.free -= 1
        link.client = client
        client.link = link
        client.operation, _, client.size, client.minutes, _ = frame
        client.route = route
        client.pool = pool
        client.request = data
        client.state = _WAITING
        self._relay.asked.append(link)
        return True

    # --- requests that wait for a place, or a link ---

    def _queue(self, client: Client, data: bytes, siding: Siding, seen: tuple[bytes, Frame]) -> None:
        client.state = _QUEUED
        client.request, client.siding = data, siding
        siding.queue[client] = seen
        self._relay.crowded[siding] = None

    def ask_queued(self, siding: Siding) -> None:
        """Have as many asked as may be, first come, first served."""
        for _ in range(min(len(siding.queue), siding.room)):
            self._relay.reactor.signal(next(iter(siding.queue)), Signal.ROOM)

    def ask_now(self, client: Client, news: News) -> None:
        """There is room for a request that has waited."""
        assert client.siding is not None
        target, frame = client.siding.queue[client]
        data = self._unqueue(client)
        if not self._ask(client, data, target, frame):
            self.intake.hand_over(client, data)

    def open_more(self, siding: Siding, before: float) -> None:
        """Hand some over that have come before then and wait for a link: that opens as many connections."""
        for client in tuple(islice(siding.queue, min(siding.upstream.places.free, _SOME))):
            if client.began_at < before:
                self._relay.reactor.signal(client, Signal.OVERDUE)

    def hand_over_queued(self, client: Client, news: News) -> None:
        """It has waited for long, has left, or talks out of turn: the await lane may wait on."""
        data = self._unqueue(client)
        self.intake.hand_over(client, data + news if isinstance(news, bytes) else data)

    def _unqueue(self, client: Client) -> bytes:
        assert client.siding is not None
        del client.siding.queue[client]
        data, client.request, client.siding = client.request, b"", None
        return data

    # --- answers ---

    def deliver(self, client: Client, data: bytes | memoryview, now: float) -> None:
        """Send an answer, or its rest."""
        send = client.send
        try:
            sent = send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.leave_undelivered(client)
            return
        if sent == len(data):
            self._books.close(client, now)
            client.began_at = now
            client.state = _IDLE
            if client.rest is not None or client.ahead is not None or self._relay.is_draining:
                self._end_unusual(client)
            return
        if client.rest is None:
            if client.state is _DEAF:
                self._relay.reactor.register(client)
            self._relay.reactor.await_room(client)
        client.state = _DELIVERING
        client.rest = memoryview(data)[sent:]

    def deliver_more(self, client: Client, news: News) -> None:
        assert client.rest is not None
        self.deliver(client, client.rest, self._relay.reactor.now)

    def _end_unusual(self, client: Client) -> None:
        """Its answer has taken more than one send, or it has left, has said more, or shall leave."""
        if client.rest is not None:
            client.rest = None
            self._relay.reactor.await_data(client)
        if self._relay.is_draining or client.ahead == b"":
            self.close_client(client)
        elif client.ahead is not None:
            self.intake.hand_over(client, client.ahead)

    def leave_undelivered(self, client: Client) -> None:
        """The client has gone, and with it its answer."""
        self._books.close_undelivered(client)
        self.close_client(client)

    def close_undelivered_late(self, client: Client, news: News) -> None:
        reason = f"the exchange was not over after {self._policy.exchange:g} s"
        self._observer.exchange_closed(client.peer, client.operation, reason)
        self.leave_undelivered(client)

    # --- out of the ordinary ---

    def close_client(self, client: Client, news: News = b"") -> None:
        self._relay.close_client(client)

    def listen_no_more(self, client: Client, news: News) -> None:
        """It has left, or talks out of turn. That is looked at after its exchange."""
        client.ahead = news if isinstance(news, bytes) else b""
        client.state = _DEAF
        self._relay.reactor.let_go(client)

    def hand_over_late(self, client: Client, news: News) -> None:
        """The same for an answer: there its deadline is kept to the moment."""
        self._relay.hand_over.after(client)
