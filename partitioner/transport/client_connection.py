"""The talk with one client, from its first byte to its last: one request at a time, in order.

A connection carries many sessions one after the other (protocol.md 1, fact 11). Whatever goes wrong,
it goes wrong for this client alone: this is the one place where every exception is caught.

What a client sees when something fails is decided here, and there are but two ways: 400 and a close
for a request that no server should see, or a close without a word. Never an invented answer, because a
web server takes any other status for "no such session" and starts an empty one (protocol.md 8.2).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO

import trio

from partitioner.errors import (
    BackendFailure,
    ClientGone,
    ConnectionBroken,
    MalformedRequest,
    NoBackendLeft,
    RouterSuperseded,
    StoreFailure,
)
from partitioner.membership.fencing import RouterConnection
from partitioner.placement.application import spelling_of
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Operation, RequestHead
from partitioner.protocol.reader import BodyPiece, Event, request_reader
from partitioner.protocol.writer import REFUSAL
from partitioner.transport.channel import Channel
from partitioner.transport.limits import BytesInFlight
from partitioner.transport.messages import Request, Responder, Response
from partitioner.transport.observer import Observer

ANSWER_MARGIN = 0.1
"""Seconds before the end of an exchange by which a responder must have answered, so that it is the one
to notice what was late: a deadline that all share does not tell whose fault it was."""

SLOW = 1.0
"""Seconds from which an answered exchange is told of: a thousand times what is usual, so there is no
key for it. Its user has waited for a page; a second may become a timeout soon (`timeouts.exchange`)."""

LINGER = 1.0
LINGER_BYTES = 1024 * 1024
"""How long, and for how many bytes, to go on reading after a refusal. Closing a socket with unread
bytes in it resets the connection, and the client may then never see the 400."""


_SENT_TOGETHER = 64 * 1024
"""Bytes of a body up to which it is copied to be sent with its head; two sends cost more than that."""


@dataclass(slots=True)
class ConversationPolicy:
    """What a client may do, and how long it may take. Times are seconds, sizes bytes.

    All that serve clients share one, on both paths; a reload changes it in place.
    """

    dialect: Dialect
    exchange: float  # a whole exchange, from the first byte of its head
    client_idle: float  # between exchanges
    max_body: int
    held_body: int  # a longer body is handed on while it still comes in
    in_flight: BytesInFlight | None = None  # where held bodies are held against a limit as they come in
    tells_applications: bool = False  # whether what is saved is told of by application, as routers do

    def become(self, other: "ConversationPolicy") -> None:
        """From now on allow what the other one does; what is under way has the time that it had."""
        self.exchange, self.client_idle, self.max_body = other.exchange, other.client_idle, other.max_body
        if self.in_flight is not None and other.in_flight is not None:
            self.in_flight.most = other.in_flight.most


@dataclass(frozen=True, slots=True)
class Opening:
    """What has happened on a connection before a conversation takes it up, in the middle of an exchange."""

    began_at: float  # when the exchange began
    received: bytes  # and not looked at yet
    head: RequestHead | None = None  # of the request under way, if all of it has come
    respond: Callable[[], Awaitable[Response]] | None = None  # to that
    router: RouterConnection | None = None  # what a state server remembers of the connection


def too_late(policy: ConversationPolicy) -> str:
    """Why an exchange is closed whose time is over."""
    return f"the exchange was not over after {policy.exchange:g} s"


HandBack = Callable[[Channel], None]
"""Takes a connection back, between two exchanges."""


class Conversation:
    """One client's connection."""

    def __init__(
        self,
        channel: Channel,
        responder: Responder,
        policy: ConversationPolicy,
        observer: Observer,
        opening: Opening | None = None,
        hand_back: HandBack | None = None,
    ) -> None:
        """With an opening it begins in the middle; with `hand_back` it ends after the next exchange."""
        self._opening = opening
        self._hand_back = hand_back
        self._channel = channel
        self._responder = responder
        self._policy = policy
        self._observer = observer
        self._reader = request_reader(policy.dialect)
        self._idle = trio.CancelScope()
        self._under_way = trio.CancelScope()  # the exchange
        self._why_broken_off: str | None = None
        self._is_ending = False
        self._was_handed_back = False
        self.is_busy = False  # with an exchange
        self._operation: Operation | None = None  # of the exchange under way
        self.router = None if opening is None else opening.router
        if self.router is not None:
            self.router.hand_over(self.break_off)

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._channel.peer

    def end_when_idle(self) -> None:
        """Finish the exchange that is under way, if any, and close the connection after it."""
        self._is_ending = True
        self._idle.cancel()

    def break_off(self, reason: str) -> None:
        """Close the connection now, and give up the exchange that is under way."""
        self._why_broken_off = reason
        self._is_ending = True
        self._idle.cancel()
        self._under_way.cancel()
        self._channel.close()

    async def run(self) -> None:
        """Serve the client until it leaves, idles too long, breaks a rule, or is asked to end."""
        try:
            await self._serve_or_tell_why_not()
        except Exception as error:  # noqa: BLE001 - one client's fault must not end all others
            self._observer.conversation_crashed(self._channel.peer, error)
        finally:
            if not self._was_handed_back:
                self._channel.close()
                if self.router is not None:
                    self.router.forget()

    async def _serve_or_tell_why_not(self) -> None:
        try:
            await self._serve()
        except MalformedRequest as refusal:
            await self._refuse(str(refusal))
        except (ClientGone, ConnectionBroken):
            pass  # the client is gone: no answer can be sent
        except (NoBackendLeft, BackendFailure, RouterSuperseded, StoreFailure) as failure:
            self._observer.exchange_closed(self._channel.peer, self._operation, str(failure))

    async def _serve(self) -> None:
        opening, self._opening = self._opening, None
        while opening is not None or (not self._is_ending and await self._request_begins()):
            self.is_busy = True
            began_at = trio.current_time() if opening is None else opening.began_at
            with trio.move_on_at(began_at + self._policy.exchange) as self._under_way:
                if self._why_broken_off is not None:  # before it was taken up here
                    self._under_way.cancel()
                await self._exchange(began_at, opening)
            self.is_busy = False
            if self._under_way.cancelled_caught:
                reason = self._why_broken_off or too_late(self._policy)
                self._observer.exchange_closed(self._channel.peer, self._operation, reason)
                return
            opening = None
            if self._hand_back is not None and self._reader.is_between_messages and not self._is_ending:
                self._was_handed_back = True
                self._hand_back(self._channel)
                return

    async def _request_begins(self) -> bool:
        """Wait for the first byte of a request; return whether one comes."""
        if not self._reader.is_between_messages:
            await trio.lowlevel.checkpoint()  # a client that pipelines must not keep all others waiting
            return True
        with trio.move_on_after(self._policy.client_idle) as self._idle:
            data = await self._channel.receive()
            self._reader.feed(data)
            return data != b""
        return False

    async def _exchange(self, began_at: float, opening: Opening | None) -> None:
        self._operation = None
        if opening is not None:
            self._reader.feed(opening.received)
        if opening is None or opening.head is None or opening.respond is None:
            head = await self._receive_head()
            self._operation = head.operation
            deadline = began_at + self._policy.exchange - ANSWER_MARGIN
            response = await self._respond(head, deadline)
        else:
            head = opening.head
            self._operation = head.operation
            response = await opening.respond()
        await self._deliver(response)
        duration = trio.current_time() - began_at
        self._observer.exchange_finished(head.operation, response.head.status, duration, head.content_length)
        is_saved = head.operation is Operation.SET and response.head.status == 200
        if is_saved and self._policy.tells_applications:
            self._observer.session_saved(spelling_of(head.target), head.content_length)
        if duration >= SLOW:
            self._observer.exchange_was_slow(self._channel.peer, head.operation, duration, response.backend)

    async def _receive_head(self) -> RequestHead:
        while (event := self._reader.next_event()) is Event.NEED_DATA:
            await self._feed()
        assert isinstance(event, RequestHead)
        if event.content_length > self._policy.max_body:
            raise MalformedRequest(
                f"a body of {event.content_length} bytes; the limit is {self._policy.max_body}"
            )
        return event

    async def _respond(self, head: RequestHead, deadline: float) -> Response:
        """Have the request answered, when a body of ordinary size has come in; a longer one is relayed."""
        if head.content_length > self._policy.held_body:
            return await self._responder(Request(head, b"", self._next_piece, deadline, self))
        in_flight, taken = self._policy.in_flight, 0
        body = BytesIO()  # not a list of pieces: to join them would take the memory of a long one twice
        try:
            while piece := await self._next_piece():
                if in_flight is not None:
                    if not in_flight.take(len(piece)):
                        raise MalformedRequest("too much of other requests is in memory already")
                    taken += len(piece)
                body.write(piece)
            return await self._responder(Request(head, body.getvalue(), None, deadline, self))
        finally:
            body.close()  # a refusal's traceback would keep it for as long as the client is told
            if in_flight is not None:
                in_flight.give_back(taken)

    async def _next_piece(self) -> bytes:
        while (event := self._reader.next_event()) is Event.NEED_DATA:
            await self._feed()
        return event.data if isinstance(event, BodyPiece) else b""

    async def _feed(self) -> None:
        try:
            data = await self._channel.receive()
        except ConnectionBroken as error:  # a reader of the body would take it for a backend's
            raise ClientGone(f"in the middle of a request ({error})") from error
        if not data:
            raise ClientGone("in the middle of a request")
        self._reader.feed(data)

    async def _deliver(self, response: Response) -> None:
        was_delivered = False
        try:
            if response.takes_lock and await self._client_has_left():
                raise ClientGone("before its lock could be handed over")
            if len(response.body) > _SENT_TOGETHER:
                await self._channel.send(response.head.raw)
                await self._channel.send(response.body)
            else:
                await self._channel.send(response.head.raw + response.body)
            if response.rest is not None:
                while piece := await response.rest():
                    await self._channel.send(piece)
            was_delivered = True
        finally:
            response.finish(was_delivered)

    async def _client_has_left(self) -> bool:
        """Look for an end of file without waiting; what else comes in belongs to the next request.

        A client that has only finished sending counts as gone: from here that looks the same, and a lock
        too many released costs less than one too few.
        """
        if self._channel.is_quiet() or not self._reader.is_between_messages:
            return False
        try:
            data = await self._channel.receive()
        except ConnectionBroken:
            return True
        self._reader.feed(data)
        return data == b""

    async def _refuse(self, reason: str) -> None:
        """Answer 400, then let the client finish talking before the connection is closed."""
        self._observer.request_rejected(self._channel.peer, reason)
        try:
            with trio.move_on_after(LINGER):
                await self._channel.send(REFUSAL)
                await self._channel.send_eof()
                left = LINGER_BYTES
                while left > 0 and (data := await self._channel.receive()):
                    left -= len(data)
        except ConnectionBroken:
            pass
