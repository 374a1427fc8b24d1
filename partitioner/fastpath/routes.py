"""Where requests of one target go, remembered for as long as the pool does not change."""

from collections.abc import Callable

from partitioner.fastpath.connections import BackendLinks, Route
from partitioner.membership.items import ITEMS
from partitioner.membership.pool import Pool
from partitioner.protocol.ordinary import is_ordinary_target
from partitioner.protocol.target import canonical_form
from partitioner.routing.farm_mismatch import FarmMismatch
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.roster import Roster
from partitioner.transport.backend_connections import Upstream

REMEMBERED = 4096
"""Targets of a generation, of which there are two. A page makes two exchanges, and a user one page after the
other: those whom a router serves in a minute should find their routes again. A route takes half a KiB."""

NOTED_FOR = 25.0
"""Seconds: less than half of the minute for which routing.farm_mismatch remembers."""


class Routes:
    """The routes of the targets that are asked for just now."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        farm_mismatch: FarmMismatch,
        links_to: Callable[[Upstream], BackendLinks],
    ) -> None:
        self._farm_mismatch = farm_mismatch
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._links_to = links_to
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
        session = self._ledger_keeper.session_of(target)
        if canonical_form(session.key).startswith(ITEMS.encode()):
            return None
        return Route(session)

    def note_application(self, route: Route, now: float) -> None:
        """Two applications of one session ID are noticed within a minute: noting them twice in it will do."""
        route.noted_until = now + NOTED_FOR
        self._farm_mismatch.note(canonical_form(route.key), route.session.placement)

    def renewed(self, old: Route, pool: Pool) -> Route:
        """The route under this pool. The old one stays as it was, for exchanges that are under way on it."""
        route = self._young[old.session.target] = Route(old.session)
        route.noted_until = old.noted_until
        route.pool = pool
        route.has_copies = pool.copies > 1
        acting = pool.acting_set(route.session.placement)
        if acting is None or pool.unrecorded or self._roster.is_cut_off:
            return route
        route.unchanged = pool.unchanged_since(route.session.placement)
        route.server = acting.primary
        route.backend_links = self._links_to(self._roster.upstreams[acting.primary])
        if len(acting.copies) == pool.copies - 1 and not acting.recovering:
            route.copies = tuple(self._links_to(self._roster.upstreams[each]) for each in acting.copies)
        if len(pool.placed) < len(pool.ready):
            first = pool.first_choice(route.session.placement)
            if first.identity != acting.primary and first.identity not in pool.placed:
                route.passed_over = first
        return route
