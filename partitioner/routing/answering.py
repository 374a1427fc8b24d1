"""Finds the answer to a request: asks its session's servers, or stands in for one of them.

One loop asks for all operations (`_ask_until_answered`). What is different between them stands in tables,
which the fast path goes by as well (membership.exchange). The caller stands behind the key gate.
"""

import trio

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.entry import Lock
from partitioner.membership.exchange import EFFECTS, RULES, STAND_IN, StandIn
from partitioner.membership.pool import Pool
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Answer, AnswerHead, Operation, Status
from partitioner.protocol.writer import write_answer_head
from partitioner.routing.answer_recorder import AnswerRecorder
from partitioner.routing.dispatch import Dispatcher, FollowUps, RoutedRequest
from partitioner.routing.expiry_sync import ExpirySync
from partitioner.routing.internal_requests import BackendReply, touch
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lock_quarantine import LockQuarantine
from partitioner.routing.lookup import Lookup, SearchResult
from partitioner.routing.relocation import LockedElsewhere
from partitioner.routing.roster import Roster
from partitioner.sessions.table import LONGEST_TIMEOUT_MINUTES
from partitioner.transport.messages import Request, Response
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import local_ticks


class Answering:
    """Answers requests that are behind their gates, one after the other for each session."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        lookup: Lookup,
        expiry_sync: ExpirySync,
        lock_quarantine: LockQuarantine,
        recorder: AnswerRecorder,
        observer: Observer,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._ledger = ledger_keeper.ledger
        self._lookup = lookup
        self._dispatcher = Dispatcher(roster, ledger_keeper, lookup)
        self._expiry_sync = expiry_sync
        self._lock_quarantine = lock_quarantine
        self._recorder = recorder
        self._observer = observer

    async def answer(self, routed: RoutedRequest) -> Response:
        """Have the request answered, and do what has to be done before its client hears of it.

        Raises NoBackendLeft or BackendFailure.
        """
        if routed.operation is Operation.CREATE_UNINITIALIZED:
            return await self._create(routed)
        if routed.operation is Operation.RELEASE:
            await self._release_everywhere(routed)
        return await self._ask_until_answered(routed)

    async def _release_everywhere(self, routed: RoutedRequest) -> None:
        """Where no server serves because each server may lack something, a lock keeps them from agreeing."""
        pool, session = self._roster.pool, routed.session
        if pool.placed or routed.cookie is None or self._ledger.is_agreed(session.key):
            return
        servers = [each for each, member in pool.members.items() if member.is_reachable]
        await self._lock_quarantine.release_at(servers, session, routed.cookie)

    async def _create(self, routed: RoutedRequest) -> Response:
        """Create where nothing is; where the session exists, its server says so and nothing is copied."""
        request, session = routed.request, routed.session
        probe = RoutedRequest(Request(touch(session.target).head, b"", None, request.deadline), session)
        seen = await self._ask_until_answered(probe, Operation.CREATE_UNINITIALIZED, is_probe=True)
        if seen.answered_by is None:
            return seen
        return await self._ask_until_answered(routed, is_insert=seen.status == 404)

    async def _ask_until_answered(
        self,
        routed: RoutedRequest,
        missed_by: Operation | None = None,
        *,
        is_probe: bool = False,
        is_insert: bool = True,
    ) -> Response:
        """Ask until the server of the session has answered, or the router itself can; then do what follows.

        A session that is missed is searched for, on behalf of `missed_by` if that is another operation. Of an
        answer to a probe nothing is remembered but that the session is not there. A create is no write, and
        is followed by nothing, unless it `is_insert`.

        Raises NoBackendLeft or BackendFailure.
        """
        has_let_go = False
        while True:
            answer = await self._dispatcher.dispatch(routed)
            if isinstance(answer, Lock):
                own = self._stand_in(routed, answer)
                if own is not None:
                    return own
                has_let_go = True
                continue
            answer = await self._take_to_one_with_room(routed, answer)
            effects = EFFECTS[routed.operation, answer.status]
            if not effects.is_miss:
                if is_probe or (effects.spreads and not is_insert):
                    return answer
                answer = await self._recorder.follow_up(routed, answer, effects)
                if not has_let_go or answer.status != 404:
                    return answer
            if has_let_go:
                return _own(Answer(Status.OK))  # the router was the lock, wherever the session is: row 10
            self._recorder.record(routed, answer, effects)
            found = await self._search(routed, answer, missed_by or routed.operation)
            if isinstance(found, Response):
                return found
            if isinstance(found, LockedElsewhere):
                return await self._answer_of_locked(routed, found)

    async def _take_to_one_with_room(self, routed: RoutedRequest, answer: Response) -> Response:
        """Where a server refuses a new session because it is full, have the next one of its list take it.

        A 400 to a request that the router found well-formed concerns the server. It changes nothing there, so
        the save may be sent once more; who refused it is marked when another server has taken it, and gets it
        back by repair. What no server takes is answered as the first one did.
        Source: protocol.md 6, row 13; design.md 7.1.
        """
        session = routed.session
        if answer.status != 400 or not _may_find_room(routed.request) or self._is_locked(session):
            return answer
        assert answer.answered_by is not None
        refused = [answer.answered_by.server]
        while True:
            self._roster.note_full(refused[-1])
            pool, marks = self._roster.pool, {*self._ledger.marks(session.key), *refused}
            acting = self._ledger_keeper.acting_set(pool, session, marks)
            if acting is None:
                return answer
            taken = await self._dispatcher.exchange_with(acting.primary, routed, pool)
            if taken.status != 400:
                break
            refused.append(acting.primary)
        if taken.status == 200:
            for server in refused:
                self._ledger_keeper.mark(session, server, is_stale=True)
        return taken

    def _is_locked(self, session: SessionRef) -> bool:
        return self._ledger.maybe_lock(session.key, trio.current_time()) is not None

    # --- where a lock's server is out of reach, or is not to have the session ---

    def _stand_in(self, routed: RoutedRequest, lock: Lock) -> Response | None:
        """Answer in the place of the server that granted this lock; None if its holder lets go of it."""
        match STAND_IN[routed.operation]:
            case StandIn.LOCKED:
                return self._refuse_for(routed, lock)
            case StandIn.TOUCHED:
                self._expiry_sync.note_renewed(routed.session, None, None)
                return _own(Answer(Status.OK))
            case StandIn.LET_GO:
                if routed.cookie != lock.cookie:
                    return self._refuse_for(routed, lock)
                # A release changes no content; whatever else its holder asks makes that server's out of date.
                self._take_over(routed.session, lock, is_stale=RULES[routed.operation].is_write)
                return None

    async def _answer_of_locked(self, routed: RoutedRequest, found: LockedElsewhere) -> Response:
        """The session is locked on a server where it does not belong, and stays there until that is over."""
        match STAND_IN[routed.operation]:
            case StandIn.LOCKED:
                return Response(found.backend_reply.head, b"")
            case StandIn.TOUCHED:
                return _own(Answer(Status.OK))
            case StandIn.LET_GO:
                return await self._dispatcher.exchange_with(found.server, routed, self._roster.pool)

    def _refuse_for(self, routed: RoutedRequest, lock: Lock) -> Response:
        """Say in the place of its server that the session is locked."""
        self._expiry_sync.note_renewed(routed.session, None, None)
        age = trio.current_time() - lock.since
        return _own(Answer(Status.LOCKED, lock_age=age, lock_cookie=lock.cookie))

    def _take_over(self, session: SessionRef, lock: Lock, *, is_stale: bool) -> None:
        """Its holder lets go of a lock whose server cannot be reached: what it holds may be out of date now.

        It `is_stale` where the content changes with that, and not only the lock.
        """
        self._ledger.end_lock(session.key)
        self._ledger_keeper.mark(session, lock.server, is_stale=is_stale)
        member = self._roster.pool.members.get(lock.server)
        if member is not None:
            self._observer.lock_taken_over(member.backend)

    # --- a session that is missed ---

    async def _search(
        self, routed: RoutedRequest, answer: Response, operation: Operation
    ) -> Response | SearchResult | LockedElsewhere:
        """Look for a session that was missed; a response is what its client is told.

        The lock of a router before may lie where nothing is read. Where its server lets go of it, that is the
        answer if no other one has the session or can tell: whoever was shown a lock must be able to end it.
        Raises NoBackendLeft where no server can tell. Source: design.md 5.2.6.
        """
        released = await self._release_missed(routed, answer)
        try:
            found = await self._look_elsewhere(routed, answer, operation)
        except NoBackendLeft:
            if released is None:
                raise
            return released
        return (released or answer) if found is SearchResult.ABSENT else found

    async def _release_missed(self, routed: RoutedRequest, answer: Response) -> Response | None:
        """What a server replied that may have granted the lock, and has the session; None if none does."""
        if routed.operation is not Operation.RELEASE:
            return None
        assert answer.answered_by is not None
        server = answer.answered_by.server
        replies = await self._lock_quarantine.release_elsewhere(routed.session, routed.cookie, server)
        return next((Response(each.head, b"") for each in replies if each.status == 200), None)

    async def _look_elsewhere(
        self, routed: RoutedRequest, answer: Response, operation: Operation
    ) -> SearchResult | LockedElsewhere:
        """A server says that the session is not there. Is that the truth?

        It is not asked again: what it says holds for as long as the gate is kept, and its pool is in force.

        Raises NoBackendLeft where no server can tell.
        """
        is_settled = self._ledger_keeper.is_settled(routed.session)
        begun, routed.follow_ups = routed.follow_ups.searches, FollowUps()
        if is_settled and not begun and not self._may_lack_removes():
            return SearchResult.ABSENT
        missed_at = _missed_at(answer, self._roster.pool)
        with trio.move_on_at(routed.request.deadline):
            return await self._lookup.find(
                routed.session, operation, is_settled=is_settled, begun=begun, missed_at=missed_at
            )
        raise NoBackendLeft("the session was not found in time")

    def _may_lack_removes(self) -> bool:
        """Whether the router before this one may have been cut off in the middle of a remove."""
        return self._roster.pool.may_lack_removes(trio.current_time() - self._ledger.longest_life)


def _may_find_room(request: Request) -> bool:
    """Whether a refusal says that its server is full: all else of the request is as a server wants it."""
    minutes = request.head.timeout_minutes
    is_save = request.head.operation in (Operation.SET, Operation.CREATE_UNINITIALIZED)
    return is_save and request.is_whole and (minutes is None or minutes <= LONGEST_TIMEOUT_MINUTES)


def _missed_at(answer: Response, pool: Pool) -> dict[BackendId, BackendReply]:
    """What the server that misses a session has said under this pool; nothing if that was under another."""
    answered_by = answer.answered_by
    assert answered_by is not None
    if answered_by.pool is not pool:
        return {}
    return {answered_by.server: BackendReply(answer.head, b"", answered_by.sent_at)}


def _own(answer: Answer) -> Response:
    """An answer in the router's own words."""
    raw = write_answer_head(answer, local_ticks() if answer.lock_age is not None else 0)
    return Response(AnswerHead(raw, answer.status.code, 0, answer.lock_cookie), b"")
