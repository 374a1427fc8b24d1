"""Puts sessions where they belong: from where a search has found them, or from a server that leaves.

What is not marked holds the last acknowledged content, so any such server is a source. A session is stored on
its acting set first, and removed elsewhere then. The caller stands behind its key gate.
"""

from dataclasses import dataclass
from enum import Enum

import trio

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.pool import ActingSet
from partitioner.placement.session_id import SessionRef
from partitioner.routing.internal_requests import BackendReply, InternalRequests, put, remove, touch
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.replication import Replicator
from partitioner.routing.roster import Roster


@dataclass(frozen=True, slots=True)
class LockedElsewhere:
    """It is on a server where it does not belong, and cannot be moved: its lock is held there."""

    server: BackendId
    backend_reply: BackendReply


class HandedOver(Enum):
    """What became of a session that a leaving server holds."""

    MOVED = "it is where it belongs now, and gone from there"
    GONE = "it was not there any more"
    LOCKED = "its lock is held there, and the ledger does not know by whom"
    LATER = "it cannot be moved just now"


class Relocator:
    """Moves one session at a time."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        internal_requests: InternalRequests,
        replicator: Replicator,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._internal_requests = internal_requests
        self._replicator = replicator

    async def move(self, missed: SessionRef, owners: list[BackendId]) -> LockedElsewhere | None:
        """Bring a session from its owner to its acting set; return where it is if its lock is held there.

        Raises NoBackendLeft if that fails; the session is then where it was.
        """
        marks = self._ledger_keeper.ledger.marks(missed.key)
        acting = self._acting_set(missed, is_marked_good=False)
        acting = acting or self._acting_set(missed, is_marked_good=True)  # a move puts its target right
        if acting is None:
            raise NoBackendLeft("no backend is up")
        owner = owners[0]
        if acting.primary in owners:
            return None
        async with self._internal_requests.fetched(owner, missed.target) as backend_reply:
            if backend_reply is None or backend_reply.status == 400:
                name = self._roster.pool.name_of(owner)
                raise NoBackendLeft(f"{name} has the session, and did not hand it over")
            if backend_reply.status == 423:
                return LockedElsewhere(owner, backend_reply)
            if backend_reply.status == 404:
                return None  # it has just expired, or gone: its home will say so
            with trio.CancelScope(shield=True):
                if not await self.settle_in(missed, acting.primary, backend_reply):
                    who, name = map(self._roster.pool.name_of, (acting.primary, owner))
                    raise NoBackendLeft(f"{who} did not take the session from {name}")
                for copy in (*acting.copies, *acting.recovering):
                    if copy not in owners or copy in marks:
                        await self.settle_in(missed, copy, backend_reply)
        await self.clear(missed, [each for each in owners if each not in acting.written], acting.written)
        self._replicator.note_moved(owner, "missed")
        return None

    async def settle_in(
        self, missed: SessionRef, server: BackendId, backend_reply: BackendReply, *, is_flagged: bool = False
    ) -> bool:
        """Store on a server what its owner told; a copy that fails is marked.

        What the server has may be `is_flagged`: new, as no client is to be told any more.
        """
        told = put(missed.target, backend_reply)
        stored = await self._replicator.replace(missed.key, server, told, is_flagged=is_flagged)
        if stored is not None and stored.status == 200:
            self._ledger_keeper.ledger.note_put_right(missed.key, server, stored.sent_at)
            return True
        self._ledger_keeper.mark(missed, server, is_stale=True)
        return False

    async def clear(
        self, missed: SessionRef, servers: list[BackendId], belongs: tuple[BackendId, ...]
    ) -> None:
        """Have the session gone from servers where it does not belong; mark those that fail."""
        ledger = self._ledger_keeper.ledger
        internal_request = remove(missed.target)
        may_remove = self._roster.pool.may_remove_from
        cleared = [each for each in servers if may_remove(each, belongs)]
        for server in servers:
            if server not in cleared:
                self._ledger_keeper.mark(missed, server, is_stale=True)
        with trio.CancelScope(shield=True):
            replies = await self._internal_requests.run_all([(each, internal_request) for each in cleared])
            for server, backend_reply in zip(cleared, replies, strict=True):
                if backend_reply is not None and backend_reply.status in (200, 404):
                    ledger.note_put_right(missed.key, server, backend_reply.sent_at)
                else:
                    self._ledger_keeper.mark(missed, server, is_stale=True)

    def _acting_set(self, missed: SessionRef, *, is_marked_good: bool) -> ActingSet | None:
        """Who acts for the session; those that are marked for it only if they will do."""
        marks = () if is_marked_good else self._ledger_keeper.ledger.marks(missed.key)
        return self._ledger_keeper.acting_set(self._roster.pool, missed, marks)

    # --- before a server leaves ---

    async def hand_over(self, missed: SessionRef, leaving: BackendId) -> HandedOver:
        """Bring a session that a leaving server holds to its whole acting set, and remove it there.

        The caller stands behind the key gate. What is not marked holds the last acknowledged content, so the
        leaving server is as good a source as any; and better than the acting primary, whose one-shot flag
        a get would consume. Each try starts the session's time-out anew, as every look at it does.
        """
        ledger = self._ledger_keeper.ledger
        if ledger.marks(missed.key) or ledger.maybe_lock(missed.key, trio.current_time()) is not None:
            return HandedOver.LATER
        pool = self._roster.pool
        acting = pool.acting_set(missed.placement)
        if acting is None or leaving in acting.written:
            return HandedOver.LATER
        asked = [leaving, acting.primary, *acting.copies]
        replies = await self._internal_requests.run_all([(each, touch(missed.target)) for each in asked])
        statuses = {
            server: None if reply is None else reply.status
            for server, reply in zip(asked, replies, strict=True)
        }
        if statuses[leaving] == 404:
            return HandedOver.GONE
        if not all(status in (200, 404) for status in statuses.values()):
            return HandedOver.LATER
        lacking = [server for server, status in statuses.items() if status == 404]
        # One that is RECOVERING is written whatever it holds, and never looked at (design.md 7.2).
        outcome = await self._complete(missed, leaving, [*lacking, *acting.recovering])
        if outcome is HandedOver.MOVED and self._roster.pool.epoch != pool.epoch:
            return HandedOver.LATER  # who has just taken it may have forgotten it, or not be asked for it
        return await self._let_go(missed, leaving, acting) if outcome is HandedOver.MOVED else outcome

    async def _complete(self, missed: SessionRef, source: BackendId, lacking: list[BackendId]) -> HandedOver:
        """Copy a session to those who lack it; MOVED if all of them have it now."""
        if not lacking:
            return HandedOver.MOVED
        async with self._internal_requests.fetched(source, missed.target) as backend_reply:
            if backend_reply is None or backend_reply.status not in (200, 404, 423):
                return HandedOver.LATER
            if backend_reply.status != 200:
                return HandedOver.LOCKED if backend_reply.status == 423 else HandedOver.GONE
            with trio.CancelScope(shield=True):
                stored = [await self.settle_in(missed, server, backend_reply) for server in lacking]
        return HandedOver.MOVED if all(stored) else HandedOver.LATER

    async def _let_go(self, missed: SessionRef, leaving: BackendId, acting: ActingSet) -> HandedOver:
        """Remove from a leaving server what all others have."""
        if not self._roster.pool.may_remove_from(leaving, acting.written):
            return HandedOver.LATER
        with trio.CancelScope(shield=True):
            backend_reply = await self._internal_requests.run(leaving, remove(missed.target))
        if backend_reply is not None and backend_reply.status == 423:
            return HandedOver.LOCKED
        if backend_reply is None or backend_reply.status not in (200, 404):
            self._ledger_keeper.mark(missed, leaving, is_stale=True)
            return HandedOver.LATER
        self._replicator.note_moved(leaving, "drained")
        return HandedOver.MOVED
