"""Finds a session that is missed where it belongs, before a client is told that it does not exist.

A 404 of the acting primary proves nothing of an unsettled key: the session may still lie where an older map,
or a failure, has put it. So all servers that can have it are asked at once by HEAD, which takes no lock and
consumes no flag. A server that has it unmarked has the session, and it is moved to where it belongs. If none
has it, it does not exist; but only if no server that might have it is silent (promise P2). For a server that
cannot be asked, one that has held every session of this key for all of the last T_max can be trusted.
Otherwise the client's connection is closed, until the silent servers are known to be out, and for so long
that what only they have counts as lost.
"""

from collections.abc import Mapping
from enum import Enum

import trio

from partitioner.membership.backend import Backend, BackendId
from partitioner.membership.entry import REMOVE, Mark
from partitioner.membership.exchange import is_nowhere
from partitioner.membership.pool import Pool
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.internal_requests import (
    SEARCH_PATIENCE,
    BackendReply,
    InternalRequest,
    InternalRequests,
    release,
    side_by_side,
    touch,
)
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.losses import Losses
from partitioner.routing.relocation import LockedElsewhere, Relocator
from partitioner.routing.roster import Roster
from partitioner.transport.messages import BegunExchange
from partitioner.transport.observer import Observer

_NONE_BEGUN: Mapping[BackendId, BegunExchange] = {}
_NONE_MISSED: Mapping[BackendId, BackendReply] = {}


class SearchResult(Enum):
    """What became of the search for a session."""

    ABSENT = "it does not exist"
    AT_HOME = "it is where it belongs now"


class Lookup:
    """Looks for sessions, and moves them to where they belong."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        internal_requests: InternalRequests,
        relocator: Relocator,
        losses: Losses,
        observer: Observer,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._internal_requests = internal_requests
        self._relocator = relocator
        self._losses = losses
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
            return await self._relocator.move(missed, owners) or SearchResult.AT_HOME
        for server in holders:
            if await self.settle_doubt(missed, server):
                return SearchResult.AT_HOME
        if not is_settled:
            self._note_absent(missed, pool, holders, backend_reply)
        silent = self._silent(missed, holders, backend_reply)
        if not silent or self._a_server_is_trusted(missed, backend_reply, pool):
            return SearchResult.ABSENT
        self._losses.give_up(missed, silent, operation)
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
            await self._relocator.move(missed, owners)
        marks = self._ledger_keeper.ledger.marks(missed.key)
        return self._ledger_keeper.acting_set(self._roster.pool, missed, marks) is not None

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
