"""Remembers what an answer says, and does what comes before its client is answered.

What an answer means stands in a table, which the fast path goes by as well (membership.exchange).
"""

import trio

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import Lock
from partitioner.membership.exchange import RULES, Effects
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.dispatch import RoutedRequest
from partitioner.routing.expiry_sync import ExpirySync
from partitioner.routing.internal_requests import InternalRequest
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lock_quarantine import LockQuarantine
from partitioner.routing.replication import Replicator, Write
from partitioner.routing.roster import Roster
from partitioner.transport.messages import AnsweredBy, Response


class AnswerRecorder:
    """Carries out the effects of answers: on the ledger, on expiry, and on the other servers."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        replicator: Replicator,
        expiry_sync: ExpirySync,
        lock_quarantine: LockQuarantine,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._ledger = ledger_keeper.ledger
        self._replicator = replicator
        self._expiry_sync = expiry_sync
        self._lock_quarantine = lock_quarantine

    async def follow_up(self, routed: RoutedRequest, answer: Response, effects: Effects) -> Response:
        """Remember what the session's server says, and do what comes before its client is answered."""
        answered_by = answer.answered_by
        assert answered_by is not None
        if effects.spreads:
            return await self._spread(routed, answer, answered_by, effects)
        if answer.status == 423 and RULES[routed.operation].is_write:
            server = answered_by.server
            await self._lock_quarantine.confirm_refusal(routed.session, routed.cookie, server)
        self.record(routed, answer, effects)
        if answer.head.has_action_flags:
            await self._expiry_sync.consume_flag(routed.session, answered_by.server)
        if routed.operation is not Operation.RELEASE:
            return answer
        replies = await self._lock_quarantine.release_elsewhere(
            routed.session, routed.cookie, answered_by.server
        )
        released = (Response(each.head, b"") for each in replies if each.status == 200)
        return next(released, answer) if answer.status == 423 else answer

    def record(self, routed: RoutedRequest, answer: Response, effects: Effects) -> None:
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

    def _note_timeout(self, session: SessionRef, minutes: int | None) -> None:
        if minutes is not None:
            self._ledger.note_timeout(session.key, minutes)

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
