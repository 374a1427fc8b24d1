"""Finds a session that is missed where it belongs, before a client is told that it does not exist.

A 404 of the acting primary proves nothing of an unsettled key: the session may still lie where an older map,
or a failure, has put it. So all servers that can have it are asked at once by HEAD, which takes no lock and
consumes no flag. A server that has it unmarked has the session, and it is moved to where it belongs. If none
has it, it does not exist; but only if no server that might have it is silent (promise P2). For a server that
cannot be asked, one that has held every session of this key for all of the last T_max can be trusted.
Otherwise the client's connection is closed, until the silent servers are known to be out, and for so long
that what only they have counts as lost.

Then the client is told that the session does not exist. Whether it ever did is not known: an ID that was
never stored looks the same. So that is reported as a *loss* only where something says that there was a
session: the ledger, or an era in which it was kept on none but the silent servers. A loss marks them, and
nothing else happens to what servers hold: leftovers are removed after the next write, never on a suspicion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import trio

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import Backend, BackendId
from partitioner.membership.entry import REMOVE, Mark
from partitioner.membership.exchange import is_nowhere
from partitioner.membership.losses import (
    LossPolicy,
    LossReason,
    LostSessions,
    lay_only_on,
    main_reason,
    maybe_loss,
)
from partitioner.membership.pool import ActingSet, Pool
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.internal_requests import (
    SEARCH_PATIENCE,
    BackendReply,
    InternalRequest,
    InternalRequests,
    put,
    release,
    remove,
    side_by_side,
    touch,
)
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.replication import Replicator
from partitioner.routing.roster import Roster
from partitioner.transport.messages import BegunExchange
from partitioner.transport.observer import Observer

_NONE_BEGUN: Mapping[BackendId, BegunExchange] = {}
_NONE_MISSED: Mapping[BackendId, BackendReply] = {}

DECLARE_LOSSES = frozenset({Operation.GET, Operation.ACQUIRE, Operation.CREATE_UNINITIALIZED})
"""Operations upon which a session may be declared lost: their clients begin a new one then."""


class SearchResult(Enum):
    """What became of the search for a session."""

    ABSENT = "it does not exist"
    AT_HOME = "it is where it belongs now"


class HandedOver(Enum):
    """What became of a session that a leaving server holds."""

    MOVED = "it is where it belongs now, and gone from there"
    GONE = "it was not there any more"
    LOCKED = "its lock is held there, and the ledger does not know by whom"
    LATER = "it cannot be moved just now"


@dataclass(frozen=True, slots=True)
class LockedElsewhere:
    """It is on a server where it does not belong, and cannot be moved: its lock is held there."""

    server: BackendId
    backend_reply: BackendReply


class Lookup:
    """Looks for sessions, and moves them to where they belong."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        internal_requests: InternalRequests,
        replicator: Replicator,
        losses: LossPolicy,
        observer: Observer,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._internal_requests = internal_requests
        self._replicator = replicator
        self.losses = losses
        self._observer = observer

    async def find(
        self,
        missed: SessionRef,
        operation: Operation | None,
        *,
        is_settled: bool = False,
        begun: Mapping[BackendId, BegunExchange] = _NONE_BEGUN,
        missed_at: Mapping[BackendId, BackendReply] = _NONE_MISSED,
    ) -> SearchResult | LockedElsewhere:
        """Find out whether a session exists, and bring it home; `operation` is what asks for it, if any.

        Only the acting set can have one that `is_settled`. Some servers may have been asked already: `begun`,
        or have said already that they lack it: `missed_at`.
        Raises NoBackendLeft where no server can tell.
        """
        pool = self._roster.pool
        acting = pool.acting_set(missed.placement) if is_settled else None
        holders = (
            pool.possible_holders(missed.placement) if acting is None else (acting.primary, *acting.copies)
        )
        backend_reply, owners = await self._ask_holders(missed, pool, holders, begun, missed_at)
        if owners:
            return await self._move(missed, owners)
        for server in holders:
            if await self.settle_doubt(missed, server):
                return SearchResult.AT_HOME
        if not is_settled:
            self._note_absent(missed, pool, holders, backend_reply)
        silent = self._silent(missed, holders, backend_reply)
        if not silent or self._a_server_is_trusted(missed, backend_reply, pool):
            return SearchResult.ABSENT
        self._give_up(missed, silent, operation)
        return SearchResult.ABSENT

    def _note_absent(
        self,
        missed: SessionRef,
        pool: Pool,
        holders: tuple[BackendId, ...],
        backend_reply: Mapping[BackendId, BackendReply | None],
    ) -> None:
        """A search has found nothing: its key may be settled by that."""
        lacking = {each for each, answer in backend_reply.items() if answer and answer.status == 404}
        silent = [each for each in holders if each not in lacking]
        ledger = self._ledger_keeper.ledger
        if self._roster.pool.epoch == pool.epoch and is_nowhere(silent, ledger.marks(missed.key)):
            ledger.note_absent(missed.key, pool.epoch)

    async def put_right(self, missed: SessionRef) -> bool:
        """Where all that serve are marked, put them right by one that does not serve; return whether that
        worked.

        A server that is being drained, or was removed, may be the only good one, and holds nothing of this
        key when all is well.
        Raises NoBackendLeft if it has the session, and no server took it.
        """
        pool = self._roster.pool
        _, owners = await self._ask_holders(missed, pool, pool.possible_holders(missed.placement))
        if owners:
            await self._move(missed, owners)
        return self._acting_set(missed, is_marked_good=False) is not None

    async def agree(self, missed: SessionRef) -> bool:
        """Where no server serves because each server may lack something: ask them all; return whether they
        agree.

        They do where all of them answer, none shows a lock, no request is unanswered, all that have the
        session have the same content, and not all of those may have missed its remove. A server that lacks it
        is marked.
        Source: design.md 5.5.5.
        """
        pool, marks = self._roster.pool, self._ledger_keeper.ledger.marks(missed.key)
        members = [each for each, member in pool.members.items() if member.removed_at is None]
        if pool.placed or not all(pool.members[each].is_reachable for each in members):
            return False
        if not all(mark.is_doubtful for mark in marks.values()):
            return False
        contents: dict[BackendId, int | None] = {}  # by their fingerprints
        for server in members:
            async with self._internal_requests.fetched(server, missed.target) as backend_reply:
                self._ledger_keeper.note_read_in_doubt(missed, server, backend_reply)
                if backend_reply is None or backend_reply.status not in (200, 404):
                    return False
                contents[server] = backend_reply.fingerprint if backend_reply.status == 200 else None
        have = [server for server, content in contents.items() if content is not None]
        owe_removes = [each for each in have if REMOVE in (pool.dirty or {}).get(each, ())]
        if len({contents[server] for server in have}) > 1 or (have and len(owe_removes) == len(have)):
            return False
        for server in members if have else ():
            if contents[server] is None:
                self._ledger_keeper.mark(missed, server, is_stale=True)
        self._ledger_keeper.ledger.note_agreed(missed.key)
        return True

    async def _ask_holders(
        self,
        missed: SessionRef,
        pool: Pool,
        holders: tuple[BackendId, ...],
        begun: Mapping[BackendId, BegunExchange] = _NONE_BEGUN,
        missed_at: Mapping[BackendId, BackendReply] = _NONE_MISSED,
    ) -> tuple[dict[BackendId, BackendReply | None], list[BackendId]]:
        """Ask who has the session of those that may be read for it: what they told, and who has it.

        What others tell who have been asked already is not listened to: they may not be read any more.
        """
        marks = self._ledger_keeper.ledger.marks(missed.key)
        readable = [each for each in holders if each not in marks and pool.members[each].is_readable]
        asked = [each for each in readable if each not in missed_at]
        told = await self._ask_all(
            list(dict.fromkeys((*asked, *begun))), touch(missed.target), SEARCH_PATIENCE, begun
        )
        backend_reply = {each: missed_at[each] if each in missed_at else told[each] for each in readable}
        owners = [
            each for each in readable if (answer := backend_reply[each]) is not None and answer.status == 200
        ]
        return backend_reply, owners

    def _acting_set(self, missed: SessionRef, *, is_marked_good: bool) -> ActingSet | None:
        """Who acts for the session; those that are marked for it only if they will do."""
        marks = () if is_marked_good else self._ledger_keeper.ledger.marks(missed.key)
        return self._ledger_keeper.acting_set(self._roster.pool, missed, marks)

    async def settle_doubt(self, missed: SessionRef, server: BackendId) -> bool:
        """Read a server whose mark only says that a request went unanswered; return whether it has the
        session.

        Once that request's connection has ended, what the server holds is the last acknowledged content, or
        what came after it; if no other server has it, that is the session. A lock that is not in the
        ledger is what the unanswered request has left behind.
        """
        ledger = self._ledger_keeper.ledger
        mark = ledger.marks(missed.key).get(server)
        member = self._roster.pool.members.get(server)
        if mark is None or mark.is_stale or mark.is_doubtful or mark.open:
            return False
        if member is None or not member.is_readable:
            return False
        seen = await self._read_in_doubt(missed, member.backend, mark)
        if seen in (200, 404, 423):
            ledger.unmark(missed.key, server)
        return seen in (200, 423)

    async def _read_in_doubt(self, missed: SessionRef, backend: Backend, mark: Mark) -> int | None:
        """The status of a session on a server whose mark is not stale; None where that cannot be told.

        Where the server took an acknowledged save while it was marked, its content has to be that one. An
        older request that was carried out after the save has left something that is stale.
        """
        server = backend.identity
        while True:
            async with self._internal_requests.fetched(server, missed.target) as backend_reply:
                if backend_reply is None:
                    return None
                if backend_reply.status == 200 and not mark.is_what_was_taken(backend_reply.fingerprint):
                    self._ledger_keeper.mark(missed, server, is_stale=True)
                    return None
                status, cookie = backend_reply.status, backend_reply.head.lock_cookie
            if status != 423 or cookie is None:
                return status
            if self._ledger_keeper.may_be_anothers(backend_reply.head, backend_reply.sent_at):
                return None
            freed = await self._internal_requests.run(server, release(missed.target, cookie))
            if freed is None or freed.status != 200:
                return None
            self._observer.ghost_lock_released(backend)
            if mark.taken is None:
                return status

    async def _ask_all(
        self,
        servers: list[BackendId],
        internal_request: InternalRequest,
        patience: float = 0.0,
        begun: Mapping[BackendId, BegunExchange] = _NONE_BEGUN,
    ) -> dict[BackendId, BackendReply | None]:
        run = self._internal_requests.run
        outcomes = await side_by_side(
            lambda server: run(server, internal_request, patience, begun.get(server)), servers
        )
        return dict(zip(servers, outcomes, strict=True))

    def _silent(
        self,
        missed: SessionRef,
        holders: tuple[BackendId, ...],
        backend_reply: dict[BackendId, BackendReply | None],
    ) -> tuple[BackendId, ...]:
        """Those who may have the session and did not say. What is stale on a server is not the session."""
        marks = self._ledger_keeper.ledger.marks(missed.key)
        return tuple(
            each
            for each in holders
            if backend_reply.get(each) is None and not (each in marks and marks[each].is_stale)
        )

    def _a_server_is_trusted(
        self, missed: SessionRef, backend_reply: dict[BackendId, BackendReply | None], pool: Pool
    ) -> bool:
        since = trio.current_time() - self._ledger_keeper.ledger.longest_life
        witnesses = [
            each for each, answer in backend_reply.items() if answer is not None and answer.status == 404
        ]
        return any(pool.has_always_held(each, missed.placement, since) for each in witnesses)

    def _give_up(
        self, missed: SessionRef, silent: tuple[BackendId, ...], operation: Operation | None
    ) -> None:
        """Take a session that only these servers may have for one that does not exist.

        Reads their state and does not wait, so nothing changes between this and the answer.

        If there was a session, it is lost: these servers are marked, so that it never comes back, and the
        loss is reported. Else nothing is known that could come back: in every era in which the router saw the
        session's servers, one of them was asked just now. Should a silent server hold the session all the
        same (it was saved there alone before the router's start), then it comes back only as long as nothing
        newer exists. The next save, create or remove of an unsettled key goes to all possible holders and
        marks those that are out of reach (Replicator.spread). To mark them now would let clients fill the
        ledger with IDs that they have made up.

        Raises NoBackendLeft where it may not be said that the session does not exist.
        """
        reason = self._reason_of_loss(missed.key, silent, operation)
        ledger = self._ledger_keeper.ledger
        existed = ledger.tells_of_a_session(missed.key)
        if not existed and not lay_only_on(silent, missed.placement, self._roster.pool):
            return
        for server in silent:
            self._ledger_keeper.mark(missed, server, is_stale=True)
        ledger.note_lost(missed.key, silent)
        assert operation is not None
        self._observer.loss_declared(operation, silent, reason)

    def _reason_of_loss(
        self, key: bytes, silent: tuple[BackendId, ...], operation: Operation | None
    ) -> LossReason:
        """Why what only these servers have may be declared lost.

        Raises NoBackendLeft while that may not be done.
        """
        who = ", ".join(silent)
        if operation not in DECLARE_LOSSES:
            raise NoBackendLeft(f"{who} cannot be asked for the session")
        if self.losses.lost_sessions is LostSessions.CLOSE:
            raise NoBackendLeft(f"{who} cannot be asked, and lost_sessions is 'close'")
        members, now = self._roster.pool.members, trio.current_time()
        reasons: list[LossReason] = []
        for each in silent:
            reason = maybe_loss(members.get(each), now, self.losses.lost_after)
            mark = self._ledger_keeper.ledger.marks(key).get(each)
            if mark is not None and mark.is_doubtful and now - mark.since >= self.losses.lost_after:
                reason = reason or LossReason.RECOVERING
            if reason is None:
                raise NoBackendLeft(f"{each} cannot be asked for the session just now")
            reasons.append(reason)
        return main_reason(reasons)

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
            for server, backend_reply in (await self._ask_all(cleared, internal_request)).items():
                if backend_reply is not None and backend_reply.status in (200, 404):
                    ledger.note_put_right(missed.key, server, backend_reply.sent_at)
                else:
                    self._ledger_keeper.mark(missed, server, is_stale=True)

    async def _move(self, missed: SessionRef, owners: list[BackendId]) -> SearchResult | LockedElsewhere:
        """Bring a session from its owner to its acting set.

        Raises NoBackendLeft if that fails; the session is then where it was.
        """
        marks = self._ledger_keeper.ledger.marks(missed.key)
        acting = self._acting_set(missed, is_marked_good=False)
        acting = acting or self._acting_set(missed, is_marked_good=True)  # a move puts its target right
        if acting is None:
            raise NoBackendLeft("no backend is up")
        owner = owners[0]
        if acting.primary in owners:
            return SearchResult.AT_HOME
        async with self._internal_requests.fetched(owner, missed.target) as backend_reply:
            if backend_reply is None or backend_reply.status == 400:
                raise NoBackendLeft(f"{owner} has the session, and did not hand it over")
            if backend_reply.status == 423:
                return LockedElsewhere(owner, backend_reply)
            if backend_reply.status == 404:
                return SearchResult.AT_HOME  # it has just expired, or gone: its home will say so
            with trio.CancelScope(shield=True):
                if not await self.settle_in(missed, acting.primary, backend_reply):
                    raise NoBackendLeft(f"{acting.primary} did not take the session from {owner}")
                for copy in (*acting.copies, *acting.recovering):
                    if copy not in owners or copy in marks:
                        await self.settle_in(missed, copy, backend_reply)
        await self.clear(missed, [each for each in owners if each not in acting.written], acting.written)
        self._replicator.note_moved(owner, "missed")
        return SearchResult.AT_HOME

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
        backend_reply = await self._ask_all([leaving, acting.primary, *acting.copies], touch(missed.target))
        statuses = {
            server: None if answer is None else answer.status for server, answer in backend_reply.items()
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
