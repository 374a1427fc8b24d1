"""The states of a connection of the express lane, and what happens in each: three tables.

A client's connection to a router:

    IDLE ---request begins---> RECEIVING ---it is whole---> WAITING ---answer---> IDLE
                                        no place: QUEUED --^   |                    ^
                         talks out of turn, or leaves: DEAF <--+--short send--> DELIVERING

A client's connection to a state server, which answers at once:

    IDLE ---request begins---> RECEIVING ---it is whole, and answered---> IDLE
                                         short send: DELIVERING --^

A link, which is a connection to a backend:

    IDLE ---request---> READING ---answer---> IDLE
      short send: SENDING --^

or, where its request is the copy of a write, whose client WAITS until all copies are written:

    IDLE ---copy---> READING_COPY ---success---> IDLE
      short send: SENDING_COPY --^

Reactions are methods of relay and origin. What cannot happen in a state, because nothing of the kind is
registered then, is `nothing`: an event that was fetched in the same round may still come by.
"""

from enum import IntEnum


class ClientState(IntEnum):
    """Where a client's connection stands."""

    IDLE = 0
    RECEIVING = 1  # some of a request has come
    QUEUED = 2  # its request is whole, and there is no place at its backend yet
    WAITING = 3  # for its answer
    DEAF = 4  # the same, but the client has left, or has sent more; it is not listened to
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
    OVERDUE = 4  # its time is over: for an ordinary exchange, or for being idle
    LAST_CALL = 5  # to a client: the router is being stopped; to a link: its backend is being ejected


CLIENT_REACTIONS: dict[tuple[ClientState, Signal], str] = {
    (ClientState.IDLE, Signal.DATA): "take_request",
    (ClientState.IDLE, Signal.END): "close_client",
    (ClientState.IDLE, Signal.BROKEN): "close_client",
    (ClientState.IDLE, Signal.ROOM): "nothing",
    (ClientState.IDLE, Signal.OVERDUE): "close_client",
    (ClientState.IDLE, Signal.LAST_CALL): "close_client",
    (ClientState.RECEIVING, Signal.DATA): "take_more_of_request",
    (ClientState.RECEIVING, Signal.END): "close_client",
    (ClientState.RECEIVING, Signal.BROKEN): "close_client",
    (ClientState.RECEIVING, Signal.ROOM): "nothing",
    (ClientState.RECEIVING, Signal.OVERDUE): "hand_over_request",
    (ClientState.RECEIVING, Signal.LAST_CALL): "nothing",  # it is closed after its exchange
    (ClientState.QUEUED, Signal.DATA): "hand_over_queued",
    (ClientState.QUEUED, Signal.END): "hand_over_queued",
    (ClientState.QUEUED, Signal.BROKEN): "hand_over_queued",
    (ClientState.QUEUED, Signal.ROOM): "ask_now",
    (ClientState.QUEUED, Signal.OVERDUE): "hand_over_queued",
    (ClientState.QUEUED, Signal.LAST_CALL): "nothing",
    (ClientState.WAITING, Signal.DATA): "listen_no_more",
    (ClientState.WAITING, Signal.END): "listen_no_more",
    (ClientState.WAITING, Signal.BROKEN): "listen_no_more",
    (ClientState.WAITING, Signal.ROOM): "nothing",
    (ClientState.WAITING, Signal.OVERDUE): "hand_over_late",
    (ClientState.WAITING, Signal.LAST_CALL): "nothing",
    (ClientState.DEAF, Signal.DATA): "nothing",
    (ClientState.DEAF, Signal.END): "nothing",
    (ClientState.DEAF, Signal.BROKEN): "nothing",
    (ClientState.DEAF, Signal.ROOM): "nothing",
    (ClientState.DEAF, Signal.OVERDUE): "hand_over_late",
    (ClientState.DEAF, Signal.LAST_CALL): "nothing",
    (ClientState.DELIVERING, Signal.DATA): "nothing",
    (ClientState.DELIVERING, Signal.END): "nothing",
    (ClientState.DELIVERING, Signal.BROKEN): "nothing",  # sending will tell
    (ClientState.DELIVERING, Signal.ROOM): "deliver_more",
    (ClientState.DELIVERING, Signal.OVERDUE): "close_undelivered_late",
    (ClientState.DELIVERING, Signal.LAST_CALL): "nothing",
    **dict.fromkeys([(ClientState.GONE, signal) for signal in Signal], "nothing"),
}

ORIGIN_REACTIONS: dict[tuple[ClientState, Signal], str] = {
    (ClientState.IDLE, Signal.DATA): "take_request",
    (ClientState.IDLE, Signal.END): "close_silently",
    (ClientState.IDLE, Signal.BROKEN): "close_silently",
    (ClientState.IDLE, Signal.ROOM): "nothing",
    (ClientState.IDLE, Signal.OVERDUE): "close_silently",
    (ClientState.IDLE, Signal.LAST_CALL): "close_silently",
    (ClientState.RECEIVING, Signal.DATA): "take_more_of_request",
    (ClientState.RECEIVING, Signal.END): "close_silently",
    (ClientState.RECEIVING, Signal.BROKEN): "close_silently",
    (ClientState.RECEIVING, Signal.ROOM): "nothing",
    (ClientState.RECEIVING, Signal.OVERDUE): "hand_over_request",
    (ClientState.RECEIVING, Signal.LAST_CALL): "nothing",  # it is closed after its exchange
    (ClientState.DELIVERING, Signal.DATA): "nothing",
    (ClientState.DELIVERING, Signal.END): "nothing",
    (ClientState.DELIVERING, Signal.BROKEN): "nothing",  # sending will tell
    (ClientState.DELIVERING, Signal.ROOM): "deliver_more",
    (ClientState.DELIVERING, Signal.OVERDUE): "close_undelivered_late",
    (ClientState.DELIVERING, Signal.LAST_CALL): "nothing",
    **dict.fromkeys([(ClientState.GONE, signal) for signal in Signal], "nothing"),
}
"""Of a state server's clients. They never wait for an answer, so there are no other states."""

LINK_REACTIONS: dict[tuple[LinkState, Signal], str] = {
    (LinkState.IDLE, Signal.DATA): "close_link",  # it talks without being asked
    (LinkState.IDLE, Signal.END): "close_link",
    (LinkState.IDLE, Signal.BROKEN): "close_link",
    (LinkState.IDLE, Signal.ROOM): "nothing",
    (LinkState.IDLE, Signal.OVERDUE): "close_link",
    (LinkState.IDLE, Signal.LAST_CALL): "close_link",
    (LinkState.SENDING, Signal.DATA): "nothing",  # the await lane sends first and reads then, too
    (LinkState.SENDING, Signal.END): "nothing",
    (LinkState.SENDING, Signal.BROKEN): "nothing",  # sending will tell
    (LinkState.SENDING, Signal.ROOM): "send_more",
    (LinkState.SENDING, Signal.OVERDUE): "nothing",  # its client's exchange is, which is looked at there
    (LinkState.SENDING, Signal.LAST_CALL): "hand_over_cut",
    (LinkState.READING, Signal.DATA): "take_answer",
    (LinkState.READING, Signal.END): "hand_over_ended",
    (LinkState.READING, Signal.BROKEN): "hand_over_broken",
    (LinkState.READING, Signal.ROOM): "nothing",
    (LinkState.READING, Signal.OVERDUE): "nothing",
    (LinkState.READING, Signal.LAST_CALL): "hand_over_cut",
    (LinkState.SENDING_COPY, Signal.DATA): "nothing",
    (LinkState.SENDING_COPY, Signal.END): "nothing",
    (LinkState.SENDING_COPY, Signal.BROKEN): "nothing",
    (LinkState.SENDING_COPY, Signal.ROOM): "send_more",
    (LinkState.SENDING_COPY, Signal.OVERDUE): "hand_over_late",
    (LinkState.SENDING_COPY, Signal.LAST_CALL): "hand_over_cut",
    (LinkState.READING_COPY, Signal.DATA): "take_confirmation",
    (LinkState.READING_COPY, Signal.END): "hand_over_ended",
    (LinkState.READING_COPY, Signal.BROKEN): "hand_over_broken",
    (LinkState.READING_COPY, Signal.ROOM): "nothing",
    (LinkState.READING_COPY, Signal.OVERDUE): "hand_over_late",
    (LinkState.READING_COPY, Signal.LAST_CALL): "hand_over_cut",
    **dict.fromkeys([(LinkState.GONE, signal) for signal in Signal], "nothing"),
}
