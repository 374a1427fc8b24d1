"""State servers behind in-memory addresses: one that plays a script, and a real one with an incarnation to
lose."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address
from partitioner.ops.admin.key_pages import inventory_of
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Answer, Operation
from partitioner.protocol.target import server_key, target_of
from partitioner.routing.drain import Page
from partitioner.routing.inventory import InventoryPage
from partitioner.sessions.session import Session
from partitioner.sessions.table import SessionTable
from partitioner.transport.client_connection import Conversation, ConversationPolicy
from partitioner.transport.messages import Request, Response
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import StateServer
from tests.doubles.network import MemoryStream, Network
from tests.doubles.sessions import whole

ROUTER_NAME = "router-1"
CANARY_TARGET = b"%2fpartitioner%2frouter-1%2fcanary"
READ_CANARY = b"GET " + CANARY_TARGET + b" HTTP/1.1\r\nHost: partitioner\r\n\r\n"
INCARNATION = b"0123456789abcdef0123456789abcdef"
"""The canary's token in the incarnation in which the first scripted backend is known to its router."""


def incarnation_of(number: int) -> bytes:
    """The same of state-1, state-2 ...: no two memories have one token."""
    return b"%032x" % (int(INCARNATION, 16) + number - 1)


def ok(body: bytes = b"", *fields: bytes) -> bytes:
    """A 200 as stock servers write it; with these fields in the middle, each without its line end."""
    lines = [b"200 OK", b"X-AspNet-Version: 4.0.30319", *fields, b"Cache-Control: private"]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body


NOT_FOUND = (
    b"404 Not Found\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Hear:
    """Read exactly these bytes; others fail the test."""

    data: bytes


@dataclass(frozen=True, slots=True)
class HearEnd:
    """Wait for the end of file; a byte instead fails the test."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Stall:
    """Do nothing for so many seconds."""

    duration: float


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Tear the connection down."""


@dataclass(frozen=True, slots=True)
class ShowCanary:
    """Say which incarnation this is: the one in which this backend is known to its router."""


Step = Hear | HearEnd | Say | ShowCanary | Stall | Close | Reset


def greeting(token: bytes | None = INCARNATION) -> list[Step]:
    """The steps with which every connection begins: the canary is read. None says that there is none."""
    if token is INCARNATION:
        return [Hear(READ_CANARY), ShowCanary()]
    return [Hear(READ_CANARY), Say(NOT_FOUND if token is None else ok(token, b"Timeout: 525600"))]


class ScriptedBackend:
    """Plays one script on each connection; at the end of it, the connection stays open."""

    def __init__(self, network: Network, address: Address, *scripts: Sequence[Step]) -> None:
        """A connection for which no script is left fails the test."""
        self.address = address
        self._scripts = list(scripts)
        self.streams: list[MemoryStream] = []  # in the order in which they were accepted
        self.heard: list[bytes] = []  # on each of them
        network.listen(address, self._serve)

    async def _serve(self, stream: MemoryStream) -> None:
        number = len(self.streams)
        self.streams.append(stream)
        self.heard.append(b"")
        assert number < len(self._scripts), f"connection {number + 1} is one too many"
        with suppress(trio.BrokenResourceError):  # the other end may break a connection off at any time
            for step in self._scripts[number]:
                await self._play(step, number)

    async def _play(self, step: Step, number: int) -> None:
        stream = self.streams[number]
        match step:
            case Hear(data):
                await self._hear(number, data)
            case HearEnd():
                assert await stream.receive_some() == b""
            case Say(data):
                await stream.send_all(data)
            case ShowCanary():
                number_in_pool = int(self.address.host.rpartition(".")[2])
                await stream.send_all(ok(incarnation_of(number_in_pool), b"Timeout: 525600"))
            case Stall(duration):
                await trio.sleep(duration)
            case Close():
                stream.close()
            case Reset():
                stream.reset()

    async def _hear(self, number: int, expected: bytes) -> None:
        heard = b""
        while len(heard) < len(expected):
            data = await self.streams[number].receive_some(len(expected) - len(heard))
            assert data, f"heard {heard!r}, and then the end; expected {expected!r}"
            heard += data
            self.heard[number] += data
            assert expected.startswith(heard), f"heard {heard!r}; expected {expected!r}"


class MemoryStateServer:
    """The project's own state server. It can be killed, frozen and restarted."""

    def __init__(self, network: Network, address: Address, observer: Observer | None = None) -> None:
        self.address = address
        self.requests: list[
            tuple[Operation, bytes]
        ] = []  # carried out in any incarnation: what, and the target
        self.on_canary: Callable[[Operation], None] = lambda operation: None
        self._network = network
        self._observer = observer or Observer()
        self._connections: dict[MemoryStream, trio.CancelScope] = {}
        self._is_frozen = False
        self.is_listing_down = False
        self.start()

    def start(self) -> None:
        """Begin a new, empty incarnation."""
        self._table = SessionTable()
        self._server = StateServer(self._table, self._observer, clock=trio.current_time)
        self._network.listen(self.address, self.serve)

    def fill(self, *, is_full: bool = True) -> None:
        """Have no memory for sessions that are not held yet; or have as much as is wanted."""
        self._table.limit(0 if is_full else None)

    def kill(self) -> None:
        """Die on the spot: connections in which something lies unread are reset, the others closed."""
        self._network.stop_listening(self.address)
        for stream, scope in tuple(self._connections.items()):
            stream.close()
            scope.cancel()
        self.thaw()

    def restart(self) -> None:
        self.kill()
        self.start()

    def go_on_at(self, address: Address) -> None:
        """Listen at another address from now on, with the same memory: the machine has moved."""
        self.kill()
        self.address = address
        self._network.listen(address, self.serve)

    def begin_as_copy_of(self, original: "MemoryStateServer") -> None:
        """Begin a new incarnation with all that another server holds, as the clone of a machine does."""
        self.kill()
        self.start()
        for key, session in original._table.sessions():
            self._table.put_back(key, Session(bytearray(session.record)))

    def freeze(self) -> None:
        """Stop as SIGSTOP does: connections are still taken in, and nothing in them is read or answered."""
        self._is_frozen = True
        for stream in self._connections:
            stream.freeze()
        self._network.nursery.start_soon(self._thaw_at_the_end)

    def thaw(self) -> None:
        """Go on, and work off what lies in the connections."""
        self._is_frozen = False
        for stream in self._connections:
            stream.thaw()

    @property
    def connections(self) -> tuple[MemoryStream, ...]:
        """This server's ends of the connections that it serves."""
        return tuple(self._connections)

    def tell(self, asked: bytes) -> Answer:
        """Carry out a request as if it had come over some connection."""
        asked_whole = whole(asked, deadline=0.0)
        head = asked_whole.head
        return self._table.apply(head, server_key(head.target), asked_whole.body, trio.current_time())

    def maybe_session(self, target: bytes) -> Session | None:
        """The session as it lies there, unless it has expired; to look does not touch it."""
        found = dict(self._table.sessions()).get(server_key(target))
        return None if found is None or found.expires_at < trio.current_time() else found

    def fill_up(self) -> None:
        """Refuse new sessions from now on, for want of memory."""
        self._table._max_memory = 0

    def targets(self) -> list[bytes]:
        """Targets of all that is here, routers' items among them, without touching it."""
        return [target_of(key) for key in self._table.page(0, 1_000_000)[0]]

    def holds(self, target: bytes) -> bool:
        """Whether a session is here, without touching it."""
        return server_key(target) in self._table.page(0, 1_000_000)[0]

    async def list_keys(self, cursor: str | None) -> Page:
        """What its admin port says: the sessions, a few at a time."""
        await trio.lowlevel.checkpoint()
        if self.is_listing_down:
            raise ListingFailed("its admin port refused the connection")
        keys, following = self._table.page(int(cursor or 0), 10)
        targets = tuple(target for key in keys if (target := target_of(key)) != CANARY_TARGET)
        return Page(targets, None if following is None else str(following), self._table.sessions_held)

    async def list_sessions(self, admin: Address, first: bytes) -> InventoryPage:
        """What its admin port says of its inventory, a few sessions at a time."""
        await trio.lowlevel.checkpoint()
        if self.is_listing_down:
            raise ListingFailed("its admin port refused the connection")
        return inventory_of(self._table, first, 10, trio.current_time())

    async def serve(self, stream: MemoryStream) -> None:
        """Serve one connection for as long as this incarnation lasts."""
        if self._is_frozen:
            stream.freeze()
        server, policy = self._server, ConversationPolicy(Dialect.STOCK, 30.0, 30.0, 2**26, 2**26)

        async def respond(request: Request) -> Response:
            if request.head.target == CANARY_TARGET:
                self.on_canary(request.head.operation)
            else:
                self.requests.append((request.head.operation, request.head.target))
            return await server.respond(request)

        conversation = Conversation(stream.channel("router"), respond, policy, self._observer)
        with trio.CancelScope() as self._connections[stream]:
            await conversation.run()
        del self._connections[stream]

    async def _thaw_at_the_end(self) -> None:
        """What is frozen cannot be cancelled either; without this, the test would never end."""
        try:
            await trio.sleep_forever()
        finally:
            self.thaw()
