"""Who is asked for a session, and what to do when that fails.

While a lock is held, the server that granted it; else the first server of the preference list that may
be read for this key. A request that failed is retried where the retry table allows it, perhaps at another
server: each try takes a fresh pool.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import trio

from partitioner.errors import BackendFailure, NoBackendLeft, Phase
from partitioner.membership.backend import BackendId
from partitioner.membership.entry import Lock
from partitioner.membership.pool import Pool
from partitioner.membership.retry import Verdict, verdict
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lookup import Lookup
from partitioner.routing.roster import Roster
from partitioner.transport.messages import AnsweredBy, BegunExchange, Request, Response

RETRY_PAUSE = 0.1
"""Seconds until a retry where nothing was sent yet, unless the pool changes sooner."""


@dataclass(frozen=True, slots=True)
class Begun:
    """How far the fast path has got: whom it has asked, under which pool."""

    server: BackendId
    pool: Pool
    exchange: BegunExchange


def _none() -> Mapping[BackendId, BegunExchange]:
    return {}


@dataclass(frozen=True, slots=True)
class FollowUps:
    """What the fast path has asked of other servers, after that one had answered; by server.

    Each of them is gone on with exactly once, whatever has become of its server meanwhile.
    """

    copies: Mapping[BackendId, BegunExchange] = field(default_factory=_none)
    removes: Mapping[BackendId, BegunExchange] = field(default_factory=_none)
    searches: Mapping[BackendId, BegunExchange] = field(default_factory=_none)


@dataclass(slots=True)
class RoutedRequest:
    """What a client asks, and of which session."""

    request: Request
    session: SessionRef
    begun: Begun | None = None  # is taken up by the first to ask
    follow_ups: FollowUps = field(default_factory=FollowUps)

    @property
    def operation(self) -> Operation:
        return self.request.head.operation

    @property
    def cookie(self) -> int | None:
        return self.request.head.lock_cookie


class Dispatcher:
    """Has requests answered by the backends that are responsible for them."""

    def __init__(self, roster: Roster, ledger_keeper: LedgerKeeper, lookup: Lookup) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._ledger = ledger_keeper.ledger
        self._lookup = lookup

    async def dispatch(self, routed: RoutedRequest) -> Response | Lock:
        """Have it answered by the server responsible; or return the lock whose server cannot be reached.

        Raises NoBackendLeft or BackendFailure.
        """
        request, session = routed.request, routed.session
        sendings = 0
        while True:
            if routed.begun is not None:
                pool, server = routed.begun.pool, routed.begun.server
            else:
                pool = self._roster.pool
                whom = await self._whom(routed, pool)
                if isinstance(whom, Lock):
                    return whom
                if whom is None:
                    continue  # it has just been put right
                server = whom
            try:
                response = await self.exchange_with(server, routed, pool)
            except BackendFailure as failure:
                sendings += failure.phase is not Phase.CONNECTING
                is_late = trio.current_time() + RETRY_PAUSE > request.deadline
                if is_late or not _may_retry(request, failure, sendings):
                    raise
                # Nothing has changed yet: give it a moment before the retry.
                needs_pause = failure.phase is Phase.CONNECTING and self._roster.pool.epoch == pool.epoch
            else:
                return self._with_passed_over(response, session)
            if needs_pause:
                with trio.move_on_after(RETRY_PAUSE):
                    await self._roster.wait_for_change()

    async def _whom(self, routed: RoutedRequest, pool: Pool) -> BackendId | Lock | None:
        """Whom to ask; the lock whose server cannot be reached; None if that has to be thought over again.

        Raises NoBackendLeft.
        """
        session, deadline = routed.session, routed.request.deadline
        lock = self._ledger.maybe_lock(session.key, trio.current_time())
        if lock is not None and not self._ledger_keeper.can_reach(lock, session.key):
            if pool.eligible:
                return lock
            # Its holder's save would find no server, and a page that polls a 423 for 110 s helps no user.
            if not pool.placed:
                raise NoBackendLeft("no backend is up")
            await self._wait_until_known(next(iter(pool.placed)), deadline)
            return None
        if lock is None:
            server = await self._acting_primary(session, pool, deadline)
        else:
            server = lock.server
        if server is not None and not pool.members[server].record.answers:
            await self._wait_until_known(server, deadline)
            return None
        return server

    async def exchange_with(self, server: BackendId, routed: RoutedRequest, pool: Pool) -> Response:
        """One exchange with one backend.

        Raises BackendFailure, which has been reported then.
        """
        begun, routed.begun = routed.begun, None
        sent_at = trio.current_time() if begun is None else begun.exchange.sent_at
        try:
            if begun is None:
                response = await self._roster.upstreams[server].exchange(routed.request)
            else:
                response = await begun.exchange.finish()
        except BackendFailure as failure:
            self._roster.exchange_failed(failure)
            raise
        return replace(self._report_its_rest(response), answered_by=AnsweredBy(server, pool, sent_at))

    async def _acting_primary(self, session: SessionRef, pool: Pool, deadline: float) -> BackendId | None:
        """Whom to ask; None if that has to be thought over again.

        Raises NoBackendLeft if there is no such server.
        """
        marks = self._ledger.marks(session.key)
        acting = self._ledger_keeper.acting_set(pool, session, marks)
        if acting is not None:
            return acting.primary
        for server in tuple(marks):
            if await self._lookup.settle_doubt(session, server):
                return None
        if not pool.eligible:
            with trio.move_on_at(deadline):
                if not self._ledger.is_agreed(session.key) and await self._lookup.agree(session):
                    return None
            raise NoBackendLeft("no backend is up")
        with trio.move_on_at(deadline):
            if await self._lookup.put_right(session):
                return None
        raise NoBackendLeft("every backend that is up has still to be put right for this session")

    def _with_passed_over(self, response: Response, session: SessionRef) -> Response:
        answered_by = response.answered_by
        assert answered_by is not None
        passed_over = self._maybe_passed_over(session, answered_by.server, answered_by.pool)
        if passed_over is None:
            return response
        return replace(response, answered_by=replace(answered_by, passed_over=passed_over))

    def _maybe_passed_over(self, session: SessionRef, server: BackendId, pool: Pool) -> BackendId | None:
        """The first choice for a session, if this server had to answer because that one is out or marked.

        A lock's server answers for a first choice that is well, too; no server was passed over then.
        """
        marks = self._ledger.marks(session.key)
        if not marks and len(pool.placed) == len(pool.ready):
            return None  # nearly always: there is no server that could be passed over
        for name in pool.ranking.preference_list(session.placement):
            if (first := pool.places[name]) in pool.ready:
                is_out = first not in pool.placed or first in marks
                return first if is_out and first != server else None
        return None

    async def _wait_until_known(self, server: BackendId, deadline: float) -> None:
        """At the router's start: wait for the verdict on a backend of which nothing is known yet."""
        with trio.move_on_at(deadline) as waiting:
            await self._roster.wait_for_change()
        if waiting.cancelled_caught:
            name = self._roster.pool.name_of(server)
            raise NoBackendLeft(f"nothing is known of {name} yet")

    def _report_its_rest(self, response: Response) -> Response:
        """Have it reported if the backend fails in the middle of a streamed answer."""
        rest = response.rest
        if rest is None:
            return response

        async def watched() -> bytes:
            try:
                return await rest()
            except BackendFailure as failure:
                self._roster.exchange_failed(failure)
                raise

        return replace(response, rest=watched)


def _may_retry(request: Request, failure: BackendFailure, sendings: int) -> bool:
    """Whether the table allows a retry, and the request is still here to be sent."""
    if verdict(request.head.operation, failure.phase, sendings) is Verdict.GIVE_UP:
        return False
    return request.is_whole or failure.phase is Phase.CONNECTING
