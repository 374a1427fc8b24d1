"""Where requests of one target go, remembered for as long as the pool does not change."""

from collections.abc import Callable

from partitioner.fastpath.connections import BackendLinks, FormerHolders, Route
from partitioner.membership.items import ITEMS
from partitioner.membership.pool import Pool
from partitioner.protocol.ordinary import is_ordinary_target
from partitioner.protocol.target import canonical_form
from partitioner.routing.farm_mismatch import FarmMismatch
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.roster import Roster
from partitioner.transport.backend_connections import Upstream

REMEMBERED = 16_384
"""Targets of a generation, of which there are two. A page makes two exchanges, and a user one page after the
other: those whom a router serves in a minute should find their routes again. A route takes half a KiB."""

MOST_PATTERNS = 1024
"""Preference lists of one pool whose routes are remembered; of four servers there are 24."""

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
        self._patterns: dict[tuple[str, ...], Route] = {}  # by preference list, of one pool
        self._pool_of_patterns: Pool | None = None
        self._has_patterns = False
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
        route = old
        if old.pool is not None:
            route = self._young[old.session.target] = Route(old.session)
            route.noted_until = old.noted_until
        route.pool = pool
        route.has_copies = pool.copies > 1
        if pool.unrecorded or self._roster.is_cut_off:
            return route
        pattern = self._maybe_pattern(route, pool)
        if pattern is not None:
            route.follow(pattern)
            return route
        self._work_out(route, pool)
        if self._has_patterns and route.backend_links is not None:
            if len(self._patterns) >= MOST_PATTERNS:
                self._patterns.clear()
            self._patterns[pool.ranking.preference_list(route.session.placement)] = route
        return route

    def _maybe_pattern(self, route: Route, pool: Pool) -> Route | None:
        """A route under this pool that goes the same way, whatever its session.

        Two sessions with one preference list have all in common, unless an era had another map.
        """
        if pool is not self._pool_of_patterns:
            self._pool_of_patterns = pool
            self._patterns.clear()
            self._has_patterns = bool(pool.places) and is_one_map(pool)
        if not self._has_patterns:
            return None
        return self._patterns.get(pool.ranking.preference_list(route.session.placement))

    def _work_out(self, route: Route, pool: Pool) -> None:
        """Find out who is asked."""
        acting = pool.acting_set(route.session.placement)
        if acting is None:
            return
        route.unchanged = pool.unchanged_since(route.session.placement)
        route.server = acting.primary
        route.backend_links = self._links_to(self._roster.upstreams[acting.primary])
        if len(acting.copies) == pool.copies - 1 and not acting.recovering:
            route.copies = tuple(self._links_to(self._roster.upstreams[each]) for each in acting.copies)
        if len(pool.placed) < len(pool.ready):
            first = pool.first_choice(route.session.placement)
            if first.identity != acting.primary and first.identity not in pool.placed:
                route.passed_over = first

    def former_holders(self, route: Route) -> FormerHolders:
        """Who may have something of this key until it is settled, as on the slow path."""
        if route.former_holders is None:
            assert route.pool is not None
            pattern = self._maybe_pattern(route, route.pool) or route
            if pattern.former_holders is None:
                pattern.former_holders = self._new_former_holders(pattern)
            route.former_holders = pattern.former_holders
        return route.former_holders

    def _new_former_holders(self, route: Route) -> FormerHolders:
        pool, links_to, upstreams = route.pool, self._links_to, self._roster.upstreams
        assert pool is not None
        acting = pool.acting_set(route.session.placement)
        if acting is None:
            return FormerHolders(None, (), (), ())
        members, holders = pool.members, pool.possible_holders(route.session.placement)
        leftovers = [each for each in holders if each not in acting.written]
        missed = tuple(each for each in leftovers if each in pool.away)
        told = [each for each in leftovers if each not in pool.away]
        readable = [each for each in holders if members[each].is_readable]
        cleared: tuple[BackendLinks, ...] | None = None
        if all(members[each].is_reachable and pool.may_remove_from(each, acting.written) for each in told):
            cleared = tuple(links_to(upstreams[each]) for each in told)
        return FormerHolders(
            cleared,
            missed,
            tuple(links_to(upstreams[each]) for each in readable if each != acting.primary),
            tuple(each for each in holders if each not in readable),
        )


def is_one_map(pool: Pool) -> bool:
    """Whether all eras have placed sessions as this pool does."""
    weights = pool.ranking.weights
    return all(era.ranking is pool.ranking or era.ranking.weights == weights for era in pool.eras)
