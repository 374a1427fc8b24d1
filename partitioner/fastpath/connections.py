"""What the fast path knows of its connections, and where requests go: data, which others act on."""

import socket
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from partitioner.fastpath.states import ClientState, LinkState
from partitioner.membership.backend import NO_IDENTITY, Backend, BackendId
from partitioner.membership.eras import UnchangedSince
from partitioner.membership.fencing import RouterConnection
from partitioner.membership.pool import Pool
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.protocol.ordinary import Frame
from partitioner.transport.backend_connections import Upstream

_GET, _ACQUIRE = Operation.GET, Operation.ACQUIRE  # looking up a member of an Enum takes its time

EventData: TypeAlias = bytes | OSError
"""What comes with a signal: the data, or how the connection broke."""


ENOUGH_LINKS = 32
"""With so many links to one backend, or exchanges under way at it, a request waits until one of them is idle,
mostly for a millisecond or two; to have the slow path open another one costs as much as ten exchanges.
FastRouter has the exceptions."""

OPENED_AT_A_TIME = 4
"""Links that the slow path is to open in one round: of a burst of requests the others wait."""


class Step(IntEnum):
    """What an exchange asks of servers besides the acting primary, once that has answered."""

    COPYING = 0  # a write goes to the acting copies
    REMOVING = 1  # then whatever former holders may have is removed
    SEARCHING = 2  # the session is missed where it belongs: all who can have it are asked


class Confirmation(NamedTuple):
    """What such a server has answered, as it was expected to."""

    step: Step
    server: BackendId  # its identity
    sent_at: float
    answer: bytes


class Client:
    """A client's connection, and its exchange if there is one under way."""

    __slots__ = (
        "ahead",
        "answer",
        "backend_links",
        "began_at",
        "confirmed",
        "cookie",
        "descriptor",
        "follow_ups",
        "leftovers",
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
        "step",
        "wanted",
    )

    def __init__(self, connected: socket.socket, peer: str, now: float) -> None:
        self.socket = connected
        self.descriptor = connected.fileno()
        self.send = connected.send  # and not by descriptor: a closed one may be another connection's by now
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
        self.cookie: bytes | None = None  # of the lock that it names
        self.operation = _GET
        self.route: Route | None = None
        self.pool: Pool | None = None  # under which it began
        self.link: BackendConnection | None = None
        self.backend_links: BackendLinks | None = None  # in whose queue it waits
        self.answer = b""  # of the acting primary, which it gets when all follow-ups are confirmed
        self.step = Step.COPYING
        self.follow_ups: list[BackendConnection] = []  # on which others are being asked
        self.confirmed: list[Confirmation] = []
        self.leftovers: tuple[BackendLinks, ...] | None = None  # to clear; None: the key is settled
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


class BackendLinks:
    """The links to one backend, and who waits for one."""

    __slots__ = ("idle_links", "limit", "links", "opening", "queue", "upstream")

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.limit = upstream.limit
        self.links: dict[BackendConnection, None] = {}  # all of them
        self.idle_links: list[BackendConnection] = []  # the youngest last
        self.opening = 0  # requests that were handed over in this round for want of a link
        # Who waits for one, or for a place, with the target and what else is said; first come, first served.
        self.queue: dict[Client, tuple[bytes, Frame]] = {}

    @property
    def is_out(self) -> bool:
        """Whether the backend is not asked just now: other servers serve its sessions."""
        return self.upstream.incarnation is None

    @property
    def has_enough(self) -> bool:
        """Whether a request that finds no idle link waits for one."""
        return len(self.links) >= ENOUGH_LINKS or self.limit.taken >= ENOUGH_LINKS

    @property
    def room(self) -> int:
        """How many of those who wait may be asked now."""
        opened = 0 if self.has_enough else OPENED_AT_A_TIME
        return min(self.limit.free, self.upstream.idle + opened)

    def may_open(self) -> bool:
        """Whether a request that finds no idle link is handed over, which opens one; it counts then."""
        if self.has_enough or self.opening >= OPENED_AT_A_TIME:
            return False
        self.opening += 1
        return True


_NEVER = UnchangedSince(float("inf"), 0)


class FormerHolders(NamedTuple):
    """Who may have something of a key that is not settled, under one pool."""

    cleared: tuple[BackendLinks, ...] | None
    """Those from whom it is removed after a write; None where one of them may not be told to."""
    missed: tuple[BackendId, ...]
    """Those who are away, and are marked instead."""
    asked: tuple[BackendLinks, ...]
    """Those who are asked for a session that the acting primary misses."""
    silent: tuple[BackendId, ...]
    """Those who cannot be asked."""


class Route:
    """What is known of a target, and who is asked for it under one pool."""

    __slots__ = (
        "backend_links",
        "copies",
        "former_holders",
        "has_copies",
        "is_session",
        "key",
        "noted_until",
        "passed_over",
        "pool",
        "server",
        "session",
        "unchanged",
    )

    def __init__(self, session: SessionRef) -> None:
        self.session = session
        self.key = session.key  # which is looked up in every exchange
        self.is_session = b")/" in session.key  # else it may be a health check
        self.noted_until = float("-inf")  # its application
        self.pool: Pool | None = None  # for which the rest holds
        self.server = NO_IDENTITY  # the acting primary, if nothing is marked
        self.backend_links: BackendLinks | None = None  # to it; None if it cannot be asked, or there is none
        self.passed_over: Backend | None = None  # the first choice, if that is out
        self.has_copies = False
        self.copies: tuple[BackendLinks, ...] | None = None  # None if a write concerns others than these
        self.unchanged = _NEVER  # since when these have been what they are
        self.former_holders: FormerHolders | None = None  # None: nobody has looked yet

    def follow(self, pattern: "Route") -> None:
        """Go the same way, under the same pool."""
        self.server, self.backend_links, self.passed_over = (
            pattern.server,
            pattern.backend_links,
            pattern.passed_over,
        )
        self.copies, self.unchanged = pattern.copies, pattern.unchanged
        self.former_holders = pattern.former_holders


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
        self.send = connected.send  # and not by descriptor: a closed one may be another connection's by now
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
    def identity(self) -> BackendId:
        """Of its backend."""
        return self.backend_links.upstream.backend.identity

    def __repr__(self) -> str:
        return f"<BackendConnection to {self.backend_links.upstream.backend.name}, {self.state.name}>"
