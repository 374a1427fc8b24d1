"""The client's end of one connection, kept as the real client keeps its own.

One exchange at a time; opened when it is needed, given up after any failure, and not used again once
it has been idle for a while. A failed exchange is an outcome here, not an exception: a bench is there to
count them.
"""

from dataclasses import dataclass

import trio

from partitioner.bench.counters import Failure
from partitioner.errors import (
    ConnectionBroken,
    ConnectionEnded,
    MalformedAnswer,
    NotListening,
    Unreachable,
)
from partitioner.membership.backend import Address
from partitioner.protocol.grammar import MAX_NUMBER
from partitioner.protocol.messages import AnswerHead, Operation
from partitioner.transport.channel import Channel, Dial
from partitioner.transport.one_exchange import exchange

IDLE_LIFETIME = 5.0
"""Seconds. The real client closes connections that were idle for 5 to 10 s (protocol.md 2); a server may
close them after 15 s, and that would count as a failed exchange."""

_FAILURES: dict[type[Exception], Failure] = {
    NotListening: Failure.REFUSED,
    Unreachable: Failure.UNREACHABLE,
    ConnectionBroken: Failure.RESET,
    ConnectionEnded: Failure.CLOSED,
    trio.TooSlowError: Failure.TIMED_OUT,
    MalformedAnswer: Failure.GARBAGE,
}
_FORESEEN = tuple(_FAILURES)


@dataclass(frozen=True, slots=True)
class Answered:
    """An exchange that was answered. Times are trio's, in seconds."""

    head: AnswerHead
    body: bytes
    began_at: float  # when the request was sent: connecting is not counted as latency
    ended_at: float


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An exchange that failed. Whether the server has carried it out is unknown."""

    failure: Failure
    began_at: float
    ended_at: float


class Connection:
    """One connection after the other to the same address."""

    def __init__(self, address: Address, dial: Dial, timeout: float) -> None:
        """`timeout` is for one exchange, connecting included."""
        self._address = address
        self._dial = dial
        self._timeout = timeout
        self._channel: Channel | None = None
        self._used_at = 0.0
        self.failures_in_a_row = 0

    def __repr__(self) -> str:
        return f"<Connection to {self._address}, {'closed' if self._channel is None else 'open'}>"

    async def exchange(self, operation: Operation, request: bytes) -> Answered | Unanswered:
        """Carry out one exchange; connect first, if need be."""
        began_at = trio.current_time()
        if began_at - self._used_at > IDLE_LIFETIME:
            self.close()
        try:
            with trio.fail_after(self._timeout):
                if self._channel is None:
                    self._channel = await self._dial(self._address)
                    began_at = trio.current_time()
                head, body = await exchange(self._channel, operation, request, MAX_NUMBER)
        except _FORESEEN as error:
            self.close()
            self.failures_in_a_row += 1
            return Unanswered(_FAILURES[type(error)], began_at, trio.current_time())
        self._used_at = trio.current_time()
        self.failures_in_a_row = 0
        return Answered(head, body, began_at, self._used_at)

    def close(self) -> None:
        """Close it, if it is open; the next exchange opens another one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
