"""Where requests of one target go, remembered for as long as the pool does not change."""

from typing import TYPE_CHECKING

from partitioner.fastpath.states import LinkState, Signal
from partitioner.membership.backend import Backend
from partitioner.membership.items import ITEMS
from partitioner.membership.pool import Pool
from partitioner.protocol.ordinary import Frame, is_ordinary_target
from partitioner.protocol.target import canonical_form, server_key
from partitioner.routing.farm_mismatch import Mixups
from partitioner.routing.ledger_keeper import Bookkeeper
from partitioner.routing.lookup import Subject
from partitioner.routing.roster import Roster
from partitioner.transport.backend_connections import Upstream
from partitioner.transport.channel import Channel, socket_channel

if TYPE_CHECKING:
    from partitioner.fastpath.connections import Client, Link
    from partitioner.fastpath.router import Relay

REMEMBERED = 4096
"""Targets of a generation, of which there are two. A page makes two exchanges, and a user one page after the
other: those whom a router serves in a minute should find their routes again. A route takes half a KiB."""

NOTED_FOR = 25.0
"""Seconds: less than half of the minute for which routing.farm_mismatch remembers."""

ENOUGH_LINKS = 32
"""With so many links to one backend, a request waits until one of them is idle, mostly for a millisecond or
two; to have the await lane open another one costs as much as ten exchanges. Relay has the exceptions."""


class Siding:
    """The links to one backend. This is the Siding of its upstream."""

    __slots__ = ("idle_links", "links", "places", "queue", "relay", "upstream")

    def __init__(self, upstream: Upstream, relay: "Relay") -> None:
        self.upstream = upstream
        self.places = upstream.places
        self.relay = relay
        self.links: dict[Link, None] = {}  # all of them
        self.idle_links: list[Link] = []  # the youngest last
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
        """Whether whoever finds no idle link waits for one."""
        return len(self.links) >= ENOUGH_LINKS

    @property
    def room(self) -> int:
        """How many of those who wait may be asked now."""
        free = self.places.free
        return min(free, len(self.idle_links)) if self.has_enough else free

    def maybe_channel(self) -> Channel | None:
        """Give one away that nobody uses."""
        while self.idle_links:
            link = self.idle_links[-1]
            channel = socket_channel(self.relay.let_go(link), str(self.upstream.backend.address))
            if channel.is_quiet():
                return channel
            channel.close_in_order()
        return None

    def cut(self) -> None:
        """The backend is being ejected."""
        for link in tuple(self.links):
            self.relay.reactor.signal(link, Signal.LAST_CALL)
        for client in tuple(self.queue):  # its places may stay taken for long; the others have theirs
            self.relay.reactor.signal(client, Signal.OVERDUE)

    def close_idle(self) -> None:
        for link in tuple(self.idle_links):
            self.relay.links.close_link(link)

    def break_off(self) -> None:
        """The router has stood still: nothing more is sent. Exchanges under way are handed over, cut."""
        for link in tuple(self.links):
            if link.state is LinkState.IDLE and link.client is not None:
                # Its request was to be sent in this round.
                link.state, link.rest = LinkState.SENDING, memoryview(link.client.request)
            self.relay.reactor.signal(link, Signal.LAST_CALL)
        for client in tuple(self.queue):
            self.relay.reactor.signal(client, Signal.OVERDUE)

    def end(self) -> None:
        """The lane is being stopped: nobody uses these any more."""
        self.close_idle()
        for link in tuple(self.links):
            self.relay.let_go(link).close()
        self.upstream.siding = None


class Route:
    """What is known of a target, and who is asked for it under one pool."""

    __slots__ = (
        "copies",
        "has_copies",
        "is_session",
        "key",
        "noted_until",
        "passed_over",
        "placement",
        "pool",
        "server",
        "siding",
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
        self.siding: Siding | None = None  # to it; None if there is nobody, or it cannot be asked
        self.passed_over: Backend | None = None  # the first choice, if that is out
        self.has_copies = False
        self.copies: tuple[Siding, ...] | None = None  # None if a write concerns others than these

    def subject(self) -> Subject:
        return Subject(self.key, self.target, self.placement)


class Routes:
    """The routes of the targets that are asked for just now."""

    def __init__(self, roster: Roster, bookkeeper: Bookkeeper, mixups: Mixups, relay: "Relay") -> None:
        self._mixups = mixups
        self._roster = roster
        self._bookkeeper = bookkeeper
        self._relay = relay
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
        return Route(target, key, self._bookkeeper.placement_of(key))

    def note_application(self, route: Route, now: float) -> None:
        """Two applications of one session ID are noticed within a minute: noting them twice in it will do."""
        route.noted_until = now + NOTED_FOR
        self._mixups.note(canonical_form(route.key), route.placement)

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
        route.siding = self.siding_of(self._roster.upstreams[acting.primary])
        if len(acting.copies) == pool.copies - 1 and not acting.recovering:
            route.copies = tuple(self.siding_of(self._roster.upstreams[each]) for each in acting.copies)
        if len(pool.placed) < len(pool.ready):
            first = pool.first_choice(route.placement)
            if first.identity != acting.primary and first.identity not in pool.placed:
                route.passed_over = first
        return route

    def siding_of(self, upstream: Upstream) -> Siding:
        """The links to a backend."""
        siding = upstream.siding
        if not isinstance(siding, Siding):
            siding = upstream.siding = Siding(upstream, self._relay)
        return siding
