"""One exchange on one connection to a backend.

A lease knows how far its exchange has come, and so what may have become of it when it fails. When
it ends it says to the upstream that gave it out what became of the connection: as good as before, of
no use, or, where its request went unanswered, to be watched until its end.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from partitioner.errors import (
    BackendFailure,
    BackendNotAtFault,
    ClientGone,
    ConnectionBroken,
    ConnectionEnded,
    ConnectionLost,
    MalformedAnswer,
    Phase,
)
from partitioner.membership.backend import Backend
from partitioner.protocol.messages import AnswerHead
from partitioner.protocol.reader import BodyPiece, Event, answer_reader
from partitioner.transport.channel import Channel
from partitioner.transport.exchange_states import (
    ANSWERED,
    OUTCOMES,
    PHASES,
    PROGRESS,
    Ending,
    Order,
    Stage,
    Step,
    Trouble,
)
from partitioner.transport.messages import Request, Response
from partitioner.transport.shortcomings import Shortcomings
from partitioner.transport.traffic import Traffic

T = TypeVar("T")

RELAYED = frozenset({200, 400, 404, 423})
"""What a state server says of a session. Anything else, such as the 503 of one that is shutting down,
says nothing of the session, and a client would take it for "not found" (protocol.md 8.2)."""

FAIR_CHANCE = 1.0
"""Seconds that a backend must have had before it is blamed for being late. A client that takes its time
over its request may leave it less."""


class Lease:
    """The use of one connection for one exchange."""

    def __init__(
        self,
        backend: Backend,
        incarnation: bytes,
        channel: Channel,
        request: Request,
        *,
        is_reused: bool,
        traffic: Traffic,
        shortcomings: Shortcomings,
        on_end: Callable[["Lease", Ending], None],
    ) -> None:
        self.backend = backend
        self.incarnation = incarnation
        self.channel = channel
        self.request = request.head
        self._whole_request = request
        self._is_reused = is_reused
        self._traffic = traffic
        self._shortcomings = shortcomings
        self._on_end = on_end
        self._stage = Stage.NEW
        self._order = Order.GO_ON
        self._ending: Ending | None = None
        self._was_lost = False
        self._unsent: bytes | memoryview = b""  # of a request that the fast path has begun to send
        self._reader = answer_reader(request.head.operation)
        self._status = 0  # of the answer, when its head has come
        self._awaits_backend_since = 0.0
        self._scope: trio.CancelScope | None = None

    def __repr__(self) -> str:
        return f"<Lease of {self.backend.name} for a {self.request.operation.value}, {self._phase.value}>"

    @property
    def was_written(self) -> bool:
        """Whether the backend may have seen something of the request."""
        return self._stage is not Stage.NEW

    @property
    def was_broken_off(self) -> bool:
        """Whether its connection is gone, and no end of the backend's was seen.

        It was closed by a decision of ours, or the network gave it up.
        """
        return self._order is Order.BROKEN_OFF or self._was_lost

    @property
    def was_lost(self) -> bool:
        """Whether the network gave its connection up."""
        return self._was_lost

    @property
    def waits_since(self) -> float:
        """Since when the backend has been waited for; infinity while it is not."""
        return self._awaits_backend_since if self._stage is Stage.READING else float("inf")

    @property
    def _phase(self) -> Phase:
        return PHASES[self._stage]

    def cut(self) -> None:
        """Let nothing more of this exchange reach the client: the backend is being ejected."""
        if self._order is Order.GO_ON:
            self._order = Order.CUT

    def wake_cut(self) -> None:
        """Have the exchange notice that it was cut, and go on elsewhere."""
        if self._scope is not None:
            self._scope.cancel()

    def break_off(self) -> None:
        """Close the connection now, whatever is under way: nothing more is sent over it, or taken from it.

        The backend is not to blame. What it has read already it may carry out, and no end of file will tell
        when it has.
        """
        self._order = Order.BROKEN_OFF
        self.wake_cut()
        self.channel.close()

    async def exchange(self, held_body: int) -> Response:
        """Send the request and read its answer, holding a body of up to `held_body` bytes whole.

        Raises BackendFailure, or ClientGone if the client's body stops coming. The lease has ended then,
        and also when a held answer is returned; a longer one ends it when its last piece is read.
        """
        if trio.current_time() >= self._whole_request.deadline:
            self._end(Ending.REUSABLE)
            detail = "was not asked, the time for an answer was over"
            raise BackendNotAtFault(self.backend.identity, self._phase, detail)
        head, body = await self._guarded(self._send_and_read(held_body))
        return self._response(head, body)

    def take_up(self, sent_at: float, unsent: bytes | memoryview, received: bytes) -> None:
        """Go on where the fast path has got to: so much of the request is left, this has been answered."""
        self._advance(Step.BEGIN)
        self._unsent = unsent
        self._awaits_backend_since = sent_at
        if received:
            self._advance(Step.HEAR)
            self._reader.feed(received)
        if not unsent:
            self._advance(Step.SENT)

    async def go_on(self, held_body: int, trouble: ConnectionBroken | ConnectionEnded | None) -> Response:
        """The rest of `exchange` after `take_up`; or its end, if this trouble has befallen the connection."""
        head, body = await self._guarded(self._finish(held_body) if trouble is None else _fail(trouble))
        return self._response(head, body)

    async def read_to_end(self) -> None:
        """Take in what the backend still says on an unanswered connection, until its end of file.

        Raises ConnectionBroken.
        """
        try:
            await self.channel.send_eof()
            while await self.channel.receive():
                pass  # no exchange waits for a late answer
        except ConnectionLost:
            self._was_lost = True
            raise

    async def _send_and_read(self, held_body: int) -> tuple[AnswerHead, bytes | None]:
        """Send the request; read the answer's head, and its body unless that is longer."""
        await self._send()
        return await self._read(held_body)

    async def _finish(self, held_body: int) -> tuple[AnswerHead, bytes | None]:
        """Send what is left of the request; read the answer as above."""
        if self._unsent:
            await trio.lowlevel.checkpoint_if_cancelled()  # an ejected backend is sent nothing more
            await self.channel.send(bytes(self._unsent))
            self._advance(Step.SENT)
        return await self._read(held_body)

    async def _read(self, held_body: int) -> tuple[AnswerHead, bytes | None]:
        head = await self._receive_head()
        return head, await self._receive_body() if head.content_length <= held_body else None

    def _response(self, head: AnswerHead, body: bytes | None) -> Response:
        if body is not None:
            self._end_answered()
            return Response(head, body, backend=self.backend.name)
        return Response(
            head, b"", rest=self._next_piece, finish=self._finish_streaming, backend=self.backend.name
        )

    async def _send(self) -> None:
        self._advance(Step.BEGIN)
        self._awaits_backend_since = trio.current_time()
        request = self._whole_request
        await self.channel.send(request.head.raw + request.body)
        while request.rest is not None:
            self._advance(Step.ASK_CLIENT)
            piece = await request.rest()
            self._advance(Step.HEAR_CLIENT)
            self._awaits_backend_since = trio.current_time()
            if not piece:
                break
            await self.channel.send(piece)
        self._advance(Step.SENT)

    async def _receive_head(self) -> AnswerHead:
        event = await self._next_event()
        assert isinstance(event, AnswerHead)
        if event.status not in RELAYED:
            raise MalformedAnswer(f"answered {event.status}; expected 200, 400, 404 or 423")
        self._status = event.status
        self._shortcomings.look_at(self.request.operation, event)
        return event

    async def _receive_body(self) -> bytes:
        pieces = []
        while isinstance(event := await self._next_event(), BodyPiece):
            pieces.append(event.data)
        return b"".join(pieces)

    async def _next_event(self) -> AnswerHead | BodyPiece | Event:
        while (event := self._reader.next_event()) is Event.NEED_DATA:
            data = await self.channel.receive()
            if not data:
                raise ConnectionEnded("closed the connection in the middle of an exchange")
            self._advance(Step.HEAR)
            self._reader.feed(data)
        return event

    async def _next_piece(self) -> bytes:
        event = await self._guarded(self._next_event())
        if isinstance(event, BodyPiece):
            return event.data
        self._end_answered()
        return b""

    def _finish_streaming(self, was_delivered: bool) -> None:
        if not was_delivered:
            self._end(Ending.USELESS)

    async def _guarded(self, work: Awaitable[T]) -> T:
        """Make a BackendFailure of whatever goes wrong in this; the lease has ended when it is raised.

        Not a context manager, which would cost as much as parsing request and answer.
        """
        try:
            with trio.CancelScope(deadline=self._whole_request.deadline) as self._scope:
                if self._order is not Order.GO_ON:  # since the last piece of an answer
                    self._scope.cancel()
                result = await work
        except ConnectionEnded as error:
            trouble = Trouble.FOUND_CLOSED if self._is_unproven else Trouble.CLOSED
            raise self._failed(trouble, error) from error
        except ConnectionLost as error:
            self._was_lost = True
            raise self._failed(Trouble.LOST, error) from error
        except ConnectionBroken as error:
            trouble = Trouble.FOUND_BROKEN if self._is_unproven else Trouble.BROKEN
            raise self._failed(trouble, error) from error
        except MalformedAnswer as error:
            raise self._failed(Trouble.MALFORMED, error) from error
        except ClientGone:
            self._end(OUTCOMES[Trouble.CLIENT_GONE, self._order].ending)
            raise
        except BaseException:  # mostly a cancellation: the caller has waited long enough
            self._traffic.failed(self._phase)
            self._end(OUTCOMES[Trouble.ABANDONED, self._order].ending)
            raise
        if self._order is not Order.GO_ON:
            raise self._failed(Trouble.STOPPED)
        if self._scope.cancelled_caught:
            raise self._late()
        return result

    @property
    def _is_unproven(self) -> bool:
        """Whether the connection may have been dead before the request was sent over it."""
        return self._is_reused and self._stage not in ANSWERED

    def _late(self) -> BackendFailure | ClientGone:
        """The time is over. The exchange ends; return what to raise."""
        if self._stage is Stage.AWAITING_CLIENT:
            self._end(OUTCOMES[Trouble.CLIENT_GONE, self._order].ending)
            return ClientGone("stalled in the middle of its request")
        had_a_chance = trio.current_time() - self._awaits_backend_since >= FAIR_CHANCE
        return self._failed(Trouble.LATE if had_a_chance else Trouble.LATE_FOR_OTHERS)

    def _failed(self, trouble: Trouble, error: Exception | None = None) -> BackendFailure:
        """The exchange ends, and counts as failed; return what to raise."""
        ending, kind, detail = OUTCOMES[trouble, self._order]
        assert kind is not None
        self._end(ending)
        self._traffic.failed(self._phase)
        return kind(self.backend.identity, self._phase, detail.format(error))

    def _end_answered(self) -> None:
        """The answer is complete: the connection is as good as before, unless more came than was asked."""
        self._traffic.answered(self._status, trio.current_time() - self._awaits_backend_since)
        self._end(Ending.REUSABLE if self._reader.is_between_messages else Ending.USELESS)

    def _advance(self, step: Step) -> None:
        self._stage = PROGRESS[self._stage, step]

    def _end(self, ending: Ending) -> None:
        """A lease ends once; a streamed answer may fail, and then be finished as undelivered as well."""
        if self._ending is None:
            self._ending = ending
            self._on_end(self, ending)


async def _fail(trouble: ConnectionBroken | ConnectionEnded) -> tuple[AnswerHead, bytes | None]:
    raise trouble
