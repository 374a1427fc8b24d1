"""Reactions to what happens to links: answers are taken, and what is out of the ordinary is handed over."""

from partitioner.errors import ConnectionBroken, ConnectionEnded
from partitioner.fastpath.connections import BackendConnection, Client, EventData
from partitioner.fastpath.copies import Copies
from partitioner.fastpath.handover import HandOver
from partitioner.fastpath.links import Links
from partitioner.fastpath.recorder import ExchangeRecorder
from partitioner.fastpath.round import Round
from partitioner.fastpath.states import LinkState
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.messages import Operation
from partitioner.protocol.ordinary import AnswerRecogniser, recognise_refusal
from partitioner.transport.backend_connections import HELD_BODY

_HEAD_END = b"\r\n\r\n"
_SENDING, _READING, _READING_COPY = LinkState.SENDING, LinkState.READING, LinkState.READING_COPY
_SET, _REMOVE, _RESET_TIMEOUT = Operation.SET, Operation.REMOVE, Operation.RESET_TIMEOUT


class LinkReactions:
    """What the table of links names."""

    def __init__(
        self,
        round_: Round,
        recorder: ExchangeRecorder,
        links: Links,
        copies: Copies,
        hand_over: HandOver,
        recogniser: AnswerRecogniser,
    ) -> None:
        self._round = round_
        self._reactor = round_.reactor
        self._recorder = recorder
        self._links = links
        self._copies = copies
        self._hand_over = hand_over
        self._recogniser = recogniser
        self.take_confirmation = copies.take_confirmation

    def ignore(self, link: BackendConnection, event: EventData) -> None:
        """It cannot happen, or does not matter."""

    def close_link(self, link: BackendConnection, event: EventData) -> None:
        """An idle link is of no use any more."""
        self._links.close(link)

    def send_more(self, link: BackendConnection, event: EventData) -> None:
        assert link.rest is not None
        self._links.send(link, link.rest, _READING if link.state is _SENDING else _READING_COPY)

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
        answer = self._recogniser.recognise(data)
        client = link.client
        assert client is not None
        if answer is None:
            self._take_other(client, link, data)
            return
        end, size, _, _ = answer
        missing = end + size - len(data)
        if missing > 0 and size <= HELD_BODY and client.operation is not _RESET_TIMEOUT:
            self._await_rest(link, data, missing)
        elif missing or not self._recorder.record(client, link, answer, self._reactor.now):
            self._hand_over.link(link, data)
        else:
            self._pass_on(client, link, data)

    def _await_rest(self, link: BackendConnection, data: bytes, missing: int) -> None:
        link.pieces = [data]
        link.wanted = missing

    def _take_other(self, client: Client, link: BackendConnection, data: bytes) -> None:
        """No success: a refusal, the beginning of something, or something for the slow path to read."""
        status, now = recognise_refusal(data), self._reactor.now
        if status is not None and self._recorder.record_refusal(client, status, now):
            client.link, client.status = None, status
            self._links.free(link, now, status)
            self._round.answers.append((client, data))
        elif _HEAD_END in data or len(data) >= MAX_HEAD_BYTES:
            self._hand_over.link(link, data)
        else:
            self._await_rest(link, data, 0)

    def _pass_on(self, client: Client, link: BackendConnection, data: bytes) -> None:
        """A success is complete and written down: the link is as good as before, and the client gets it."""
        client.link = None
        client.status = 200
        now, route, operation = self._reactor.now, client.route, client.operation
        assert route is not None
        self._links.free(link, now)
        if route.copies and (operation is _SET or operation is _REMOVE):
            self._copies.write(client, route.copies, data, now)
        else:
            self._round.answers.append((client, data))

    # --- out of the ordinary ---

    def hand_over_ended(self, link: BackendConnection, event: EventData) -> None:
        cause = ConnectionEnded("closed the connection in the middle of an exchange")
        self._hand_over.link(link, cause=cause)

    def hand_over_broken(self, link: BackendConnection, event: EventData) -> None:
        reason = event.strerror if isinstance(event, OSError) else None
        self._hand_over.link(link, cause=ConnectionBroken(reason or "closed"))

    def hand_over_cut(self, link: BackendConnection, event: EventData) -> None:
        """Nothing that an ejected backend says reaches a client."""
        self._hand_over.link(link, is_cut=True)

    def hand_over_late(self, link: BackendConnection, event: EventData) -> None:
        """A copy or touch takes long. The slow path waits for it to its exact deadline."""
        self._hand_over.link(link)
