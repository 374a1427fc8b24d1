"""Reactions to what happens to links: sends requests to backends, and takes their answers."""

import socket
from typing import TYPE_CHECKING

from partitioner.errors import ConnectionBroken, ConnectionEnded
from partitioner.fastpath.connections import Client, Link, News
from partitioner.fastpath.copies import Copies
from partitioner.fastpath.handover import Mishap, Trouble
from partitioner.fastpath.recorder import Books
from partitioner.fastpath.routes import Siding
from partitioner.fastpath.states import LinkState
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.messages import Operation
from partitioner.protocol.ordinary import AnswerFrame, recognise_answer, recognise_refusal
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.sockets import close_in_order

if TYPE_CHECKING:
    from partitioner.fastpath.router import Relay

_HEAD_END = b"\r\n\r\n"
_IDLE, _SENDING, _READING = LinkState.IDLE, LinkState.SENDING, LinkState.READING
_READING_COPY = LinkState.READING_COPY
_UNSENT = {_READING: _SENDING, _READING_COPY: LinkState.SENDING_COPY}
_SET, _REMOVE, _RESET_TIMEOUT = Operation.SET, Operation.REMOVE, Operation.RESET_TIMEOUT

_SHORT = 256  # bytes: an answer without content
_MOST_REMEMBERED = 64


class LinkReactions:
    """What the table of links names."""

    def __init__(self, relay: "Relay", books: Books) -> None:
        self._relay = relay
        self._books = books
        self._empty_answers: dict[bytes, AnswerFrame] = {}  # those without content or numbers, whole
        self._copies = Copies(relay, books, self)
        self.touch = self._copies.touch
        self.give_up = self._copies.give_up
        self.take_confirmation = self._copies.take_confirmation

    def nothing(self, link: Link, news: News) -> None:
        """It cannot happen, or does not matter."""

    # --- links that nobody uses ---

    def adopt(self, siding: Siding) -> bool:
        """Take over a connection that the await lane has left idle; answer whether there was one."""
        upstream = siding.upstream
        channel = upstream.maybe_idle_channel()
        if channel is None or upstream.life is None:
            return False
        connected = channel.maybe_detach()
        if connected is None:
            return False
        link = Link(connected, siding, upstream.life, self._relay.reactor.now)
        siding.links[link] = None
        siding.idle_links.append(link)
        self._relay.reactor.register(link)
        return True

    def let_go(self, link: Link) -> socket.socket:
        """Forget a link; answer its socket."""
        del link.siding.links[link]
        if link.state is _IDLE:
            link.siding.idle_links.remove(link)
        link.state = LinkState.GONE
        return self._relay.reactor.let_go(link)

    def close_link(self, link: Link, news: News = b"") -> None:
        """Close a link that nobody uses."""
        close_in_order(self.let_go(link))

    # --- requests ---

    def send(self, link: Link, data: bytes | memoryview, state: LinkState = _READING) -> None:
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
                self._relay.reactor.await_data(link)
            return
        link.state = _UNSENT[state]
        if link.rest is None:
            self._relay.reactor.await_room(link)
        link.rest = memoryview(data)[sent:]

    def send_more(self, link: Link, news: News) -> None:
        assert link.rest is not None
        self.send(link, link.rest, _READING if link.state is _SENDING else _READING_COPY)

    # --- answers ---

    def take_answer(self, link: Link, data: bytes) -> None:
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
        elif missing or not self._books.note(client, link, answer, self._relay.reactor.now):
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

    def _await_rest(self, link: Link, data: bytes, missing: int) -> None:
        link.pieces = [data]
        link.wanted = missing

    def _take_other(self, client: Client, link: Link, data: bytes) -> None:
        """No success: a refusal, the beginning of something, or something for the await lane to read."""
        status, now = recognise_refusal(data), self._relay.reactor.now
        if status is not None and self._books.note_refusal(client, status, now):
            client.link, client.status = None, status
            self.free(link, now, status)
            self._relay.answers.append((client, data))
        elif _HEAD_END in data or len(data) >= MAX_HEAD_BYTES:
            self.hand_over(link, data)
        else:
            self._await_rest(link, data, 0)

    def _pass_on(self, client: Client, link: Link, data: bytes) -> None:
        """A success is complete and written down: the link is as good as before, and the client gets it."""
        client.link = None
        client.status = 200
        now, route, operation = self._relay.reactor.now, client.route, client.operation
        assert route is not None
        self.free(link, now)
        if route.copies and (operation is _SET or operation is _REMOVE):
            self._copies.write(client, route.copies, data, now)
        else:
            self._relay.answers.append((client, data))

    def free(self, link: Link, now: float, status: int = 200) -> None:
        """An exchange is over on this link."""
        siding = link.siding
        siding.upstream.traffic.answered(status, now - link.since)
        link.state = _IDLE
        link.since = now
        link.client = link.touch = None
        siding.idle_links.append(link)
        siding.places.give_back()

    # --- out of the ordinary ---

    def hand_over_ended(self, link: Link, news: News) -> None:
        trouble = ConnectionEnded("closed the connection in the middle of an exchange")
        self.hand_over(link, trouble=trouble)

    def hand_over_broken(self, link: Link, news: News) -> None:
        reason = news.strerror if isinstance(news, OSError) else None
        self.hand_over(link, trouble=ConnectionBroken(reason or "closed"))

    def hand_over_cut(self, link: Link, news: News) -> None:
        """Nothing that an ejected backend says reaches a client."""
        self.hand_over(link, is_cut=True)

    def hand_over_late(self, link: Link, news: News) -> None:
        """A copy or touch takes long. The await lane waits for it to its exact deadline."""
        self.hand_over(link)

    def hand_over(
        self, link: Link, data: bytes = b"", trouble: Trouble | None = None, *, is_cut: bool = False
    ) -> None:
        """Have the await lane go on with what is under way here; this has come of the answer, last of all."""
        link.pieces = [*link.pieces, data]
        mishap = Mishap(link, trouble, is_cut)
        if link.client is not None:
            self._relay.hand_over.after(link.client, mishap)
        elif link.touch is not None:
            self._relay.hand_over.touch(link.touch, mishap)


def _is_empty(answer: AnswerFrame | None, data: bytes) -> bool:
    """Whether this is a success without content or numbers, and nothing comes after it."""
    return answer == (len(data), 0, None, None)
