"""A stock state server as the router meets it: the table of protocol.md 6, and a process around it.

It hangs up without a word on what it does not take (protocol.md 3.3), works requests off one at a time
on each connection, and closes when it reads an end of file. What a frozen one finds in its sockets
when it thaws is carried out late, each connection at its own time, so in any order between them.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import trio

from partitioner.errors import ListingFailed, MalformedRequest
from partitioner.membership.backend import Address
from partitioner.ops.admin.key_pages import inventory_of
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Answer, RequestHead
from partitioner.protocol.reader import BodyPiece, Event, Reader, request_reader
from partitioner.protocol.target import server_key, target_of
from partitioner.protocol.writer import write_answer
from partitioner.routing.drain import Page
from partitioner.routing.inventory import InventoryPage
from partitioner.sessions.session import Session
from partitioner.sessions.table import SessionTable
from tests.doubles.network import MemoryStream, Network
from tests.simulation.seeded import ActorRandom

SOCKET_TIMEOUT = 15.0  # protocol.md 2


@dataclass(frozen=True, slots=True)
class Manner:
    """How a server behaves just now. Durations are seconds, drawn anew for each request."""

    pause: tuple[float, float] = (0.0002, 0.004)  # before a request is carried out, and before its answer
    stalled: float = 0.0  # how often a connection stalls before its request is carried out
    stall: tuple[float, float] = (0.2, 2.5)
    broken_before: float = 0.0  # how often a connection is reset before its request is carried out
    broken_after: float = 0.0  # after that, without an answer
    broken_within: float = 0.0  # in the middle of the answer


WELL = Manner()

PAGE = 3
"""Sessions on a page of a listing: few, so that a walk takes several."""

OWN_ITEMS = b"partitioner"
"""What the targets of the items that routers keep for themselves contain, and those of sessions do not."""


def later(table: SessionTable, by: float) -> SessionTable:
    """A copy of a table in which everything happened so many seconds later, as a state file keeps it."""
    copy = SessionTable()
    for key, session in table.sessions():
        moved = Session(bytearray(session.record))
        moved.slot = None
        moved.expires_at += by
        if moved.locked_since is not None:
            moved.locked_since += by
        copy.put_back(key, moved)
    return copy


class StockServer:
    """One state server and its process.

    Its memory is the table; name and address are what somebody has called it, and where it listens just now.
    """

    def __init__(self, network: Network, name: str, address: Address, rng: ActorRandom) -> None:
        self.name = name
        self.address = address
        self.table = SessionTable()
        self.old_until = float("-inf")  # until when nobody can have noticed that its memory is an old one
        self.clock_behind = 0.0  # seconds for which its clock has stood still so far
        self.manner = WELL
        self.is_running = False
        self._network = network
        self._rng = rng
        self._connections: dict[MemoryStream, trio.CancelScope] = {}
        self._thawed: trio.Event | None = None  # set while it is frozen
        self.on_applied: Callable[[RequestHead, Answer], None] = lambda head, answer: None

    def start(self, table: SessionTable | None = None) -> None:
        """Begin to serve: with an empty table, or with one that was kept in a file."""
        self.table = SessionTable() if table is None else table
        self.is_running = True
        self.listen()

    def listen(self) -> None:
        self._network.listen(self.address, self._serve)

    def refuse(self) -> None:
        """Take no new connections."""
        self._network.stop_listening(self.address)

    def move_to(self, address: Address) -> None:
        """Have its next process listen elsewhere."""
        assert not self.is_running
        self.address = address

    def kill(self) -> None:
        """Die on the spot."""
        self.refuse()
        self.is_running = False
        for stream, scope in tuple(self._connections.items()):
            scope.cancel()
            stream.close()
        self._connections.clear()
        self.thaw()

    def freeze(self) -> None:
        if self._thawed is None:
            self._thawed = trio.Event()

    def thaw(self) -> None:
        if self._thawed is not None:
            self._thawed.set()
            self._thawed = None

    @property
    def is_frozen(self) -> bool:
        return self._thawed is not None

    def look_at(self, key: bytes, now: float) -> Session | None:
        """The session of this key, if it has it: looked at without being touched."""
        record = self.table._records.maybe_record(key)
        if record is None:
            return None
        session = Session(record)
        session.expires_at += self.clock_behind
        return session if session.expires_at >= now else None

    async def list_keys(self, cursor: str | None) -> Page:
        """What its admin port says: the sessions, a few at a time."""
        await trio.lowlevel.checkpoint()
        if not self.is_running or self.is_frozen:
            raise ListingFailed("its admin port cannot be reached")
        keys, following = self.table.page(int(cursor or 0), PAGE)
        targets = tuple(target for key in keys if OWN_ITEMS not in (target := target_of(key)))
        return Page(targets, None if following is None else str(following), len(self.table))

    async def list_sessions(self, first: bytes) -> InventoryPage:
        """What its admin port says of its inventory, two sessions at a time, some time after it was asked."""
        await trio.sleep(self._rng.uniform(0.0, 0.5))
        if not self.is_running or self.is_frozen:
            raise ListingFailed("its admin port cannot be reached")
        return inventory_of(self.table, first, 2, self._now())

    def reset_connections(self) -> None:
        """Tear down every connection there is; the process lives on."""
        for stream in tuple(self._connections):
            stream.reset()

    async def _serve(self, stream: MemoryStream) -> None:
        with trio.CancelScope() as scope:
            self._connections[stream] = scope
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._converse(stream)
        stream.close()
        self._connections.pop(stream, None)

    async def _converse(self, stream: MemoryStream) -> None:
        reader = request_reader(Dialect.STOCK)
        while (request := await self._next_request(stream, reader)) is not None:
            head, body = request
            await self._do_something(*self.manner.pause)
            if self._rng.happens(self.manner.stalled):
                await self._do_something(*self.manner.stall)
            if self._rng.happens(self.manner.broken_before):
                stream.reset()
                return
            answer = self.table.apply(head, server_key(head.target), body, self._now())
            self.on_applied(head, answer)
            written = write_answer(answer)
            await self._do_something(*self.manner.pause)
            if self._rng.happens(self.manner.broken_after):
                stream.reset()
                return
            if self._rng.happens(self.manner.broken_within):
                await stream.send_all(written[: self._rng.randrange(1, len(written))])
                stream.reset()
                return
            await stream.send_all(written)

    async def _next_request(
        self, stream: MemoryStream, reader: Reader[RequestHead]
    ) -> tuple[RequestHead, bytes] | None:
        """The next request on a connection; None at its end, or where a stock server hangs up."""
        head: RequestHead | None = None
        body = b""
        while True:
            try:
                event = reader.next_event()
            except MalformedRequest:
                return None
            match event:
                case RequestHead():
                    head = event
                case BodyPiece(data):
                    body += data
                case Event.END_OF_MESSAGE:
                    assert head is not None
                    return head, body
                case Event.NEED_DATA:
                    data = b""
                    with trio.move_on_after(SOCKET_TIMEOUT):
                        data = await stream.receive_some()
                    if self.is_frozen:
                        await self._do_something(0.0, 0.05)
                    if not data:
                        return None
                    reader.feed(data)

    def _now(self) -> float:
        return trio.current_time() - self.clock_behind

    async def _do_something(self, least: float, most: float) -> None:
        """Take some time; more of it if the process is frozen meanwhile."""
        await trio.sleep(self._rng.uniform(least, most))
        while self._thawed is not None:
            await self._thawed.wait()
            await trio.sleep(self._rng.uniform(0.0, 0.05))
