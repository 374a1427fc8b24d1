"""How requests come in: collected until they are whole, and recognised if they are ordinary.

This is what both stations have in common: some of the reactions that the tables of clients name.
"""

from collections.abc import Callable
from typing import TypeAlias

from partitioner.net.conversation import Opening
from partitioner.net.express.connections import Client, News
from partitioner.net.express.states import ClientState
from partitioner.net.express.station import Station
from partitioner.net.upstream import HELD_BODY
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.ordinary import Frame, recognise_frame

_HEAD_END = b"\r\n\r\n"
_RECEIVING = ClientState.RECEIVING

_MOST_REMEMBERED = 256

Serve: TypeAlias = Callable[[Client, bytes, bytes, Frame], bool]
"""Takes a client, its whole request, and of that the target and the frame. Answers whether it was ordinary in
every other respect; if not, nothing has been done about it."""


class Intake:
    """Takes requests in."""

    def __init__(self, station: Station, max_body: int, serve: Serve) -> None:
        self._station = station
        self._largest = min(HELD_BODY, max_body)
        self._serve = serve
        self._frames: dict[bytes, Frame] = {}  # those without numbers

    def take_request(self, client: Client, data: bytes) -> None:
        """The first bytes of a request, mostly all of them."""
        client.began_at = self._station.reactor.now
        self.consider(client, data)

    def take_more_of_request(self, client: Client, data: bytes) -> None:
        client.pieces.append(data)
        client.wanted -= len(data)
        if client.wanted <= 0:
            whole = b"".join(client.pieces)
            client.pieces = []
            self.consider(client, whole)

    def consider(self, client: Client, data: bytes) -> None:
        """Have a request served if it is whole, and ordinary; wait for its rest, or hand it over."""
        end = data.find(_HEAD_END)
        if end < 0:
            if len(data) < MAX_HEAD_BYTES:
                self._await_rest(client, data, 0)
            else:
                self.hand_over(client, data)
            return
        parts = data[: end + 2].split(b" ", 2)
        frame = self._recognise(parts) if len(parts) == 3 else None
        if frame is None or frame[1] > self._largest:
            self.hand_over(client, data)
            return
        missing = end + 4 + frame[1] - len(data)
        if missing > 0:
            self._await_rest(client, data, missing)
        elif missing < 0 or not self._serve(client, data, parts[1], frame):
            self.hand_over(client, data)

    def hand_over(self, client: Client, received: bytes) -> None:
        """Nothing has been done about this request: the await lane begins with its first byte."""
        self._station.give_away(client, Opening(client.began_at, received))

    def hand_over_request(self, client: Client, news: News) -> None:
        """A request takes long to come. The await lane waits for the rest of it."""
        self.hand_over(client, b"".join(client.pieces))

    def _recognise(self, parts: list[bytes]) -> Frame | None:
        joined = parts[0] + parts[2]
        frame = self._frames.get(joined)
        if frame is None:
            frame = recognise_frame(joined)
            if frame is not None and not _has_numbers(frame) and len(self._frames) < _MOST_REMEMBERED:
                self._frames[joined] = frame
        return frame

    def _await_rest(self, client: Client, data: bytes, missing: int) -> None:
        client.state = _RECEIVING
        client.pieces = [data]
        client.wanted = missing


def _has_numbers(frame: Frame) -> bool:
    _, size, _, cookie = frame
    return size > 0 or cookie is not None
