"""A network in memory: addresses, connections, and what goes wrong with them, in virtual time.

trio's own memory streams can be neither reset nor frozen nor filled up, and cannot be looked into; so
these are streams of our own, which behave like sockets where the package can tell the difference:

- closing with unread bytes resets the connection, and a reset discards what was not read yet;
- the first bytes sent to a closed end vanish, the next ones fail;
- a sender waits while too much lies unread.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

import trio

from partitioner.errors import NotListening, Unreachable
from partitioner.membership.backend import Address
from partitioner.transport.channel import Channel

WINDOW = 128 * 1024
"""Bytes that may lie unread before the sender has to wait; more than is ever sent in one piece of a body."""

_MOST_AT_ONCE = 64 * 1024


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection."""

    def __init__(self) -> None:
        self.peer: MemoryStream
        self._unread = bytearray()
        self._has_ended = False  # the peer has said that it sends nothing more
        self._has_sent_eof = False
        self._was_reset = False
        self._is_closed = False
        self._is_frozen = False
        self._sent_into_nothing = False
        self._reset_after: int | None = None  # bytes
        self._changed = trio.lowlevel.ParkingLot()

    # --- what a Channel needs ---

    def channel(self, peer: str) -> Channel:
        """A channel over this end."""
        return Channel(self, peer, self.is_readable, self.close)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            while not self.is_readable() and not self._is_closed:
                await self._changed.park()
        finally:
            await self._thawed()
        self._check_usable()
        data = bytes(self._unread[: max_bytes or _MOST_AT_ONCE])
        del self._unread[: len(data)]
        self.peer._changed.unpark_all()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        await self._thawed()
        rest = bytes(data)
        while rest:
            self._check_usable()
            if self._has_sent_eof:
                raise trio.ClosedResourceError
            if self.peer._is_closed:
                self._send_into_nothing()
                return
            sent = rest[: self._room()]
            rest = rest[len(sent) :]
            self.peer._arrive(sent)
            if self._reset_after is not None:
                self._reset_after -= len(sent)
                if self._reset_after == 0:
                    self._break()
            elif not sent:
                await self._changed.park()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._thawed()
        self._check_usable()
        self._end_sending()

    def is_readable(self) -> bool:
        return bool(self._unread) or self._has_ended or self._was_reset

    def close(self) -> None:
        if self._is_closed:
            return
        if self._unread:
            self.peer._suffer_reset()
        self._end_sending()
        self._is_closed = True
        self._wake_all()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    # --- what tests do to a connection ---

    def reset(self) -> None:
        """Tear the connection down, as the death of a process with unread bytes does."""
        self.peer._suffer_reset()
        self._is_closed = True
        self._wake_all()

    def reset_after(self, count: int) -> None:
        """Let so many more bytes of this end through, then break the connection for both."""
        self._reset_after = count

    def freeze(self) -> None:
        """Let the process at this end do nothing, while its kernel goes on taking bytes in for it."""
        self._is_frozen = True

    def thaw(self) -> None:
        self._is_frozen = False
        self._wake_all()

    @property
    def is_abandoned(self) -> bool:
        """Whether the other end is closed; one that has sent its end of file and still reads is not."""
        return self.peer._is_closed

    async def wait_until_abandoned(self) -> None:
        while not self.is_abandoned:
            await self._changed.park()

    # --- how it works ---

    def _room(self) -> int:
        room = max(0, WINDOW - len(self.peer._unread))
        return room if self._reset_after is None else min(room, self._reset_after)

    def _arrive(self, data: bytes) -> None:
        self._unread += data
        self._changed.unpark_all()

    def _send_into_nothing(self) -> None:
        """The first bytes are sent in good faith; the answer to them says that no server is there."""
        if self._sent_into_nothing:
            raise trio.BrokenResourceError("the other end is closed")
        self._sent_into_nothing = True

    def _end_sending(self) -> None:
        self._has_sent_eof = True
        self.peer._has_ended = True
        self.peer._changed.unpark_all()

    def _break(self) -> None:
        self._suffer_reset()
        self.peer._suffer_reset()

    def _suffer_reset(self) -> None:
        self._was_reset = True
        self._unread.clear()
        self._changed.unpark_all()

    def _wake_all(self) -> None:
        self._changed.unpark_all()
        self.peer._changed.unpark_all()

    def _check_usable(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError
        if self._was_reset:
            raise trio.BrokenResourceError("the connection was reset")

    async def _thawed(self) -> None:
        """Nothing goes on in a frozen process, not even a time-out that strikes meanwhile."""
        if not self._is_frozen:
            return
        with trio.CancelScope(shield=True):
            while self._is_frozen:
                await self._changed.park()


def connection() -> tuple[MemoryStream, MemoryStream]:
    """The two ends of a new connection."""
    near, far = MemoryStream(), MemoryStream()
    near.peer, far.peer = far, near
    return near, far


class Fault(Enum):
    """What becomes of an attempt to connect."""

    REFUSE = "nobody listens"
    UNREACHABLE = "no way leads there"
    HANG = "nothing comes back at all"
    ACCEPT_THEN_CLOSE = "connected, and closed at once"


@dataclass(frozen=True, slots=True)
class ResetAfter:
    """The connection is made, and breaks when so many bytes have been sent on it by who made it."""

    count: int


Server = Callable[[MemoryStream], Awaitable[None]]
"""Serves one connection; it closes it or leaves it open."""


class Network:
    """Who listens where. `dial` fits transport.channel.Dial."""

    def __init__(self, nursery: trio.Nursery) -> None:
        """What listens serves its connections in the nursery; a fault of it ends the test."""
        self.nursery = nursery
        self._servers: dict[Address, Server] = {}
        self._once: dict[Address, deque[Fault | ResetAfter]] = {}
        self._always: dict[Address, Fault | ResetAfter] = {}
        self._aliases: dict[Address, Address] = {}
        self.dialled: list[tuple[float, Address]] = []  # when and where
        self._next_dial = trio.Event()

    def alias(self, name: Address, address: Address) -> None:
        """Have a name lead to an address."""
        self._aliases[name] = address

    def resolve(self, address: Address) -> Address:
        """The address that a name stands for; an address stands for itself."""
        return self._aliases.get(address, address)

    async def dial(self, address: Address) -> Channel:
        """Connect to what listens there, unless a fault stands in the way."""
        self.dialled.append((trio.current_time(), address))
        self._next_dial.set()
        self._next_dial = trio.Event()
        await trio.lowlevel.checkpoint()
        address = self.resolve(address)
        queue = self._once.get(address)
        fault = queue.popleft() if queue else self._always.get(address)
        near, far = connection()
        match fault:
            case Fault.HANG:
                await trio.sleep_forever()
            case Fault.UNREACHABLE:
                raise Unreachable("cannot be reached: No route to host")
            case Fault.ACCEPT_THEN_CLOSE:
                far.close()
                return near.channel(str(address))
            case ResetAfter(count):
                near.reset_after(count)
        server = self._servers.get(address)
        if server is None or fault is Fault.REFUSE:
            raise NotListening("refused the connection")
        self.nursery.start_soon(server, far)
        return near.channel(str(address))

    async def wait_for_dial(self) -> None:
        """Wait until a connection is tried."""
        await self._next_dial.wait()

    def listen(self, address: Address, server: Server) -> None:
        self._servers[address] = server

    def stop_listening(self, address: Address) -> None:
        self._servers.pop(address, None)

    def disturb_once(self, address: Address, *faults: Fault | ResetAfter) -> None:
        """Have the next attempts to connect meet these faults, one each."""
        self._once.setdefault(address, deque()).extend(faults)

    def disturb(self, address: Address, fault: Fault | ResetAfter) -> None:
        """Have all attempts to connect meet this fault, until `calm`."""
        self._always[address] = fault

    def calm(self, address: Address) -> None:
        self._always.pop(address, None)
        self._once.pop(address, None)
