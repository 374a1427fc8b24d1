"""Puts marked servers right: writes to them what the acting primary holds, or removes what they should not.

One key at a time, behind its gate, and never more than so many a second: repair serves the next
failure, and must not become the next failure itself. What cannot be done now is done later, when the
lock has ended, or its connections have, or the server is back.
"""

import trio

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.pool import ActingSet, Pool
from partitioner.placement.session_id import SessionRef
from partitioner.routing.expiry_sync import ExpirySync
from partitioner.routing.internal_requests import BackendReply, InternalRequest, InternalRequests, put, remove
from partitioner.routing.key_gate import KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lookup import Lookup, SearchResult
from partitioner.routing.relocation import LockedElsewhere
from partitioner.routing.replication import Replicator
from partitioner.routing.roster import Roster
from partitioner.transport.observer import Observer

RATE = 200.0
"""Keys a second."""


class Repairer:
    """Repairs keys, one after the other, in the background."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        gate: KeyGate,
        internal_requests: InternalRequests,
        replicator: Replicator,
        lookup: Lookup,
        expiry_sync: ExpirySync,
        observer: Observer,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._gate = gate
        self._internal_requests = internal_requests
        self._replicator = replicator
        self._lookup = lookup
        self._expiry_sync = expiry_sync
        self._observer = observer
        self._queue = ledger_keeper.repairs

    def __len__(self) -> int:
        """How many keys wait for repair."""
        return len(self._queue)

    async def run(self) -> None:
        """Repair what is due, for as long as the router runs."""
        while True:
            while (due := self._queue.maybe_next()) is not None:
                key, pause = due
                if not await self.repair(key):
                    self._queue.retry_later(key, pause)
                await trio.sleep(1 / RATE)
            await self._queue.wait()

    async def repair(self, key: bytes) -> bool:
        """Put right whatever can be put right of this key now; return whether nothing is left for later."""
        await self._gate.enter(key)
        try:
            return await self._repair(key)
        except NoBackendLeft:
            return False  # it is unknown what is right: the marks stay
        finally:
            self._gate.leave(key)

    async def _repair(self, key: bytes) -> bool:
        ledger = self._ledger_keeper.ledger
        if not ledger.marks(key):
            return True
        if ledger.maybe_lock(key, trio.current_time()) is not None:
            return False
        members = self._roster.pool.members
        servers = [
            each
            for each, mark in ledger.marks(key).items()
            if not mark.open and each in members and members[each].is_reachable
        ]
        if not servers:
            return True  # it is wanted again when a connection ends, or a server is back
        target = ledger.target(key)
        missed = SessionRef(key, target, self._ledger_keeper.placement_of(key))
        return await self._put_right(missed, servers)

    async def _put_right(self, missed: SessionRef, servers: list[BackendId]) -> bool:
        ledger, pool = self._ledger_keeper.ledger, self._roster.pool
        acting_set = self._ledger_keeper.acting_set
        acting = acting_set(pool, missed, ledger.marks(missed.key))
        home = acting_set(pool, missed)
        if acting is None or home is None:
            for server in servers:
                await self._lookup.settle_doubt(missed, server)
            if home is not None and ledger.marks(missed.key):
                await self._lookup.put_right(missed)
            return not ledger.marks(missed.key)
        async with self._internal_requests.fetched(acting.primary, missed.target) as backend_reply:
            if backend_reply is not None and backend_reply.status == 200:
                # Read again and again, the primary would come to outlive its copies.
                minutes = backend_reply.head.timeout_minutes
                self._expiry_sync.note_renewed(missed, acting.primary, minutes)
                for server in servers:
                    if server in acting.written or server in home.written:
                        await self._write(missed, server, put(missed.target, backend_reply))
                    else:
                        await self._remove(missed, server, (*acting.written, *home.written))
                if {acting.primary, *servers}.issuperset(acting.written) and not ledger.marks(missed.key):
                    self._expiry_sync.note_written(missed, minutes)  # all live as long as the primary now
                if backend_reply.hands_out_flag:
                    await self._give_flag_back(missed, acting.primary, backend_reply)
                await self._clear_up(missed, acting, pool)
        if backend_reply is not None and backend_reply.status == 404:
            found = await self._lookup.find(missed, None)
            if found is SearchResult.ABSENT and ledger.is_lost(missed.key):
                return True  # nothing is removed on a suspicion: the next write is followed by repair
            if found is SearchResult.ABSENT:
                for server in servers:
                    await self._write(missed, server, remove(missed.target))
            elif isinstance(found, LockedElsewhere):
                return False
        return not any(each in ledger.marks(missed.key) for each in servers)

    async def _give_flag_back(
        self, missed: SessionRef, primary: BackendId, backend_reply: BackendReply
    ) -> None:
        """To read an uninitialized session has consumed its flag, and no client has seen it."""
        stored = await self._replicator.replace(missed.key, primary, put(missed.target, backend_reply))
        if stored is None or stored.status != 200:
            self._ledger_keeper.mark(missed, primary, is_stale=True)

    async def _clear_up(self, missed: SessionRef, acting: ActingSet, pool: Pool) -> None:
        """Once the last mark is gone, remove the session from where it had to be till then."""
        home = self._ledger_keeper.acting_set(pool, missed)
        if self._ledger_keeper.ledger.marks(missed.key) or home is None:
            return
        for server in acting.written:
            if server not in home.written:
                await self._remove(missed, server, home.written)
        self._ledger_keeper.ledger.note_repaired(missed.key)

    async def _write(self, missed: SessionRef, server: BackendId, internal_request: InternalRequest) -> None:
        self._note(missed, server, await self._replicator.replace(missed.key, server, internal_request))

    async def _remove(self, missed: SessionRef, server: BackendId, belongs: tuple[BackendId, ...]) -> None:
        """Remove what is left over beside the servers where the session belongs."""
        backend_reply = await self._replicator.clear(missed.key, server, remove(missed.target), belongs)
        self._note(missed, server, backend_reply)

    def _note(self, missed: SessionRef, server: BackendId, backend_reply: BackendReply | None) -> None:
        if backend_reply is None or backend_reply.status not in (200, 404):
            return
        ledger = self._ledger_keeper.ledger
        was_marked = server in ledger.marks(missed.key)
        if was_marked and ledger.note_put_right(missed.key, server, backend_reply.sent_at):
            self._observer.session_repaired(self._roster.pool.members[server].backend)
