"""Reactions to what happens to clients' connections: takes requests, and delivers answers."""

from partitioner.fastpath.connections import BackendLinks, Client, EventData
from partitioner.fastpath.handover import HandOver
from partitioner.fastpath.links import Links
from partitioner.fastpath.recorder import ExchangeRecorder
from partitioner.fastpath.request_collector import RequestCollector
from partitioner.fastpath.round import Round
from partitioner.fastpath.routes import Routes
from partitioner.fastpath.states import ClientState
from partitioner.protocol.ordinary import Frame
from partitioner.routing.core import RouterCore
from partitioner.transport.client_connection import ConversationPolicy, too_late

_IDLE, _QUEUED, _WAITING = ClientState.IDLE, ClientState.QUEUED, ClientState.WAITING
_PAUSED, _DELIVERING = ClientState.PAUSED, ClientState.DELIVERING


class ClientReactions:
    """What the table of clients names."""

    def __init__(
        self,
        core: RouterCore,
        round_: Round,
        recorder: ExchangeRecorder,
        routes: Routes,
        links: Links,
        hand_over: HandOver,
        policy: ConversationPolicy,
    ) -> None:
        self._round = round_
        self._reactor = round_.reactor
        self._clients = round_.clients
        self._recorder = recorder
        self._routes = routes
        self._links = links
        self._hand_over = hand_over
        self._policy = policy
        self._roster = core.roster
        self._observer = core.observer
        self.collector = RequestCollector(round_.clients, policy, self._dispatch)
        self.take_request = self.collector.take_request
        self.take_more_of_request = self.collector.take_more_of_request

    def ignore(self, client: Client, event: EventData) -> None:
        """It cannot happen, or does not matter."""

    # --- requests ---

    def _dispatch(self, client: Client, data: bytes, target: bytes, frame: Frame) -> bool:
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
        backend_links = route.backend_links
        if backend_links is None:
            return False
        links, limit = backend_links.idle_links, backend_links.limit
        if not limit.free or (backend_links.queue and client.state is not _QUEUED):
            self._queue(client, data, backend_links, (target, frame))
            return True
        if not links and not self._links.adopt(backend_links):
            if backend_links.may_open():
                return False
            self._queue(client, data, backend_links, (target, frame))
            return True
        link = links.pop()
        if not self._recorder.admit(frame[0], route, link, self._reactor.now):
            links.append(link)
            return False
        limit.free -= 1
        link.client = client
        client.link = link
        client.operation, _, client.size, client.minutes, client.cookie = frame
        client.route = route
        client.pool = pool
        client.request = data
        client.state = _WAITING
        self._round.asked.append(link)
        return True

    # --- requests that wait for a place, or a link ---

    def _queue(
        self, client: Client, data: bytes, backend_links: BackendLinks, seen: tuple[bytes, Frame]
    ) -> None:
        client.state = _QUEUED
        client.request, client.backend_links = data, backend_links
        backend_links.queue[client] = seen
        self._round.crowded[backend_links] = None

    def dispatch_queued(self, client: Client, event: EventData) -> None:
        """There is room for a request that has waited."""
        assert client.backend_links is not None
        target, frame = client.backend_links.queue[client]
        data = self._unqueue(client)
        if not self._dispatch(client, data, target, frame):
            self.collector.hand_over(client, data)

    def hand_over_queued(self, client: Client, event: EventData) -> None:
        """It has waited for long, has left, or talks out of turn: the slow path may wait on."""
        data = self._unqueue(client)
        self.collector.hand_over(client, data + event if isinstance(event, bytes) else data)

    def _unqueue(self, client: Client) -> bytes:
        assert client.backend_links is not None
        del client.backend_links.queue[client]
        data, client.request, client.backend_links = client.request, b"", None
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
            self._recorder.finish(client, now)
            client.began_at = now
            client.state = _IDLE
            if client.rest is not None or client.ahead is not None or self._clients.is_stopping:
                self._end_unusual(client)
            return
        if client.rest is None:
            self._recorder.deliver_in_part(client)
            if client.state is _PAUSED:
                self._reactor.register(client)
            self._reactor.await_room(client)
        client.state = _DELIVERING
        client.rest = memoryview(data)[sent:]

    def deliver_more(self, client: Client, event: EventData) -> None:
        assert client.rest is not None
        self.deliver(client, client.rest, self._reactor.now)

    def _end_unusual(self, client: Client) -> None:
        """Its answer has taken more than one send, or it has left, has said more, or shall leave."""
        if client.rest is not None:
            client.rest = None
            self._reactor.await_data(client)
        if self._clients.is_stopping or client.ahead == b"":
            self.close_client(client)
        elif client.ahead is not None:
            self.collector.hand_over(client, client.ahead)

    def leave_undelivered(self, client: Client) -> None:
        """The client has gone, and with it its answer."""
        self._recorder.finish_undelivered(client)
        self.close_client(client)

    def close_unfinished(self, client: Client, event: EventData) -> None:
        """Its request has taken all the time that there is for an exchange to come."""
        self._observer.exchange_closed(client.peer, None, too_late(self._policy))
        self.close_client(client)

    def close_undelivered_late(self, client: Client, event: EventData) -> None:
        self._observer.exchange_closed(client.peer, client.operation, too_late(self._policy))
        self.leave_undelivered(client)

    # --- out of the ordinary ---

    def close_client(self, client: Client, event: EventData = b"") -> None:
        self._clients.close(client)

    def pause(self, client: Client, event: EventData) -> None:
        """It has left, or talks out of turn. That is looked at after its exchange."""
        client.ahead = event if isinstance(event, bytes) else b""
        client.state = _PAUSED
        self._reactor.let_go(client)

    def hand_over_late(self, client: Client, event: EventData) -> None:
        """The same for an answer: there its deadline is kept to the moment."""
        self._hand_over.after(client)
