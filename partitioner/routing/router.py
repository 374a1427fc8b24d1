"""The router as a responder: what surrounds every exchange, from its gate to its client.

The slow path: every exchange is straight-line code, and this is the definition of what is right, together
with `answering`, which finds the answer, and `answer_recorder`, which does what follows from it.

Three ideas carry it. Behind the *key gate* there is one exchange of a key at a time. *Incarnations* tell a
server that has forgotten everything from one that is back. The *ledger* knows which locks are held and which
servers may not be read for a key. Decisions are pure and stand on lower floors: the pool says who acts for a
key, the retry table what to do when that fails.

    get, acquire, release, reset_timeout    to the acting primary alone; copies are touched later
    set, remove                             to the acting primary, then to all others that it concerns
    create_uninitialized                    the same, where the session does not exist yet

While a lock is held, every request of its key goes to the server that granted it. When that server
cannot be reached, the router itself stands for the lock (design.md 7.3).
"""

from dataclasses import dataclass, replace

import trio

from partitioner.errors import MalformedRequest, NoBackendLeft
from partitioner.membership.entry import REMOVE, may_hold_stale
from partitioner.membership.exchange import EFFECTS, RULES, Finish, finish
from partitioner.membership.items import ITEMS
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import canonical_form
from partitioner.routing.answering import Answering
from partitioner.routing.dispatch import RoutedRequest
from partitioner.routing.expiry_sync import ExpirySync
from partitioner.routing.farm_mismatch import FarmMismatch
from partitioner.routing.key_gate import GateHold, KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lock_quarantine import LockQuarantine
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.roster import Roster
from partitioner.routing.tenure import Tenure
from partitioner.routing.undelivered_locks import UndeliveredLocks
from partitioner.transport.limits import BodyBudget, HeldBody
from partitioner.transport.messages import AnsweredBy, Request, Response
from partitioner.transport.observer import Observer
from partitioner.transport.precedence import ComingBody, Precedence

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
    answering: Answering
    lock_quarantine: LockQuarantine
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
        self._answering = parts.answering
        self._lock_quarantine = parts.lock_quarantine
        self._expiry_sync = parts.expiry_sync
        self._undelivered_locks = parts.undelivered_locks
        self._farm_mismatch = parts.farm_mismatch
        self._observer = parts.observer
        self._keeper = parts.keeper
        self._tenure = parts.tenure
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
        return has_lock or not self._ledger_keeper.is_settled(session)

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
            answer = await self._maybe_refusal(routed) or await self._answering.answer(routed)
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

    async def _maybe_refusal(self, routed: RoutedRequest) -> Response | None:
        """The 423 of lock quarantine, if there is one.

        One server has shown the lock, and perhaps is not read: the session is renewed on those that are.
        """
        refusal = await self._lock_quarantine.maybe_refusal(routed.operation, routed.session)
        if refusal is not None:
            self._expiry_sync.note_renewed(routed.session, None, None)
        return refusal

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


def _takes_lock(routed: RoutedRequest, response: Response) -> bool:
    """Whether this answer hands a lock to its recipient."""
    head = response.head
    return EFFECTS[routed.operation, head.status].grants_lock and head.lock_cookie is not None


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
