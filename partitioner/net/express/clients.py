"""Reactions to what happens to clients' connections: takes requests, and delivers answers."""

from itertools import islice
from typing import TYPE_CHECKING

from partitioner.net.conversation import ConversationPolicy
from partitioner.net.express.books import Books
from partitioner.net.express.connections import Client, News
from partitioner.net.express.routes import Routes, Siding
from partitioner.net.express.states import ClientState
from partitioner.net.upstream import HELD_BODY
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.ordinary import Frame, recognise_frame

if TYPE_CHECKING:
    from partitioner.net.express.relay import Relay

_HEAD_END = b"\r\n\r\n"
_IDLE, _RECEIVING, _WAITING = ClientState.IDLE, ClientState.RECEIVING, ClientState.WAITING
_QUEUED, _DEAF, _DELIVERING = ClientState.QUEUED, ClientState.DEAF, ClientState.DELIVERING

_MOST_REMEMBERED = 256

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
        self._clock = relay.clock
        self._largest = min(HELD_BODY, policy.max_body)
        self._frames: dict[bytes, Frame] = {}  # those without numbers

    def nothing(self, client: Client, news: News) -> None:
        """It cannot happen, or does not matter."""

    # --- requests ---

    def take_request(self, client: Client, data: bytes) -> None:
        """The first bytes of a request, mostly all of them."""
        client.began_at = self._clock()
        self._consider(client, data)

    def take_more_of_request(self, client: Client, data: bytes) -> None:
        client.pieces.append(data)
        client.wanted -= len(data)
        if client.wanted <= 0:
            whole = b"".join(client.pieces)
            client.pieces = []
            self._consider(client, whole)

    def _consider(self, client: Client, data: bytes) -> None:
        """Relay a request if it is whole, and ordinary; wait for its rest, or hand it over."""
        end = data.find(_HEAD_END)
        if end < 0:
            if len(data) < MAX_HEAD_BYTES:
                self._await_rest(client, data, 0)
            else:
                self._relay.hand_over.before(client, data)
            return
        parts = data[: end + 2].split(b" ", 2)
        frame = self._recognise(parts) if len(parts) == 3 else None
        if frame is None or frame[1] > self._largest:
            self._relay.hand_over.before(client, data)
            return
        missing = end + 4 + frame[1] - len(data)
        if missing > 0:
            self._await_rest(client, data, missing)
        elif missing < 0 or not self._ask(client, data, parts[1], frame):
            self._relay.hand_over.before(client, data)

    def _recognise(self, parts: list[bytes]) -> Frame | None:
        joined = parts[0] + parts[2]
        frame = self._frames.get(joined)
        if frame is None:
            frame = recognise_frame(joined)
            if frame is not None and not frame[3] and len(self._frames) < _MOST_REMEMBERED:
                self._frames[joined] = frame
        return frame

    def _await_rest(self, client: Client, data: bytes, missing: int) -> None:
        client.state = _RECEIVING
        client.pieces = [data]
        client.wanted = missing

    def _ask(self, client: Client, data: bytes, target: bytes, frame: Frame) -> bool:
        """Send a request to its acting primary, unless something about it is out of the ordinary."""
        route = self._routes.find(target) or self._routes.look_up(target)
        if route is None:
            return False
        if route.noted_until < client.began_at:
            self._routes.note_application(route, client.began_at)
        pool = self._roster.pool
        if route.epoch != pool.epoch:
            route = self._routes.renewed(route, pool)
        siding = route.siding
        if siding is None:
            return False
        links, places = siding.idle_links, siding.upstream.places
        if not places.free or (siding.queue and client.state is not _QUEUED):
            self._queue(client, data, siding, (target, frame))
            return True
        if not links and not self._relay.links.adopt(siding):
            if siding.has_enough:
                self._queue(client, data, siding, (target, frame))
            return siding.has_enough
        if not self._books.open(frame[0], route, links[-1], client.began_at):
            return False
        places.free -= 1
        link = links.pop()
        link.client, client.link = client, link
        client.operation, client.size, client.minutes, _ = frame
        client.route, client.pool, client.request = route, pool, data
        client.state = _WAITING
        client.sent_at = link.since = self._clock()
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
            client, (target, frame) = next(iter(siding.queue.items()))
            data = self._unqueue(client)
            if not self._ask(client, data, target, frame):
                self._relay.hand_over.before(client, data)

    def open_more(self, siding: Siding, before: float) -> None:
        """Hand some over that have come before then and wait for a link: that opens as many connections."""
        for client in tuple(islice(siding.queue, min(siding.upstream.places.free, _SOME))):
            if client.began_at < before:
                self.hand_over_queued(client, b"")

    def hand_over_queued(self, client: Client, news: News) -> None:
        """It has waited for long, has left, or talks out of turn: the await lane may wait on."""
        data = self._unqueue(client)
        self._relay.hand_over.before(client, data + news if isinstance(news, bytes) else data)

    def _unqueue(self, client: Client) -> bytes:
        assert client.siding is not None
        del client.siding.queue[client]
        data, client.request, client.siding = client.request, b"", None
        return data

    # --- answers ---

    def deliver(self, client: Client, data: bytes | memoryview, now: float) -> None:
        """Send an answer, or its rest."""
        try:
            sent = client.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.leave_undelivered(client)
            return
        if sent == len(data):
            self._books.close(client, now)
            self._go_idle(client, now)
            return
        if client.rest is None:
            if client.state is _DEAF:
                self._relay.reactor.register(client)
            self._relay.reactor.await_room(client)
        client.state = _DELIVERING
        client.rest = memoryview(data)[sent:]

    def deliver_more(self, client: Client, news: News) -> None:
        assert client.rest is not None
        self.deliver(client, client.rest, self._clock())

    def _go_idle(self, client: Client, now: float) -> None:
        """The exchange is over; this client may ask again."""
        client.began_at = now
        client.route = client.pool = None
        client.request = client.answer = b""
        client.wanted = 0
        if client.rest is not None:
            client.rest = None
            self._relay.reactor.await_data(client)
        client.state = _IDLE
        if self._relay.is_draining or client.ahead == b"":
            self.close_client(client)
        elif client.ahead is not None:
            self._relay.hand_over.before(client, client.ahead)

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

    def hand_over_request(self, client: Client, news: News) -> None:
        """A request takes long to come. The await lane waits for the rest of it."""
        self._relay.hand_over.before(client, b"".join(client.pieces))

    def hand_over_late(self, client: Client, news: News) -> None:
        """The same for an answer: there its deadline is kept to the moment."""
        self._relay.hand_over.after(client)
