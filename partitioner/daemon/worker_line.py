"""The line between a supervisor and one of its workers: questions one way, replies the other way.

It is a pair of sockets without a name, which only these two processes have, and both run this program. So
values go over it as they are (pickle). Whoever is at the other end, an end of file says that it has ended.
"""

import pickle
import socket
from dataclasses import dataclass
from itertools import count
from struct import Struct
from typing import TypeAlias

import trio

from partitioner.daemon.store import StoreServerOptions
from partitioner.errors import PartitionerError
from partitioner.membership.backend import Network
from partitioner.ops.admin.reports import StoreStatus
from partitioner.ops.event_log import Event
from partitioner.ops.metrics.readings import Readings

_LENGTH = Struct("!Q")
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker is told first."""

    number: int  # from 1
    options: StoreServerOptions
    descriptors: tuple[int, ...]  # of sockets on which it is to listen
    log_as_json: bool
    log_level: str


@dataclass(frozen=True, slots=True)
class Look:
    """Tell how it goes. The reply is a View."""

    since: float  # events that are younger, as Unix time


@dataclass(frozen=True, slots=True)
class View:
    """How a worker is."""

    status: StoreStatus
    readings: Readings
    process: dict[str, float]  # by the names of the catalogue
    exchanges_under_way: int
    events: tuple[Event, ...]  # the oldest first


@dataclass(frozen=True, slots=True)
class Locate:
    """Tell where the session of this key or target is. The reply is a StoreLocation."""

    key: bytes


@dataclass(frozen=True, slots=True)
class ListLocks:
    """Tell which locks are held. The reply is Locks."""


@dataclass(frozen=True, slots=True)
class AcceptLoss:
    """Take the engine as it stands. The reply is whether it has lost sessions."""


@dataclass(frozen=True, slots=True)
class Allow:
    """From now on serve clients of these networks."""

    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop softly, or at once."""

    at_once: bool = False


Question: TypeAlias = Look | Locate | ListLocks | AcceptLoss | Allow | Stop


@dataclass(frozen=True, slots=True)
class Serving:
    """What a worker says first: it listens."""


@dataclass(frozen=True, slots=True)
class CannotServe:
    """What it says instead: why it does not, and will not."""

    reason: str


class LineClosed(Exception):
    """The other end has ended."""


class Line:
    """One end of a line, which sends and receives values."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
        self._sending = trio.Lock()
        self._received = bytearray()

    def close(self) -> None:
        self._stream.socket.close()

    async def send(self, value: object) -> None:
        """Raises LineClosed."""
        data = pickle.dumps(value)
        try:
            async with self._sending:
                await self._stream.send_all(_LENGTH.pack(len(data)) + data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LineClosed from error

    async def receive(self) -> object:
        """The next value. Raises LineClosed."""
        (length,) = _LENGTH.unpack(await self._receive(_LENGTH.size))
        value: object = pickle.loads(await self._receive(length))
        return value

    async def _receive(self, size: int) -> bytes:
        received = self._received
        while len(received) < size:
            try:
                piece = await self._stream.receive_some(_PIECE)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise LineClosed from error
            if not piece:
                raise LineClosed
            received += piece
        data = bytes(received[:size])
        del received[:size]
        return data


class Asker:
    """The supervisor's end: asks several questions at a time, and knows which reply is to which."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._numbers = count()
        self._replies: dict[int, trio.MemorySendChannel[object]] = {}
        self._has_ended = False

    async def ask(self, question: Question) -> object:
        """The reply. Raises LineClosed, or what the worker has replied with where that is a failure."""
        if self._has_ended:
            raise LineClosed
        number = next(self._numbers)
        send, receive = trio.open_memory_channel[object](1)
        self._replies[number] = send
        try:
            await self._line.send((number, question))
            reply = await receive.receive()
        except trio.EndOfChannel as error:
            raise LineClosed from error
        finally:
            self._replies.pop(number, None)
        if isinstance(reply, PartitionerError):
            raise reply
        return reply

    async def run(self) -> None:
        """Take replies in until the worker has ended."""
        try:
            while True:
                number, reply = _numbered(await self._line.receive())
                waiting = self._replies.get(number)
                if waiting is not None:
                    waiting.send_nowait(reply)
        except LineClosed:
            self._has_ended = True
            for each in self._replies.values():
                each.close()


def _numbered(value: object) -> tuple[int, object]:
    assert isinstance(value, tuple)
    number, content = value
    return number, content
