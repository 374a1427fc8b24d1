"""How requests come in: collected until they are whole, and recognised if they are ordinary.

This is what both listeners have in common: some of the reactions that the tables of clients name.
"""

from collections.abc import Callable
from typing import TypeAlias

from partitioner.fastpath.connections import Client
from partitioner.fastpath.round import ConnectedClients
from partitioner.fastpath.states import ClientState
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.ordinary import Frame, is_ordinary_target, recognise_frame
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.client_connection import ConversationPolicy, Opening

_HEAD_END = b"\r\n\r\n"
_RECEIVING = ClientState.RECEIVING

_SHORT = 256  # bytes: what follows a target, without content
_MOST_REMEMBERED = 256

Serve: TypeAlias = Callable[[Client, bytes, bytes, Frame], bool]
"""Takes a client, its whole request, and of that the target and the frame. Returns whether it was ordinary in
every other respect; if not, nothing has been done about it."""


class RequestCollector:
    """Takes requests in."""

    def __init__(self, clients: ConnectedClients, policy: ConversationPolicy, serve: Serve) -> None:
        self._clients = clients
        self._reactor = clients.reactor
        self._policy = policy
        self._serve = serve
        self._frames: dict[tuple[bytes, bytes], Frame] = {}  # those without numbers

    def take_request(self, client: Client, data: bytes) -> None:
        """What has come of a request from its first byte on, mostly all of it: have it served."""
        if client.state is not _RECEIVING:
            client.began_at = self._reactor.now
        parts = data.split(b" ", 2)
        frame = self._recognise(parts[0], parts[2]) if len(parts) == 3 else None
        if frame is None or frame[2] > HELD_BODY or frame[2] > self._policy.max_body:
            self._take_other(client, data)
            return
        serve, missing = self._serve, frame[1] + frame[2] - len(parts[2])
        if missing > 0 and is_ordinary_target(parts[1]):
            self._await_rest(client, data, missing)
        elif missing or not serve(client, data, parts[1], frame):
            self.hand_over(client, data)

    def take_more_of_request(self, client: Client, data: bytes) -> None:
        client.pieces.append(data)
        client.wanted -= len(data)
        in_flight = self._clients.in_flight
        if client.wanted <= 0:
            whole = b"".join(client.pieces)
            in_flight.give_back(len(whole) - len(data))
            client.pieces = []
            self.take_request(client, whole)
        elif not in_flight.take(len(data)):
            in_flight.used += len(data)  # given back with all its pieces
            self.hand_over(client, b"".join(client.pieces))  # where it is refused

    def _take_other(self, client: Client, data: bytes) -> None:
        """The beginning of a head, or something that is not ordinary."""
        if _HEAD_END in data or len(data) >= MAX_HEAD_BYTES:
            self.hand_over(client, data)
        else:
            self._await_rest(client, data, 0)

    def hand_over(self, client: Client, received: bytes) -> None:
        """Nothing has been done about this request: the slow path begins with its first byte."""
        self._clients.give_away(client, Opening(client.began_at, received))

    def _recognise(self, verb: bytes, rest: bytes) -> Frame | None:
        if len(rest) > _SHORT:
            return recognise_frame(verb, rest)
        both = verb, rest  # and not joined, or GETH and TTP/1.1 were GET and HTTP/1.1
        frame = self._frames.get(both)
        if frame is None:
            frame = recognise_frame(verb, rest)
            if frame is not None and _is_like_many(frame, rest) and len(self._frames) < _MOST_REMEMBERED:
                self._frames[both] = frame
        return frame

    def _await_rest(self, client: Client, data: bytes, missing: int) -> None:
        if not self._clients.in_flight.take(len(data)):
            self.hand_over(client, data)  # where it is refused
            return
        client.state = _RECEIVING
        client.pieces = [data]
        client.wanted = missing


def _is_like_many(frame: Frame, rest: bytes) -> bool:
    """Whether it has no numbers, and nothing comes after it."""
    _, end, size, _, cookie = frame
    return size == 0 and cookie is None and end == len(rest)
