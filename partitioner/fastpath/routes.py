"""Where requests of one target go, remembered for as long as the pool does not change."""

from typing import TYPE_CHECKING

from partitioner.fastpath.states import LinkState, Signal
from partitioner.membership.backend import Backend
from partitioner.membership.items import ITEMS
from partitioner.membership.pool import Pool
from partitioner.protocol.ordinary import Frame, is_ordinary_target
from partitioner.protocol.target import canonical_form, server_key
from partitioner.routing.farm_mismatch import FarmMismatch
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lookup import SessionRef
from partitioner.routing.roster import Roster
from partitioner.transport.backend_connections import Upstream
from partitioner.transport.channel import Channel, socket_channel

if TYPE_CHECKING:
    from partitioner.fastpath.connections import BackendConnection, Client
    from partitioner.fastpath.router import FastRouter

REMEMBERED = 4096
"""Targets of a generation, of which there are two. A page makes two exchanges, and a user one page after the
other: those whom a router serves in a minute should find their routes again. A route takes half a KiB."""

NOTED_FOR = 25.0
"""Seconds: less than half of the minute for which routing.farm_mismatch remembers."""

ENOUGH_LINKS = 32
"""With so many links to one backend, a request waits until one of them is idle, mostly for a millisecond or
two; to have the slow path open another one costs as much as ten exchanges. FastRouter has the exceptions."""


class BackendLinks:
    """The links to one backend. This is the BackendLinks of its upstream."""

    __slots__ = ("fast_router", "idle_links", "limit", "links", "queue", "upstream")

    def __init__(self, upstream: Upstream, fast_router: "FastRouter") -> None:
        self.upstream = upstream
        self.limit = upstream.limit
        self.fast_router = fast_router
        self.links: dict[BackendConnection, None] = {}  # all of them
        self.idle_links: list[BackendConnection] = []  # the youngest last
        # Who waits for one, or for a place, with the target and what else is said; first come, first served.
        self.queue: dict[Client, tuple[bytes, Frame]] = {}

    @property
    def idle(self) -> int:
        return len(self.idle_links)

    @property
    def busy(self) -> int:
        return len(self.links) - len(self.idle_links)

    @property
    def has_enough(self) -> bool:
        """Whether a request that finds no idle link waits for one."""
        return len(self.links) >= ENOUGH_LINKS

    @property
    def room(self) -> int:
        """How many of those who wait may be asked now."""
        free = self.limit.free
        return min(free, len(self.idle_links)) if self.has_enough else free

    def maybe_channel(self) -> Channel | None:
        """Give an idle one away."""
        while self.idle_links:
            link = self.idle_links[-1]
            channel = socket_channel(self.fast_router.let_go(link), str(self.upstream.backend.address))
            if channel.is_quiet():
                return channel
            channel.close_in_order()
        return None

    def cut(self) -> None:
        """The backend is being ejected."""
        for link in tuple(self.links):
            self.fast_router.reactor.signal(link, Signal.SHUTDOWN)
        for client in tuple(self.queue):  # its places may stay taken for long; the others have theirs
            self.fast_router.reactor.signal(client, Signal.TIMED_OUT)

    def close_idle(self) -> None:
        for link in tuple(self.idle_links):
            self.fast_router.links.close_link(link)

    def break_off(self) -> None:
        """The router has stood still: nothing more is sent. Exchanges under way are handed over, cut."""
        for link in tuple(self.links):
            if link.state is LinkState.IDLE and link.client is not None:
                # Its request was to be sent in this round.
                link.state, link.rest = LinkState.SENDING, memoryview(link.client.request)
            self.fast_router.reactor.signal(link, Signal.SHUTDOWN)
        for client in tuple(self.queue):
            self.fast_router.reactor.signal(client, Signal.TIMED_OUT)

    def end(self) -> None:
        """The fast path is being stopped: none of these is used any more."""
        self.close_idle()
        for link in tuple(self.links):
            self.fast_router.let_go(link).close()
        self.upstream.fast_links = None


class Route:
    """What is known of a target, and who is asked for it under one pool."""

    __slots__ = (
        "backend_links",
        "copies",
        "has_copies",
        "is_session",
        "key",
        "noted_until",
        "passed_over",
        "placement",
        "pool",
        "server",
        "target",
    )

    def __init__(self, target: bytes, key: bytes, placement: bytes) -> None:
        self.target = target
        self.key = key
        self.placement = placement
        self.is_session = b")/" in canonical_form(key)  # else it may be a health check
        self.noted_until = float("-inf")  # its application
        self.pool: Pool | None = None  # for which the rest holds
        self.server = ""  # the acting primary, if nothing is marked
        self.backend_links: BackendLinks | None = (
            None  # to it; None if there is nobody, or it cannot be asked
        )
        self.passed_over: Backend | None = None  # the first choice, if that is out
        self.has_copies = False
        self.copies: tuple[BackendLinks, ...] | None = None  # None if a write concerns others than these

    def subject(self) -> SessionRef:
        return SessionRef(self.key, self.target, self.placement)


class Routes:
    """The routes of the targets that are asked for just now."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        farm_mismatch: FarmMismatch,
        fast_router: "FastRouter",
    ) -> None:
        self._farm_mismatch = farm_mismatch
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._fast_router = fast_router
        self._young: dict[bytes, Route] = {}
        self._old: dict[bytes, Route] = {}
        self.find = self._young.get

    def look_up(self, target: bytes) -> Route | None:
        """The route of a target that `find` does not find; None if it is not ordinary."""
        route = self._old.get(target) or self._new_route(target)
        if route is not None:
            if len(self._young) >= REMEMBERED:
                self._old, self._young = self._young, {}
                self.find = self._young.get
            self._young[target] = route
        return route

    def _new_route(self, target: bytes) -> Route | None:
        if not is_ordinary_target(target):
            return None
        key = server_key(target)
        if canonical_form(key).startswith(ITEMS.encode()):
            return None
        return Route(target, key, self._ledger_keeper.placement_of(key))

    def note_application(self, route: Route, now: float) -> None:
        """Two applications of one session ID are noticed within a minute: noting them twice in it will do."""
        route.noted_until = now + NOTED_FOR
        self._farm_mismatch.note(canonical_form(route.key), route.placement)

    def renewed(self, old: Route, pool: Pool) -> Route:
        """The route under this pool. The old one stays as it was, for exchanges that are under way on it."""
        route = self._young[old.target] = Route(old.target, old.key, old.placement)
        route.noted_until = old.noted_until
        route.pool = pool
        route.has_copies = pool.copies > 1
        acting = pool.acting_set(route.placement)
        if acting is None or pool.unrecorded or self._roster.is_cut_off:
            return route
        route.server = acting.primary
        route.backend_links = self.links_to(self._roster.upstreams[acting.primary])
        if len(acting.copies) == pool.copies - 1 and not acting.recovering:
            route.copies = tuple(self.links_to(self._roster.upstreams[each]) for each in acting.copies)
        if len(pool.placed) < len(pool.ready):
            first = pool.first_choice(route.placement)
            if first.identity != acting.primary and first.identity not in pool.placed:
                route.passed_over = first
        return route

    def links_to(self, upstream: Upstream) -> BackendLinks:
        """The links to a backend."""
        backend_links = upstream.fast_links
        if not isinstance(backend_links, BackendLinks):
            backend_links = upstream.fast_links = BackendLinks(upstream, self._fast_router)
        return backend_links
