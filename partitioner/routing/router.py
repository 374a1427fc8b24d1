"""The router as a responder: which backend a request goes to, and what has to be done besides.

The slow path: every exchange is straight-line code, and this file is the definition of what is right. Three
ideas carry it. Behind the *key gate* there is one exchange of a key at a time. *Incarnations* tell a server
that has forgotten everything from one that is back. The *ledger* knows which locks are held and which servers
may not be read for a key. Decisions are pure and stand on lower floors: the pool says who acts for a key, the
retry table what to do when that fails.

    get, acquire, release, reset_timeout    to the acting primary alone; copies are touched later
    set, remove                             to the acting primary, then to all others that it concerns
    create_uninitialized                    the same, where the session does not exist yet

One loop asks for all of them (`_ask_until_answered`). What may be different between operations stands in
tables, which the fast path goes by as well (membership.exchange).

While a lock is held, every request of its key goes to the server that granted it. When that server
cannot be reached, the router itself stands for the lock (design.md 7.3).
"""

from dataclasses import dataclass, replace

import trio

from partitioner.errors import MalformedRequest, NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.entry import REMOVE, Lock, may_hold_stale
from partitioner.membership.exchange import EFFECTS, RULES, STAND_IN, Effects, Finish, StandIn, finish
from partitioner.membership.items import ITEMS
from partitioner.membership.pool import ActingSet, Pool
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Answer, AnswerHead, Operation, Status
from partitioner.protocol.target import canonical_form
from partitioner.protocol.writer import write_answer_head
from partitioner.routing.dispatch import Dispatcher, FollowUps, RoutedRequest
from partitioner.routing.expiry_sync import ExpirySync
from partitioner.routing.farm_mismatch import FarmMismatch
from partitioner.routing.internal_requests import (
    InternalRequest,
    InternalRequests,
    touch,
)
from partitioner.routing.key_gate import GateHold, KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lock_quarantine import LockQuarantine
from partitioner.routing.lookup import LockedElsewhere, Lookup, SearchResult
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.replication import Replicator, Write
from partitioner.routing.roster import Roster
from partitioner.routing.tenure import Tenure
from partitioner.routing.undelivered_locks import UndeliveredLocks
from partitioner.sessions.table import LONGEST_TIMEOUT_MINUTES
from partitioner.transport.limits import BodyBudget, HeldBody
from partitioner.transport.messages import AnsweredBy, Request, Response
from partitioner.transport.observer import Observer
from partitioner.transport.precedence import ComingBody, Precedence
from partitioner.transport.state_server import local_ticks

LONGEST_DELIVERY = 1.0
"""Seconds for which a client that is slow to read keeps its session's other requests waiting."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the router works with; they all share one ledger and one gate."""

    roster: Roster
    ledger_keeper: LedgerKeeper
    gate: KeyGate
    body_budget: BodyBudget
    precedence: Precedence
    internal_requests: InternalRequests
    replicator: Replicator
    lookup: Lookup
    expiry_sync: ExpirySync
    undelivered_locks: UndeliveredLocks
    farm_mismatch: FarmMismatch
    observer: Observer
    keeper: RecordKeeper | None = None  # None where no other router can come after this one
    tenure: Tenure | None = None


class Router:
    """Answers requests by asking those who hold the session."""

    def __init__(self, parts: Parts, background: trio.Nursery) -> None:
        """`background` outlives every exchange: the gate is left there while a client still reads."""
        self._roster = parts.roster
        self._ledger_keeper = parts.ledger_keeper
        self._ledger = parts.ledger_keeper.ledger
        self._gate = parts.gate
        self._body_budget = parts.body_budget
        self._precedence = parts.precedence
        self._internal_requests = parts.internal_requests
        self._replicator = parts.replicator
        self._lookup = parts.lookup
        self._dispatcher = Dispatcher(parts.roster, parts.ledger_keeper, parts.lookup)
        self._expiry_sync = parts.expiry_sync
        self._undelivered_locks = parts.undelivered_locks
        self._farm_mismatch = parts.farm_mismatch
        self._observer = parts.observer
        self._keeper = parts.keeper
        self._tenure = parts.tenure
        self._lock_quarantine = LockQuarantine(
            parts.tenure, parts.roster, parts.ledger_keeper, parts.internal_requests
        )
        self._background = background

    async def respond(self, request: Request) -> Response:
        """Have the request answered; this is a Responder.

        Raises NoBackendLeft or BackendFailure: the client's connection is to be closed then; or
        MalformedRequest for a key that is none of a client's business.
        """
        head = request.head
        session = self._ledger_keeper.session_of(head.target)
        canonical = canonical_form(session.key)
        if canonical.startswith(ITEMS.encode()):
            raise MalformedRequest(
                "a key that is kept for routers: is this router entered as a backend there?"
            )
        if self._tenure is not None:
            await self._tenure.ensure_active(canonical, head.operation, request.deadline)
        self._farm_mismatch.note(canonical, session.placement)
        is_too_large = head.content_length > self._body_budget.limit  # then its copies are read back
        if request.is_whole or is_too_large or not self._is_copied(session):
            return await self._respond_behind_the_gate(RoutedRequest(request, session))
        held = self._body_budget.hold(head.content_length)
        coming = self._precedence.begin(head.content_length)
        try:
            request = await _whole(request, held, coming)
            return await self._respond_behind_the_gate(RoutedRequest(request, session))
        finally:
            held.give_back()
            coming.end()

    async def go_on(self, routed: RoutedRequest) -> Response:
        """The same for an exchange that the fast path has begun: it is behind the gate already."""
        return await self._respond_within_the_gate(routed)

    # --- around every exchange ---

    def _is_copied(self, session: SessionRef) -> bool:
        """Whether a body may have to be written more than once."""
        if self._roster.pool.copies > 1:
            return True
        has_lock = self._ledger.maybe_lock(session.key, trio.current_time()) is not None
        return has_lock or not self._is_settled(session)

    def _is_settled(self, session: SessionRef) -> bool:
        unchanged = self._roster.pool.unchanged_since(session.placement)
        return self._ledger.is_settled(session.key, unchanged, trio.current_time())

    async def _respond_behind_the_gate(self, routed: RoutedRequest) -> Response:
        try:
            await self._enter(routed.session.key, routed.request.deadline)
        except BaseException:
            self._note_closed(routed)
            raise
        return await self._respond_within_the_gate(routed)

    async def _respond_within_the_gate(self, routed: RoutedRequest) -> Response:
        key = routed.session.key
        try:
            self._ledger.note_alive(key, trio.current_time())
            self._ensure_room(routed)
            await self._note_remove(routed)
            answer = await self._lock_quarantine.maybe_refusal(
                routed.operation, routed.session
            ) or await self._answer(routed)
        except BaseException:
            self._note_closed(routed)
            self._gate.leave(key)
            raise
        if answer.answered_by is not None:
            self._note_passed_over(answer.answered_by)
        await self._write_down(routed, answer)
        effects = EFFECTS[routed.operation, answer.head.status]
        if effects.is_served:
            self._ledger.note_served(key, trio.current_time())
        if effects.shows_no_lock:
            self._lock_quarantine.note_answered(key)
        return self._leave_at_the_end(routed, answer)

    def _ensure_room(self, routed: RoutedRequest) -> None:
        """A lock that could not be remembered is not asked for.

        Raises NoBackendLeft.
        """
        is_acquire = routed.operation is Operation.ACQUIRE
        if is_acquire and not self._ledger.make_room_for_lock(routed.session.key, trio.current_time()):
            raise NoBackendLeft("as many sessions are locked as limits.ledger allows")

    # --- what the next router must know ---

    async def _note_remove(self, routed: RoutedRequest) -> None:
        """A remove may be cut off half-way: who may lack it is written down before it is sent anywhere."""
        keeper, pool = self._keeper, self._roster.pool
        if keeper is None or routed.operation is not Operation.REMOVE:
            return
        if pool.dirty or pool.unrecorded or self._ledger.marks(routed.session.key):
            dirty = (each for each, reasons in (pool.dirty or {}).items() if may_hold_stale(reasons))
            marks = self._ledger.marks(routed.session.key).items()
            marked = (each for each, mark in marks if not mark.had_nothing)
            lacking = {*dirty, *pool.unrecorded, *marked}
            await keeper.ensure(dict.fromkeys(lacking, frozenset({REMOVE})))

    async def _write_down(self, routed: RoutedRequest, answer: Response) -> None:
        """Have it written down who lacks what, before the client is answered.

        Raises NoBackendLeft; nothing of this exchange reaches the client then, and a lock is given back.
        """
        keeper, key = self._keeper, routed.session.key
        if keeper is None or not (needs := keeper.needs_of(key)):
            return
        try:
            await keeper.ensure(needs)
        except BaseException:
            answer.finish(False)
            self._note_closed(routed)
            if finish(takes_lock=_takes_lock(routed, answer), was_delivered=False) is Finish.GIVE_LOCK_BACK:
                self._undelivered_locks.give_back_soon(routed.session)
            else:
                self._gate.leave(key)
            raise

    def _acting_set(self, session: SessionRef, pool: Pool) -> ActingSet | None:
        marks = self._ledger.marks(session.key)
        return self._ledger_keeper.acting_set(pool, session, marks)

    async def _release_everywhere(self, routed: RoutedRequest) -> None:
        """Where no server serves because each server may lack something, a lock keeps them from agreeing."""
        pool, session = self._roster.pool, routed.session
        if pool.placed or routed.cookie is None or self._ledger.is_agreed(session.key):
            return
        servers = [each for each, member in pool.members.items() if member.is_reachable]
        await self._lock_quarantine.release_at(servers, session, routed.cookie)

    async def _enter(self, key: bytes, deadline: float) -> None:
        """Pass the gate. Raises NoBackendLeft if that is not possible in time."""
        if self._gate.is_free(key):  # nearly always; a deadline costs more than all the rest of the gate
            await self._gate.enter(key)
            return
        with trio.move_on_at(deadline):
            await self._gate.enter(key)
            return
        raise NoBackendLeft("other requests of the same session took all the time")

    def _note_passed_over(self, answered_by: AnsweredBy) -> None:
        if answered_by.passed_over is not None:
            self._observer.failed_over(answered_by.pool.members[answered_by.passed_over].backend)

    def _leave_at_the_end(self, routed: RoutedRequest, response: Response) -> Response:
        """Keep the gate until the answer is delivered, and a lock that is not until it is given back.

        A client that takes its time over a long answer keeps it for a second at most: what its server says is
        settled, and the others of the session need not wait for its network.
        """
        takes_lock = _takes_lock(routed, response)
        hold = GateHold(self._gate, routed.session.key)
        if response.rest is not None:
            self._background.start_soon(hold.leave_after, LONGEST_DELIVERY)

        def end(was_delivered: bool) -> None:
            response.finish(was_delivered)
            if finish(takes_lock=takes_lock, was_delivered=was_delivered) is not Finish.GIVE_LOCK_BACK:
                hold.leave()
            elif hold.take_over():
                self._undelivered_locks.give_back_soon(routed.session)
            else:
                self._undelivered_locks.give_back_behind_the_gate(routed.session)

        return replace(response, takes_lock=takes_lock, finish=end)

    def _note_closed(self, routed: RoutedRequest) -> None:
        """The client's connection is closed. If its page held the lock, it has failed, and the lock is free.

        Some server may have carried the request out all the same, and let its session live longer.
        """
        if self._roster.pool.copies > 1:
            self._expiry_sync.note_renewed(routed.session, None, None)
        if not RULES[routed.operation].ends_page:
            return
        session = routed.session
        lock = self._ledger.maybe_lock(session.key, trio.current_time())
        if lock is not None and lock.cookie == routed.cookie:
            self._ledger.end_lock(session.key)
            self._ledger_keeper.mark(session, lock.server, is_stale=False)

    # --- asking ---

    async def _answer(self, routed: RoutedRequest) -> Response:
        if routed.operation is Operation.CREATE_UNINITIALIZED:
            return await self._create(routed)
        if routed.operation is Operation.RELEASE:
            await self._release_everywhere(routed)
        return await self._ask_until_answered(routed)

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
                answer = await self._follow_up(routed, answer, effects)
                if not has_let_go or answer.status != 404:
                    return answer
            if has_let_go:
                return _own(Answer(Status.OK))  # the router was the lock, wherever the session is: row 10
            self._record(routed, answer, effects)
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

    # --- what an answer is followed by ---

    async def _follow_up(self, routed: RoutedRequest, answer: Response, effects: Effects) -> Response:
        """Remember what the session's server says, and do what comes before its client is answered."""
        answered_by = answer.answered_by
        assert answered_by is not None
        if effects.spreads:
            return await self._spread(routed, answer, answered_by, effects)
        self._record(routed, answer, effects)
        if answer.head.has_action_flags:
            await self._consume_flag(routed.session, answered_by.server)
        if routed.operation is Operation.RELEASE:
            await self._lock_quarantine.release_elsewhere(routed.session, routed.cookie, answered_by.server)
        return answer

    def _record(self, routed: RoutedRequest, answer: Response, effects: Effects) -> None:
        """Remember what an answer to a request of one server says."""
        session, head, answered_by = routed.session, answer.head, answer.answered_by
        assert answered_by is not None
        server = answered_by.server
        if effects.ends_lock and self._end_lock_of(session, server) and not effects.is_miss:
            self._want_repair(session)
        minutes = head.timeout_minutes if effects.tells_timeout else None
        self._note_timeout(session, minutes)
        if effects.grants_lock and head.lock_cookie is not None:
            incarnation = answered_by.pool.members[server].record.incarnation
            lock = Lock(head.lock_cookie, server, incarnation, trio.current_time())
            self._ledger.note_lock(session.key, session.target, lock, minutes)
        if effects.renews:
            self._expiry_sync.note_renewed(session, server, minutes)

    async def _spread(
        self, routed: RoutedRequest, answer: Response, answered_by: AnsweredBy, effects: Effects
    ) -> Response:
        """A write is done by its first server: have all others follow; return what its client is told."""
        session, request, minutes = routed.session, routed.request, routed.request.head.timeout_minutes
        if effects.ends_lock:
            self._ledger.end_lock(session.key)  # whichever server granted it: a write goes through
        self._note_timeout(session, minutes)
        write = Write(
            session,
            InternalRequest(request.head, request.body if request.is_whole else b""),
            answered_by.server,
            answered_by.sent_at,
            answered_by.pool,
            routed.follow_ups.copies,
            routed.follow_ups.removes,
        )
        replies = await self._replicator.spread(write)
        if routed.operation is Operation.REMOVE:
            self._expiry_sync.note_removed(session)
        else:
            self._expiry_sync.note_written(session, minutes)
        if effects.ends_lock:
            self._want_repair(session)
        found_elsewhere = [each for each in replies if each.status == 200]
        if answer.status == 404 and found_elsewhere:
            return Response(found_elsewhere[0].head, b"")  # it was there, and now it is gone
        return answer

    async def _consume_flag(self, session: SessionRef, server: BackendId) -> None:
        """This server has handed out the one-shot flag of a new session: its copies have it no longer."""
        marks = self._ledger.marks(session.key)
        acting = self._acting_set(session, self._roster.pool)
        copies = () if acting is None else (acting.primary, *acting.copies)
        servers = tuple(each for each in copies if each != server and each not in marks)
        await self._expiry_sync.consume_flag(session.target, servers)

    # --- what they have in common ---

    def _note_timeout(self, session: SessionRef, minutes: int | None) -> None:
        if minutes is not None:
            self._ledger.note_timeout(session.key, minutes)

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
            found = await self._look_elsewhere(routed, operation)
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
        self, routed: RoutedRequest, operation: Operation
    ) -> SearchResult | LockedElsewhere:
        """A server says that the session is not there. Is that the truth?

        Raises NoBackendLeft where no server can tell.
        """
        is_settled = self._is_settled(routed.session)
        begun, routed.follow_ups = routed.follow_ups.searches, FollowUps()
        if is_settled and not begun and not self._may_lack_removes():
            return SearchResult.ABSENT
        with trio.move_on_at(routed.request.deadline):
            return await self._lookup.find(routed.session, operation, is_settled=is_settled, begun=begun)
        raise NoBackendLeft("the session was not found in time")

    def _may_lack_removes(self) -> bool:
        """Whether the router before this one may have been cut off in the middle of a remove."""
        return self._roster.pool.may_lack_removes(trio.current_time() - self._ledger.longest_life)

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

    def _end_lock_of(self, session: SessionRef, server: BackendId) -> bool:
        """This server has just said that it has not locked the session; return whether it was thought to."""
        lock = self._ledger.maybe_lock(session.key, trio.current_time())
        if lock is None or lock.server != server:
            return False
        self._ledger.end_lock(session.key)
        return True

    def _want_repair(self, session: SessionRef) -> None:
        if self._ledger.marks(session.key):
            self._ledger_keeper.want_repair(session.key)


def _may_find_room(request: Request) -> bool:
    """Whether a refusal says that its server is full: all else of the request is as a server wants it."""
    minutes = request.head.timeout_minutes
    is_save = request.head.operation in (Operation.SET, Operation.CREATE_UNINITIALIZED)
    return is_save and request.is_whole and (minutes is None or minutes <= LONGEST_TIMEOUT_MINUTES)


def _takes_lock(routed: RoutedRequest, response: Response) -> bool:
    """Whether this answer hands a lock to its recipient."""
    head = response.head
    return EFFECTS[routed.operation, head.status].grants_lock and head.lock_cookie is not None


def _own(answer: Answer) -> Response:
    """An answer in the router's own words."""
    raw = write_answer_head(answer, local_ticks() if answer.lock_age is not None else 0)
    return Response(AnswerHead(raw, answer.status.code, 0, answer.lock_cookie), b"")


async def _whole(request: Request, held: HeldBody, coming: ComingBody) -> Request:
    """Take the whole body in, when it is its turn, and as far as there is memory for it."""
    assert request.rest is not None
    pieces = [request.body]
    await coming.wait_for_turn()
    await held.grow(len(request.body))
    while piece := await request.rest():
        await coming.wait_for_turn()
        await held.grow(len(piece))
        pieces.append(piece)
    coming.complete()
    return Request(request.head, b"".join(pieces), None, request.deadline)
