"""What is done with links: they are taken over, given requests, freed, and given back.

The slow path opens connections to backends, and leaves idle ones to the fast path; it may have any of them
back.
"""

import socket
from collections.abc import Callable

from partitioner.fastpath.connections import BackendConnection, BackendLinks, Client
from partitioner.fastpath.handover import HandOver
from partitioner.fastpath.round import Round
from partitioner.fastpath.states import LinkState, Signal
from partitioner.transport.channel import Channel, broken, socket_channel
from partitioner.transport.sockets import close_in_order

_IDLE, _READING, _READING_COPY = LinkState.IDLE, LinkState.READING, LinkState.READING_COPY
_UNSENT = {_READING: LinkState.SENDING, _READING_COPY: LinkState.SENDING_COPY}


class Links:
    """What is done with links of a round."""

    def __init__(self, round_: Round, hand_over: HandOver) -> None:
        self._round = round_
        self._reactor = round_.reactor
        self._hand_over = hand_over

    def adopt(self, backend_links: BackendLinks) -> bool:
        """Take over a connection that the slow path has left idle; return whether there was one."""
        upstream = backend_links.upstream
        channel = upstream.maybe_idle_channel()
        if channel is None or upstream.incarnation is None:
            return False
        connected = channel.maybe_detach()
        if connected is None:
            return False
        self.add(connected, backend_links, upstream.incarnation)
        return True

    def add(
        self, connected: socket.socket, backend_links: BackendLinks, incarnation: bytes
    ) -> BackendConnection:
        """A new idle link over this connection."""
        link = BackendConnection(connected, backend_links, incarnation, self._reactor.now)
        backend_links.links[link] = None
        backend_links.idle_links.append(link)
        self._reactor.register(link)
        return link

    def close(self, link: BackendConnection) -> None:
        """Close an idle link."""
        close_in_order(self._round.let_go(link))

    def send(self, link: BackendConnection, data: bytes | memoryview, state: LinkState = _READING) -> None:
        """Send a request, or its rest; when all of it is sent, the link is in this state."""
        transmit = link.send
        try:
            sent = transmit(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            link.state, link.rest = _UNSENT[state], memoryview(data)
            self._hand_over.link(link, cause=broken(error, error.strerror or "closed"))
            return
        if sent == len(data):
            link.state = state
            if link.rest is not None:
                link.rest = None
                self._reactor.await_data(link)
            return
        link.state = _UNSENT[state]
        if link.rest is None:
            self._reactor.await_room(link)
        link.rest = memoryview(data)[sent:]

    def free(self, link: BackendConnection, now: float, status: int = 200) -> None:
        """An exchange is over on this link."""
        backend_links = link.backend_links
        backend_links.upstream.traffic.answered(status, now - link.since)
        link.state = _IDLE
        link.since = now
        link.client = link.touch = None
        backend_links.idle_links.append(link)
        backend_links.limit.give_back()


class SharedLinks:
    """The links to one backend as its upstream sees them. This is FastPathLinks."""

    def __init__(
        self,
        backend_links: BackendLinks,
        round_: Round,
        signal: Callable[[Client | BackendConnection, Signal], None],
    ) -> None:
        self.backend_links = backend_links
        self._round = round_
        self._signal = signal

    @property
    def idle(self) -> int:
        return len(self.backend_links.idle_links)

    @property
    def busy(self) -> int:
        return len(self.backend_links.links) - len(self.backend_links.idle_links)

    @property
    def waits_since(self) -> float:
        waiting = [link.since for link in self.backend_links.links if link.state is not _IDLE]
        return min(waiting, default=float("inf"))

    def maybe_channel(self) -> Channel | None:
        """Give an idle one away."""
        address = str(self.backend_links.upstream.backend.address)
        while self.backend_links.idle_links:
            link = self.backend_links.idle_links[-1]
            channel = socket_channel(self._round.let_go(link), address)
            if channel.is_quiet():
                return channel
            channel.close_in_order()
        return None

    def cut(self) -> None:
        """The backend is being ejected."""
        for link in tuple(self.backend_links.links):
            self._signal(link, Signal.SHUTDOWN)
        # Who waits in its queue is asked of others then, slice by slice (FastRouter).

    def close_idle(self) -> None:
        for link in tuple(self.backend_links.idle_links):
            close_in_order(self._round.let_go(link))

    def break_off(self) -> None:
        """The router has stood still: nothing more is sent. Exchanges under way are handed over, cut."""
        for link in self.backend_links.links:
            if link.state is _IDLE and link.client is not None:
                # Its request was to be sent in this round.
                link.state, link.rest = LinkState.SENDING, memoryview(link.client.request)
        self.cut()

    def end(self) -> None:
        """The fast path is being stopped: none of these is used any more."""
        self.close_idle()
        for link in tuple(self.backend_links.links):
            self._round.let_go(link).close()
        self.backend_links.upstream.end_sharing()
