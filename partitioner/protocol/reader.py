"""Bytes in, messages out, without a socket: the reader of either role.

Feed it whatever arrives, in whatever pieces, and ask for events until it has none. One message is

    head            RequestHead or AnswerHead
    BodyPiece ...   as many as it takes; their bytes add up to the head's content_length
    EndOfMessage

and the next message begins where the last one ended, so pipelined requests are read one after the
other. The reader never reads ahead of its caller: what was fed and not asked for waits in the buffer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, Protocol, TypeVar

from partitioner.errors import MalformedAnswer, MalformedRequest
from partitioner.protocol.grammar import MAX_HEAD_BYTES, Dialect, parse_answer_head, parse_request_head
from partitioner.protocol.messages import AnswerHead, Operation, RequestHead


class _Head(Protocol):
    @property
    def content_length(self) -> int: ...


HeadT = TypeVar("HeadT", bound=_Head)


@dataclass(frozen=True, slots=True)
class BodyPiece:
    """The next bytes of a body, never none."""

    data: bytes


class Event(Enum):
    """What a reader says besides heads and pieces."""

    END_OF_MESSAGE = "the message is complete"
    NEED_DATA = "nothing more can be said before more is fed"


class State(Enum):
    """Where in a message a reader stands."""

    HEAD = "in a head, or before one"
    BODY = "in a body"


class Reader(Generic[HeadT]):
    """Turns the bytes of one connection into the events of its messages."""

    __slots__ = ("_buffer", "_parse", "_remaining", "_searched", "_state", "_too_long")

    def __init__(
        self, parse: Callable[[bytes], HeadT], too_long: type[MalformedRequest | MalformedAnswer]
    ) -> None:
        self._parse = parse
        self._too_long = too_long
        self._buffer = bytearray()
        self._state = State.HEAD
        self._searched = 0  # bytes of the buffer known to hold no end of a head
        self._remaining = 0  # bytes of the body still to come

    @property
    def is_between_messages(self) -> bool:
        """Whether the connection could end here without cutting a message off."""
        return self._state is State.HEAD and not self._buffer

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrived from the network."""
        self._buffer += data

    def next_event(self) -> HeadT | BodyPiece | Event:
        """Say what comes next.

        Raises MalformedRequest or MalformedAnswer, by role; the connection cannot be read any further then.
        """
        return self._next_of_head() if self._state is State.HEAD else self._next_of_body()

    def _next_of_head(self) -> HeadT | Event:
        end = self._buffer.find(b"\r\n\r\n", self._searched, MAX_HEAD_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_HEAD_BYTES:
                raise self._too_long(f"a head of more than {MAX_HEAD_BYTES} bytes")
            self._searched = max(0, len(self._buffer) - 3)
            return Event.NEED_DATA
        head = self._parse(self._take(end + 4))
        self._searched = 0
        self._remaining = head.content_length
        self._state = State.BODY
        return head

    def _next_of_body(self) -> BodyPiece | Event:
        if self._remaining == 0:
            self._state = State.HEAD
            return Event.END_OF_MESSAGE
        if not self._buffer:
            return Event.NEED_DATA
        piece = self._take(min(self._remaining, len(self._buffer)))
        self._remaining -= len(piece)
        return BodyPiece(piece)

    def _take(self, count: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return taken


def request_reader(dialect: Dialect) -> Reader[RequestHead]:
    """A reader for the server's end of a connection."""
    return Reader(lambda raw: parse_request_head(raw, dialect), MalformedRequest)


def answer_reader(operation: Operation) -> Reader[AnswerHead]:
    """A reader for the client's end of a connection, for the answer to one request of this operation."""
    if operation is Operation.RESET_TIMEOUT:
        return Reader(_parse_bodyless, MalformedAnswer)
    return Reader(parse_answer_head, MalformedAnswer)


def _parse_bodyless(raw: bytes) -> AnswerHead:
    """The answer to a HEAD has no body, whatever its length field says (protocol.md 10.1.3)."""
    return replace(parse_answer_head(raw), content_length=0)
