"""Reactions to what happens to links: sends requests to backends, and takes their answers."""

import socket
from typing import TYPE_CHECKING

from partitioner.errors import ConnectionBroken, ConnectionEnded
from partitioner.fastpath.connections import BackendConnection, Client, EventData
from partitioner.fastpath.copies import Copies
from partitioner.fastpath.handover import FailureCause, LinkFailure
from partitioner.fastpath.recorder import ExchangeRecorder
from partitioner.fastpath.routes import BackendLinks
from partitioner.fastpath.states import LinkState
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.messages import Operation
from partitioner.protocol.ordinary import AnswerFrame, recognise_answer, recognise_refusal
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.sockets import close_in_order

if TYPE_CHECKING:
    from partitioner.fastpath.router import FastRouter

_HEAD_END = b"\r\n\r\n"
_IDLE, _SENDING, _READING = LinkState.IDLE, LinkState.SENDING, LinkState.READING
_READING_COPY = LinkState.READING_COPY
_UNSENT = {_READING: _SENDING, _READING_COPY: LinkState.SENDING_COPY}
_SET, _REMOVE, _RESET_TIMEOUT = Operation.SET, Operation.REMOVE, Operation.RESET_TIMEOUT

_SHORT = 256  # bytes: an answer without content
_MOST_REMEMBERED = 64


class LinkReactions:
    """What the table of links names."""

    def __init__(self, fast_router: "FastRouter", recorder: ExchangeRecorder) -> None:
        self._fast_router = fast_router
        self._recorder = recorder
        self._empty_answers: dict[bytes, AnswerFrame] = {}  # those without content or numbers, whole
        self._copies = Copies(fast_router, recorder, self)
        self.touch = self._copies.touch
        self.give_up = self._copies.give_up
        self.take_confirmation = self._copies.take_confirmation

    def ignore(self, link: BackendConnection, event: EventData) -> None:
        """It cannot happen, or does not matter."""

    # --- idle links ---

    def adopt(self, backend_links: BackendLinks) -> bool:
        """Take over a connection that the slow path has left idle; return whether there was one."""
        upstream = backend_links.upstream
        channel = upstream.maybe_idle_channel()
        if channel is None or upstream.incarnation is None:
            return False
        connected = channel.maybe_detach()
        if connected is None:
            return False
        link = BackendConnection(
            connected, backend_links, upstream.incarnation, self._fast_router.reactor.now
        )
        backend_links.links[link] = None
        backend_links.idle_links.append(link)
        self._fast_router.reactor.register(link)
        return True

    def let_go(self, link: BackendConnection) -> socket.socket:
        """Forget a link; return its socket."""
        del link.backend_links.links[link]
        if link.state is _IDLE:
            link.backend_links.idle_links.remove(link)
        link.state = LinkState.GONE
        return self._fast_router.reactor.let_go(link)

    def close_link(self, link: BackendConnection, event: EventData = b"") -> None:
        """Close an idle link."""
        close_in_order(self.let_go(link))

    # --- requests ---

    def send(self, link: BackendConnection, data: bytes | memoryview, state: LinkState = _READING) -> None:
        """Send a request, or its rest; when all of it is sent, the link is in this state."""
        transmit = link.send
        try:
            sent = transmit(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            link.state, link.rest = _UNSENT[state], memoryview(data)
            self.hand_over_broken(link, error)
            return
        if sent == len(data):
            link.state = state
            if link.rest is not None:
                link.rest = None
                self._fast_router.reactor.await_data(link)
            return
        link.state = _UNSENT[state]
        if link.rest is None:
            self._fast_router.reactor.await_room(link)
        link.rest = memoryview(data)[sent:]

    def send_more(self, link: BackendConnection, event: EventData) -> None:
        assert link.rest is not None
        self.send(link, link.rest, _READING if link.state is _SENDING else _READING_COPY)

    # --- answers ---

    def take_answer(self, link: BackendConnection, data: bytes) -> None:
        """Some bytes of an answer, mostly all of them."""
        if link.pieces:
            link.pieces.append(data)
            link.wanted -= len(data)
            if link.wanted > 0:
                return
            data = b"".join(link.pieces)
            link.pieces = []
        answer = self._recognise(data) if len(data) < _SHORT else recognise_answer(data)
        client = link.client
        assert client is not None
        if answer is None:
            self._take_other(client, link, data)
            return
        end, size, _, _ = answer
        missing = end + size - len(data)
        if missing > 0 and size <= HELD_BODY and client.operation is not _RESET_TIMEOUT:
            self._await_rest(link, data, missing)
        elif missing or not self._recorder.record(client, link, answer, self._fast_router.reactor.now):
            self.hand_over(link, data)
        else:
            self._pass_on(client, link, data)

    def is_empty_success(self, data: bytes) -> bool:
        """Whether this is a whole success that says nothing more."""
        return len(data) < _SHORT and _is_empty(self._recognise(data), data)

    def _recognise(self, data: bytes) -> AnswerFrame | None:
        answer = self._empty_answers.get(data)
        if answer is None:
            answer = recognise_answer(data)
            if answer is not None and _is_empty(answer, data) and len(self._empty_answers) < _MOST_REMEMBERED:
                self._empty_answers[data] = answer
        return answer

    def _await_rest(self, link: BackendConnection, data: bytes, missing: int) -> None:
        link.pieces = [data]
        link.wanted = missing

    def _take_other(self, client: Client, link: BackendConnection, data: bytes) -> None:
        """No success: a refusal, the beginning of something, or something for the slow path to read."""
        status, now = recognise_refusal(data), self._fast_router.reactor.now
        if status is not None and self._recorder.record_refusal(client, status, now):
            client.link, client.status = None, status
            self.free(link, now, status)
            self._fast_router.answers.append((client, data))
        elif _HEAD_END in data or len(data) >= MAX_HEAD_BYTES:
            self.hand_over(link, data)
        else:
            self._await_rest(link, data, 0)

    def _pass_on(self, client: Client, link: BackendConnection, data: bytes) -> None:
        """A success is complete and written down: the link is as good as before, and the client gets it."""
        client.link = None
        client.status = 200
        now, route, operation = self._fast_router.reactor.now, client.route, client.operation
        assert route is not None
        self.free(link, now)
        if route.copies and (operation is _SET or operation is _REMOVE):
            self._copies.write(client, route.copies, data, now)
        else:
            self._fast_router.answers.append((client, data))

    def free(self, link: BackendConnection, now: float, status: int = 200) -> None:
        """An exchange is over on this link."""
        backend_links = link.backend_links
        backend_links.upstream.traffic.answered(status, now - link.since)
        link.state = _IDLE
        link.since = now
        link.client = link.touch = None
        backend_links.idle_links.append(link)
        backend_links.limit.give_back()

    # --- out of the ordinary ---

    def hand_over_ended(self, link: BackendConnection, event: EventData) -> None:
        cause = ConnectionEnded("closed the connection in the middle of an exchange")
        self.hand_over(link, cause=cause)

    def hand_over_broken(self, link: BackendConnection, event: EventData) -> None:
        reason = event.strerror if isinstance(event, OSError) else None
        self.hand_over(link, cause=ConnectionBroken(reason or "closed"))

    def hand_over_cut(self, link: BackendConnection, event: EventData) -> None:
        """Nothing that an ejected backend says reaches a client."""
        self.hand_over(link, is_cut=True)

    def hand_over_late(self, link: BackendConnection, event: EventData) -> None:
        """A copy or touch takes long. The slow path waits for it to its exact deadline."""
        self.hand_over(link)

    def hand_over(
        self,
        link: BackendConnection,
        data: bytes = b"",
        cause: FailureCause | None = None,
        *,
        is_cut: bool = False,
    ) -> None:
        """Have the slow path go on with what is under way here; this has come of the answer, last of all."""
        link.pieces = [*link.pieces, data]
        failure = LinkFailure(link, cause, is_cut)
        if link.client is not None:
            self._fast_router.hand_over.after(link.client, failure)
        elif link.touch is not None:
            self._fast_router.hand_over.touch(link.touch, failure)


def _is_empty(answer: AnswerFrame | None, data: bytes) -> bool:
    """Whether this is a success without content or numbers, and nothing comes after it."""
    return answer == (len(data), 0, None, None)
