"""What the fast path knows of one connection: a client's, or a link to a backend."""

import socket
from typing import TypeAlias

from partitioner.fastpath.routes import BackendLinks, Route
from partitioner.fastpath.states import ClientState, LinkState
from partitioner.membership.fencing import RouterConnection
from partitioner.membership.pool import Pool
from partitioner.protocol.messages import Operation

_GET, _ACQUIRE = Operation.GET, Operation.ACQUIRE  # looking up a member of an Enum takes its time

EventData: TypeAlias = bytes | OSError
"""What comes with a signal: the data, or how the connection broke."""


class Client:
    """A client's connection, and its exchange if there is one under way."""

    __slots__ = (
        "ahead",
        "answer",
        "backend_links",
        "began_at",
        "copying",
        "descriptor",
        "link",
        "minutes",
        "operation",
        "peer",
        "pieces",
        "pool",
        "request",
        "rest",
        "route",
        "router",
        "send",
        "sent_at",
        "size",
        "socket",
        "state",
        "status",
        "wanted",
    )

    def __init__(self, connected: socket.socket, peer: str, now: float) -> None:
        self.socket = connected
        self.descriptor = connected.fileno()
        self.send = connected.send  # and not by descriptor: a closed one may be somebody else's by now
        self.peer = peer
        self.state = ClientState.IDLE
        self.began_at = now  # the exchange; or being idle
        self.router: RouterConnection | None = None  # what a state server remembers of it
        # While a request comes in:
        self.pieces: list[bytes] = []
        self.wanted = 0  # bytes of it that are still to come; 0 while its head is not whole
        # While there is an exchange:
        self.request = b""
        self.size = 0  # of the content
        self.minutes: bytes | None = None
        self.operation = _GET
        self.route: Route | None = None
        self.pool: Pool | None = None  # under which it began
        self.link: BackendConnection | None = None
        self.backend_links: BackendLinks | None = None  # in whose queue it waits
        self.answer = b""  # which it gets when all copies are written
        self.copying: list[BackendConnection] = []  # on which copies are being written
        self.sent_at = 0.0
        self.status = 0  # of the answer
        self.ahead: bytes | None = None  # what a PAUSED client has sent out of turn; nothing if it has left
        self.rest: memoryview | None = None  # of the answer, while DELIVERING

    @property
    def has_been_granted(self) -> bool:
        """Whether its answer hands a lock over."""
        return self.operation is _ACQUIRE and self.status == 200

    def __repr__(self) -> str:
        return f"<Client {self.peer}, {self.state.name}>"


class Touch:
    """A touch of the copies of a session, by which they live on like their primary."""

    __slots__ = ("copying", "request", "route")

    def __init__(self, route: Route, request: bytes) -> None:
        self.route = route
        self.request = request
        self.copying: list[BackendConnection] = []  # on which it is under way

    def __repr__(self) -> str:
        return f"<Touch, {len(self.copying)} under way>"


class BackendConnection:
    """A connection to a backend."""

    __slots__ = (
        "backend_links",
        "client",
        "descriptor",
        "incarnation",
        "pieces",
        "rest",
        "send",
        "since",
        "socket",
        "state",
        "touch",
        "wanted",
    )

    def __init__(
        self, connected: socket.socket, backend_links: BackendLinks, incarnation: bytes, now: float
    ) -> None:
        self.socket = connected
        self.descriptor = connected.fileno()
        self.send = connected.send  # and not by descriptor: a closed one may be somebody else's by now
        self.backend_links = backend_links
        self.incarnation = incarnation
        self.state = LinkState.IDLE
        self.since = now  # idle; or when it was given its request
        self.client: Client | None = None  # whose request is under way
        self.touch: Touch | None = None  # or which touch
        self.rest: memoryview | None = None  # of the request, while SENDING
        self.pieces: list[bytes] = []  # of the answer
        self.wanted = 0  # bytes of it that are still to come; 0 while its head is not whole

    @property
    def identity(self) -> str:
        """Of its backend."""
        return self.backend_links.upstream.backend.identity

    def __repr__(self) -> str:
        return f"<BackendConnection to {self.backend_links.upstream.backend.name}, {self.state.name}>"
