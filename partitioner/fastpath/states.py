"""The states of a connection of the fast path, and what happens in each: four tables.

A client's connection to a router:

    IDLE ---request begins---> RECEIVING ---it is whole---> WAITING ---answer---> IDLE
                                        no place: QUEUED --^   |                    ^
                         talks out of turn, or leaves: PAUSED <--+--short send--> DELIVERING

A client's connection to a state server, where it WAITS only until the end of the round:

    IDLE ---request begins---> RECEIVING ---it is whole---> WAITING ---answer---> IDLE
                                                               |                    ^
                                                               +-short send--> DELIVERING

The same with its sessions on an engine, where it WAITS for the engine's replies:

    IDLE ---request begins---> RECEIVING ---it is whole---> WAITING ---answer---> IDLE
                                      has finished sending: PAUSED <-+               ^
                                                               +-short send--> DELIVERING

A link, which is a connection to a backend:

    IDLE ---request---> READING ---answer---> IDLE
      short send: SENDING --^

or, where it is asked after the acting primary has answered (connections.Step), while the client WAITS:

    IDLE ---copy---> READING_COPY ---success---> IDLE
      short send: SENDING_COPY --^

Reactions are methods of the three fast listeners. What cannot happen in a state, because
nothing of the kind is registered then, is `ignore`: an event that was fetched in the same round may still
come by.
"""

from enum import IntEnum


class ClientState(IntEnum):
    """Where a client's connection stands."""

    IDLE = 0
    RECEIVING = 1  # some of a request has come
    QUEUED = 2  # its request is whole, and there is no place at its backend yet
    WAITING = 3  # for its answer
    PAUSED = 4  # the same, but the client has left, or has sent more; it is not listened to
    DELIVERING = 5  # some of an answer was sent
    GONE = 6  # it was closed, or handed over; something of this round may still be told of it


class LinkState(IntEnum):
    """Where a link stands."""

    IDLE = 0
    SENDING = 1  # some of a request was sent
    READING = 2  # all of it was
    SENDING_COPY = 3  # some of a copy was sent
    READING_COPY = 4  # all of it was
    GONE = 5  # as above


COPYING = (LinkState.SENDING_COPY, LinkState.READING_COPY)


class Signal(IntEnum):
    """What may happen to either."""

    DATA = 0
    END = 1  # of file
    BROKEN = 2
    ROOM = 3  # to send more; or at a backend
    TIMED_OUT = 4  # its time is over: for an ordinary exchange, or for being idle
    SHUTDOWN = 5  # to a client: the router is being stopped; to a link: its backend is being ejected


CLIENT_REACTIONS: dict[tuple[ClientState, Signal], str] = {
    (ClientState.IDLE, Signal.DATA): "take_request",
    (ClientState.IDLE, Signal.END): "close_client",
    (ClientState.IDLE, Signal.BROKEN): "close_client",
    (ClientState.IDLE, Signal.ROOM): "ignore",
    (ClientState.IDLE, Signal.TIMED_OUT): "close_client",
    (ClientState.IDLE, Signal.SHUTDOWN): "close_client",
    (ClientState.RECEIVING, Signal.DATA): "take_more_of_request",
    (ClientState.RECEIVING, Signal.END): "close_client",
    (ClientState.RECEIVING, Signal.BROKEN): "close_client",
    (ClientState.RECEIVING, Signal.ROOM): "ignore",
    (ClientState.RECEIVING, Signal.TIMED_OUT): "close_unfinished",
    (ClientState.RECEIVING, Signal.SHUTDOWN): "ignore",  # it is closed after its exchange
    (ClientState.QUEUED, Signal.DATA): "hand_over_queued",
    (ClientState.QUEUED, Signal.END): "hand_over_queued",
    (ClientState.QUEUED, Signal.BROKEN): "hand_over_queued",
    (ClientState.QUEUED, Signal.ROOM): "dispatch_queued",
    (ClientState.QUEUED, Signal.TIMED_OUT): "hand_over_queued",
    (ClientState.QUEUED, Signal.SHUTDOWN): "ignore",
    (ClientState.WAITING, Signal.DATA): "pause",
    (ClientState.WAITING, Signal.END): "pause",
    (ClientState.WAITING, Signal.BROKEN): "pause",
    (ClientState.WAITING, Signal.ROOM): "ignore",
    (ClientState.WAITING, Signal.TIMED_OUT): "hand_over_late",
    (ClientState.WAITING, Signal.SHUTDOWN): "ignore",
    (ClientState.PAUSED, Signal.DATA): "ignore",
    (ClientState.PAUSED, Signal.END): "ignore",
    (ClientState.PAUSED, Signal.BROKEN): "ignore",
    (ClientState.PAUSED, Signal.ROOM): "ignore",
    (ClientState.PAUSED, Signal.TIMED_OUT): "hand_over_late",
    (ClientState.PAUSED, Signal.SHUTDOWN): "ignore",
    (ClientState.DELIVERING, Signal.DATA): "ignore",
    (ClientState.DELIVERING, Signal.END): "ignore",
    (ClientState.DELIVERING, Signal.BROKEN): "ignore",  # sending will tell
    (ClientState.DELIVERING, Signal.ROOM): "deliver_more",
    (ClientState.DELIVERING, Signal.TIMED_OUT): "close_undelivered_late",
    (ClientState.DELIVERING, Signal.SHUTDOWN): "ignore",
    **dict.fromkeys([(ClientState.GONE, signal) for signal in Signal], "ignore"),
}

_ANSWERING: dict[tuple[ClientState, Signal], str] = {
    (ClientState.IDLE, Signal.DATA): "take_request",
    (ClientState.IDLE, Signal.END): "close_silently",
    (ClientState.IDLE, Signal.BROKEN): "close_silently",
    (ClientState.IDLE, Signal.ROOM): "ignore",
    (ClientState.IDLE, Signal.TIMED_OUT): "close_silently",
    (ClientState.IDLE, Signal.SHUTDOWN): "close_silently",
    (ClientState.RECEIVING, Signal.DATA): "take_more_of_request",
    (ClientState.RECEIVING, Signal.END): "close_silently",
    (ClientState.RECEIVING, Signal.BROKEN): "close_silently",
    (ClientState.RECEIVING, Signal.ROOM): "ignore",
    (ClientState.RECEIVING, Signal.TIMED_OUT): "close_unfinished",
    (ClientState.RECEIVING, Signal.SHUTDOWN): "ignore",  # it is closed after its exchange
    (ClientState.DELIVERING, Signal.DATA): "ignore",
    (ClientState.DELIVERING, Signal.END): "ignore",
    (ClientState.DELIVERING, Signal.BROKEN): "ignore",  # sending will tell
    (ClientState.DELIVERING, Signal.ROOM): "deliver_more",
    (ClientState.DELIVERING, Signal.TIMED_OUT): "close_undelivered_late",
    (ClientState.DELIVERING, Signal.SHUTDOWN): "ignore",
    **dict.fromkeys([(ClientState.GONE, signal) for signal in Signal], "ignore"),
}
"""Of clients whose requests are answered here, and by no backend, in all states but while they wait."""

STATE_SERVER_REACTIONS: dict[tuple[ClientState, Signal], str] = _ANSWERING | {
    (ClientState.WAITING, Signal.DATA): "ignore",  # all that has come of a client in a round comes at once
    (ClientState.WAITING, Signal.END): "close_when_answered",
    (ClientState.WAITING, Signal.BROKEN): "ignore",  # sending will tell
    (ClientState.WAITING, Signal.ROOM): "ignore",
    (ClientState.WAITING, Signal.TIMED_OUT): "ignore",
    (ClientState.WAITING, Signal.SHUTDOWN): "close_when_answered",
}
"""Of a state server's clients. Its answers go out at the end of the round, so nothing is queued or paused."""

STORE_REACTIONS: dict[tuple[ClientState, Signal], str] = _ANSWERING | {
    (ClientState.WAITING, Signal.DATA): "keep_for_later",
    (ClientState.WAITING, Signal.END): "note_end",
    (ClientState.WAITING, Signal.BROKEN): "abandon",
    (ClientState.WAITING, Signal.ROOM): "ignore",
    (ClientState.WAITING, Signal.TIMED_OUT): "ignore",  # its exchange ends at its deadline
    (ClientState.WAITING, Signal.SHUTDOWN): "ignore",
    (ClientState.PAUSED, Signal.DATA): "ignore",
    (ClientState.PAUSED, Signal.END): "ignore",
    (ClientState.PAUSED, Signal.BROKEN): "abandon",
    (ClientState.PAUSED, Signal.ROOM): "ignore",
    (ClientState.PAUSED, Signal.TIMED_OUT): "ignore",
    (ClientState.PAUSED, Signal.SHUTDOWN): "ignore",
}
"""Of clients whose sessions are on an engine. A PAUSED one waits, and has finished sending."""

LINK_REACTIONS: dict[tuple[LinkState, Signal], str] = {
    (LinkState.IDLE, Signal.DATA): "close_link",  # it talks without being asked
    (LinkState.IDLE, Signal.END): "close_link",
    (LinkState.IDLE, Signal.BROKEN): "close_link",
    (LinkState.IDLE, Signal.ROOM): "ignore",
    (LinkState.IDLE, Signal.TIMED_OUT): "close_link",
    (LinkState.IDLE, Signal.SHUTDOWN): "close_link",
    (LinkState.SENDING, Signal.DATA): "ignore",  # the slow path sends first and reads then, too
    (LinkState.SENDING, Signal.END): "ignore",
    (LinkState.SENDING, Signal.BROKEN): "ignore",  # sending will tell
    (LinkState.SENDING, Signal.ROOM): "send_more",
    (LinkState.SENDING, Signal.TIMED_OUT): "ignore",  # its client's exchange is, which is looked at there
    (LinkState.SENDING, Signal.SHUTDOWN): "hand_over_cut",
    (LinkState.READING, Signal.DATA): "take_answer",
    (LinkState.READING, Signal.END): "hand_over_ended",
    (LinkState.READING, Signal.BROKEN): "hand_over_broken",
    (LinkState.READING, Signal.ROOM): "ignore",
    (LinkState.READING, Signal.TIMED_OUT): "ignore",
    (LinkState.READING, Signal.SHUTDOWN): "hand_over_cut",
    (LinkState.SENDING_COPY, Signal.DATA): "ignore",
    (LinkState.SENDING_COPY, Signal.END): "ignore",
    (LinkState.SENDING_COPY, Signal.BROKEN): "ignore",
    (LinkState.SENDING_COPY, Signal.ROOM): "send_more",
    (LinkState.SENDING_COPY, Signal.TIMED_OUT): "hand_over_late",
    (LinkState.SENDING_COPY, Signal.SHUTDOWN): "hand_over_cut",
    (LinkState.READING_COPY, Signal.DATA): "take_confirmation",
    (LinkState.READING_COPY, Signal.END): "hand_over_ended",
    (LinkState.READING_COPY, Signal.BROKEN): "hand_over_broken",
    (LinkState.READING_COPY, Signal.ROOM): "ignore",
    (LinkState.READING_COPY, Signal.TIMED_OUT): "hand_over_late",
    (LinkState.READING_COPY, Signal.SHUTDOWN): "hand_over_cut",
    **dict.fromkeys([(LinkState.GONE, signal) for signal in Signal], "ignore"),
}
