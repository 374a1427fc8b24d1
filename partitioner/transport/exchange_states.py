"""How far an exchange with a backend has come, and what its end means: three tables.

Its progress, which is what we observe:

    NEW ---begin---> SENDING ---all sent---> READING ---bytes---> ANSWERING
                      |   ^
        no more to send   |
                      v   more of the body
                  AWAITING_CLIENT

What we have decided about it meanwhile is another machine: it may GO_ON, be CUT because its backend is being
ejected, or be BROKEN_OFF because the router has stood still. Both together say what becomes of the connection
when there is trouble, and whose fault that was.
"""

from enum import Enum
from typing import NamedTuple

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendReset,
    BackendTooSlow,
    Phase,
)


class Stage(Enum):
    """How far it has come."""

    NEW = "not one byte was written"
    SENDING = "some of the request was written"
    AWAITING_CLIENT = "the same, and the rest has to come from the client"
    ANSWERED_EARLY = "some of the request was written, and some of an answer has come"
    READING = "all of the request was written"
    ANSWERING = "the same, and some of the answer has come"

    __hash__ = object.__hash__  # there is but one of each; Enum's own hash is Python code


class Step(Enum):
    """What brings it on."""

    BEGIN = "the first bytes are written"
    ASK_CLIENT = "all that has come from the client was written"
    HEAR_CLIENT = "more has come from the client"
    SENT = "all of the request was written"
    HEAR = "bytes have come from the backend"

    __hash__ = object.__hash__


PROGRESS: dict[tuple[Stage, Step], Stage] = {
    (Stage.NEW, Step.BEGIN): Stage.SENDING,
    (Stage.SENDING, Step.ASK_CLIENT): Stage.AWAITING_CLIENT,
    (Stage.SENDING, Step.SENT): Stage.READING,
    (
        Stage.SENDING,
        Step.HEAR,
    ): Stage.ANSWERED_EARLY,  # the fast path has read already; the slow path has not
    (Stage.AWAITING_CLIENT, Step.HEAR_CLIENT): Stage.SENDING,
    (Stage.ANSWERED_EARLY, Step.SENT): Stage.ANSWERING,
    (Stage.READING, Step.HEAR): Stage.ANSWERING,
    (Stage.ANSWERING, Step.HEAR): Stage.ANSWERING,
}
"""Nothing else can happen."""

PHASES: dict[Stage, Phase] = {
    Stage.NEW: Phase.CONNECTING,
    Stage.SENDING: Phase.SENDING,
    Stage.AWAITING_CLIENT: Phase.SENDING,
    Stage.ANSWERED_EARLY: Phase.SENDING,
    Stage.READING: Phase.READING,
    Stage.ANSWERING: Phase.READING,
}
"""Which row of the retry table (membership.retry) holds in each."""

ANSWERED = (Stage.ANSWERED_EARLY, Stage.ANSWERING)
"""The connection has shown that it was alive when it was asked."""


class Order(Enum):
    """What we have decided about it."""

    GO_ON = "let it go on"
    CUT = "let nothing more of it reach the client"
    BROKEN_OFF = "the same, and its connection is closed"

    __hash__ = object.__hash__


class Ending(Enum):
    """What became of a leased connection."""

    REUSABLE = "reusable"
    USELESS = "useless"
    STALE = "stale"  # it had been kept idle, and was found dead before a byte was answered
    UNANSWERED = "unanswered"


class Trouble(Enum):
    """Why an exchange ends before its answer is complete."""

    CLOSED = "the backend has closed the connection"
    BROKEN = "the connection is broken"
    FOUND_CLOSED = "one that had been kept idle is found closed"
    FOUND_BROKEN = "one that had been kept idle is found broken"
    LOST = "the network has given the connection up"
    MALFORMED = "the backend has answered something else"
    CLIENT_GONE = "the client has left, or its body does not come"
    ABANDONED = "no client waits for the answer any more"
    STOPPED = "we have decided so"
    LATE = "the time is over, and the backend had a fair chance"
    LATE_FOR_OTHERS = "the time is over, and most of it others have used"

    __hash__ = object.__hash__


class Outcome(NamedTuple):
    """What trouble means."""

    ending: Ending
    failure: type[BackendFailure] | None  # to be raised; None: what was raised goes on
    detail: str = "{}"  # of the failure, to be filled with the error's text


_CLOSED = Outcome(Ending.USELESS, BackendHungUp)
_BROKEN = Outcome(Ending.USELESS, BackendReset, "broke the connection: {}")
# A pooled connection that is found dead says nothing about the backend of today.
_FOUND_CLOSED = Outcome(Ending.STALE, BackendHungUp)
_FOUND_BROKEN = Outcome(Ending.STALE, BackendHungUp, "broke the connection: {}")
_MALFORMED = Outcome(Ending.USELESS, BackendMalformed)
_ABANDONED = Outcome(Ending.UNANSWERED, None)
# What was sent may have arrived, and be carried out later: no end of the connection will tell.
_LOST = Outcome(Ending.UNANSWERED, BackendNotAtFault, "got nothing through any more: {}")
_LEFT = Outcome(Ending.UNANSWERED, BackendNotAtFault, "was left: the router stood still")
_EJECTED = Outcome(Ending.UNANSWERED, BackendEjected, "was ejected")
_LATE = "did not answer in time"

OUTCOMES: dict[tuple[Trouble, Order], Outcome] = {
    (Trouble.CLOSED, Order.GO_ON): _CLOSED,
    (Trouble.CLOSED, Order.CUT): _CLOSED,
    (Trouble.CLOSED, Order.BROKEN_OFF): _CLOSED,
    (Trouble.BROKEN, Order.GO_ON): _BROKEN,
    (Trouble.BROKEN, Order.CUT): _BROKEN,
    (Trouble.BROKEN, Order.BROKEN_OFF): _LEFT,  # by ourselves
    (Trouble.FOUND_CLOSED, Order.GO_ON): _FOUND_CLOSED,
    (Trouble.FOUND_CLOSED, Order.CUT): _FOUND_CLOSED,
    (Trouble.FOUND_CLOSED, Order.BROKEN_OFF): _FOUND_CLOSED,
    (Trouble.FOUND_BROKEN, Order.GO_ON): _FOUND_BROKEN,
    (Trouble.FOUND_BROKEN, Order.CUT): _FOUND_BROKEN,
    (Trouble.FOUND_BROKEN, Order.BROKEN_OFF): _LEFT,
    (Trouble.LOST, Order.GO_ON): _LOST,
    (Trouble.LOST, Order.CUT): _LOST,
    (Trouble.LOST, Order.BROKEN_OFF): _LEFT,
    (Trouble.MALFORMED, Order.GO_ON): _MALFORMED,
    (Trouble.MALFORMED, Order.CUT): _MALFORMED,
    (Trouble.MALFORMED, Order.BROKEN_OFF): _MALFORMED,
    (Trouble.CLIENT_GONE, Order.GO_ON): _ABANDONED,
    (Trouble.CLIENT_GONE, Order.CUT): _ABANDONED,
    (Trouble.CLIENT_GONE, Order.BROKEN_OFF): _ABANDONED,
    (Trouble.ABANDONED, Order.GO_ON): _ABANDONED,
    (Trouble.ABANDONED, Order.CUT): _ABANDONED,
    (Trouble.ABANDONED, Order.BROKEN_OFF): _ABANDONED,
    (Trouble.STOPPED, Order.CUT): _EJECTED,
    (Trouble.STOPPED, Order.BROKEN_OFF): _LEFT,
    (Trouble.LATE, Order.GO_ON): Outcome(Ending.UNANSWERED, BackendTooSlow, _LATE),
    (Trouble.LATE_FOR_OTHERS, Order.GO_ON): Outcome(Ending.UNANSWERED, BackendNotAtFault, _LATE),
}
"""An exchange that may not go on is STOPPED before it can be late."""
