"""What answers requests: a responder is `async (Request) -> Response`.

The router is one, and so is the state server; a process may hold both, and a test may put either
behind the same client.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from partitioner.membership.backend import BackendId
from partitioner.membership.fencing import RouterConnection
from partitioner.membership.pool import Pool
from partitioner.protocol.messages import AnswerHead, RequestHead

Pieces = Callable[[], Awaitable[bytes]]
"""Returns the next bytes of a body that is still coming in; none at all means that it is complete."""


class Caller(Protocol):
    """The connection that a request has come over."""

    router: RouterConnection | None
    """What a state server remembers of it; None unless a router has read a canary over it."""

    def break_off(self, reason: str) -> None:
        """Close the connection now, and give up the exchange that is under way."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a head, and a body that is here whole or has just begun."""

    head: RequestHead
    body: bytes  # all of it, or what comes before `rest`
    rest: Pieces | None
    deadline: float  # by when it must be answered, in trio's time
    caller: Caller | None = None  # None where no connection is behind it

    @property
    def is_whole(self) -> bool:
        """Whether it could be sent a second time."""
        return self.rest is None


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """The state server that gave an answer, and how it was asked."""

    server: BackendId  # its identity
    pool: Pool  # under which
    sent_at: float
    passed_over: BackendId | None = None  # the first choice, where that was out of use for this session


@dataclass(frozen=True, slots=True)
class Response:
    """One answer: its bytes, all here or just begun, and who wants to know how it ended."""

    head: AnswerHead
    body: bytes
    rest: Pieces | None = None
    takes_lock: bool = False  # if it does not arrive, the lock has to be given back
    finish: Callable[[bool], None] = lambda was_delivered: None
    """Called once, with whether the answer was handed to the network whole."""
    backend: str = ""  # the name of the one that gave it, if any did
    answered_by: AnsweredBy | None = (
        None  # None where a router answers in its own words, or for another server
    )

    @property
    def status(self) -> int:
        return self.head.status


@dataclass(frozen=True, slots=True)
class BegunExchange:
    """An exchange with a backend that the fast path has begun, and how to get to its end."""

    sent_at: float
    finish: Callable[[], Awaitable[Response]]
    """Is called exactly once; raises BackendFailure, like any exchange."""


Responder = Callable[[Request], Awaitable[Response]]
"""Raises PartitionerError to have the client's connection closed instead of an answer."""
