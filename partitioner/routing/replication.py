"""Brings a write that its first server has accepted to all other servers that it concerns.

The acting copies get the same bytes, lock cookie included: a server where the session is not locked takes
them whatever the cookie (protocol.md 6, rows 16 and 18). In unsettled times any other server that may hold
something of the key is told to remove it. One that cannot be reached is marked. All at the same time, and all
bounded, so that the client waits for the slowest copy and never for a dead one.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import trio

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import REMOVE, WRITE
from partitioner.membership.pool import ActingSet, Pool
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.internal_requests import (
    BackendReply,
    InternalRequest,
    InternalRequests,
    release,
    remove,
    side_by_side,
)
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.roster import Roster
from partitioner.transport.messages import BegunExchange
from partitioner.transport.observer import Observer


@dataclass(frozen=True, slots=True)
class Write:
    """A set, create or remove that one server has carried out."""

    session: SessionRef
    internal_request: InternalRequest
    first: BackendId  # the server
    sent_at: float
    pool: Pool  # under which it began
    begun: Mapping[BackendId, BegunExchange]  # copies that are being written already, by server
    begun_removes: Mapping[BackendId, BegunExchange]  # where it does not belong, the same

    @property
    def operation(self) -> Operation:
        return self.internal_request.head.operation

    @property
    def content(self) -> bytes | None:
        """What is saved, unless that has streamed through."""
        is_whole = len(self.internal_request.body) == self.internal_request.head.content_length
        return self.internal_request.body if is_whole else None


class Replicator:
    """Writes copies, and removes what is left over."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        internal_requests: InternalRequests,
        observer: Observer,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._internal_requests = internal_requests
        self._observer = observer
        self.moved_from: Counter[BackendId] = Counter()  # sessions that have left a server, since the start

    def note_moved(self, source: BackendId, reason: str) -> None:
        """A session is where it belongs now, and no longer on this server."""
        self.moved_from[source] += 1
        member = self._roster.pool.members.get(source)
        if member is not None:
            self._observer.session_moved(member.backend, reason)

    async def spread(self, write: Write) -> list[BackendReply]:
        """Finish a write that its first server has accepted; return what the others told.

        Once it has begun it is carried through, whatever becomes of the client: else copies would hold
        something older than the primary, unnoticed.
        """
        key, ledger = write.session.key, self._ledger_keeper.ledger
        pool = self._roster.pool
        # If the pool has changed meanwhile, former copies may have to be told that they are none any more.
        is_same = pool.epoch == write.pool.epoch
        unchanged = pool.unchanged_since(write.session.placement)
        was_settled = is_same and ledger.is_settled(key, unchanged, trio.current_time())
        ledger.note_put_right(key, write.first, write.sent_at)
        acting_set = self._ledger_keeper.acting_set
        with trio.CancelScope(shield=True):
            begun = await self._end_removes(write, pool)
            backend_reply = await self._copy(write, pool)
            acting = acting_set(pool, write.session, ledger.marks(key)) or ActingSet(write.first, ())
            if not was_settled or write.first not in acting.written or begun:
                backend_reply |= await self._clear_up(
                    write, pool, acting, begun, reached={write.first, *backend_reply}
                )
        if write.operation is Operation.REMOVE:
            ledger.note_removed(key)
        else:
            ledger.note_saved(key, {write.first, *backend_reply}, write.content)
        self._judge(write, acting, pool)
        is_home = all(each in backend_reply or each == write.first for each in acting.written)
        if is_home and not ledger.marks(key) and self._roster.pool.epoch == write.pool.epoch:
            ledger.note_settled(key, pool.epoch, unchanged, trio.current_time())
        return list(backend_reply.values())

    async def _end_removes(self, write: Write, pool: Pool) -> dict[BackendId, BegunExchange]:
        """Wait for removes that are under way where the session belongs by now, lest they follow its copy.

        Returns the others.
        """
        homes = [each for each in write.begun_removes if each in self._wanted(write, pool)]
        internal_request = _remove(write)
        await side_by_side(
            lambda each: self._internal_requests.run(each, internal_request, begun=write.begun_removes[each]),
            homes,
        )
        return {each: begun for each, begun in write.begun_removes.items() if each not in homes}

    async def _copy(self, write: Write, pool: Pool) -> dict[BackendId, BackendReply]:
        """Write it wherever it belongs.

        A server that fails may let another one move up, as one does that joins and is not known yet; what
        that other one holds is older than this, so it is written as well.
        """
        reached: dict[BackendId, BackendReply] = {}
        tried = {write.first}
        while wanted := tuple(each for each in self._wanted(write, pool) if each not in tried):
            tried |= set(wanted)
            outcomes = await side_by_side(lambda server: self._write_copy(write, server), wanted)
            got_it = self._note_outcomes(write, wanted, outcomes)
            if write.operation is not Operation.REMOVE:
                self._report(wanted, got_it)
            reached |= got_it
        return reached

    def _report(self, wanted: Sequence[BackendId], got_it: Container[BackendId]) -> None:
        """Tell whose copies were written, and whose were not."""
        members = self._roster.pool.members
        for server in wanted:
            if server in members:
                self._observer.copy_written(members[server].backend, server in got_it)

    def _wanted(self, write: Write, pool: Pool) -> dict[BackendId, None]:
        """Where it belongs, and where it is being written although it may not belong there any more."""
        return dict.fromkeys(write.begun) | self._homes(write, pool)

    def _homes(self, write: Write, pool: Pool) -> dict[BackendId, None]:
        """Where it is read now, and where it is once the marks are gone."""
        marks = tuple(self._ledger_keeper.ledger.marks(write.session.key))
        homes: dict[BackendId, None] = {}
        for without in (marks, ()):
            acting = self._ledger_keeper.acting_set(pool, write.session, without)
            if acting is not None:
                homes |= dict.fromkeys(acting.written)
        return homes

    async def _clear_up(
        self,
        write: Write,
        pool: Pool,
        acting: ActingSet,
        begun: Mapping[BackendId, BegunExchange],
        reached: set[BackendId],
    ) -> dict[BackendId, BackendReply]:
        """Remove what is left over wherever it does not belong, and will not belong without the marks either.

        A server that should have the write and did not take it stays marked. Were it told to remove the
        session, it would be put right by that, and be believed when it says that there is none.
        """
        belongs = {*acting.written, *self._homes(write, pool)}
        holders = dict.fromkeys((*pool.possible_holders(write.session.placement), *begun))
        leftovers = [each for each in holders if each not in belongs or each in begun]
        if acting.primary not in reached and write.first in leftovers:
            leftovers.remove(write.first)  # until now it is the only one that has the session
        internal_request = _remove(write)
        outcomes = await side_by_side(
            lambda each: self.clear(write.session.key, each, internal_request, belongs, begun.get(each)),
            leftovers,
        )
        reached_too = self._note_outcomes(write, leftovers, outcomes)
        if write.operation is not Operation.REMOVE:
            for server, backend_reply in reached_too.items():
                if backend_reply.status == 200:
                    self.note_moved(server, "saved")
        return reached_too

    def _note_outcomes(
        self, write: Write, servers: Sequence[BackendId], outcomes: Sequence[BackendReply | None]
    ) -> dict[BackendId, BackendReply]:
        """Clear the marks of servers that succeeded, mark those that failed; return the successful
        replies."""
        reached = {}
        for server, backend_reply in zip(servers, outcomes, strict=True):
            if backend_reply is not None and backend_reply.status in (200, 404):
                reached[server] = backend_reply
                self._ledger_keeper.ledger.note_put_right(write.session.key, server, backend_reply.sent_at)
            else:
                if backend_reply is not None and backend_reply.status == 400:
                    self._roster.note_full(server)
                reason = REMOVE if write.operation is Operation.REMOVE else WRITE
                self._ledger_keeper.mark(write.session, server, is_stale=True, reason=reason)
        return reached

    async def _write_copy(self, write: Write, server: BackendId) -> BackendReply | None:
        if write.content is None:
            return await self._copy_back(write, server)
        return await self.replace(write.session.key, server, write.internal_request, write.begun.get(server))

    async def _copy_back(self, write: Write, server: BackendId) -> BackendReply | None:
        """Write the copy of a save that has streamed through, from the server that has stored it.

        To read what was created there would consume its flag; such a copy is left to repair.
        """
        if write.operation is Operation.CREATE_UNINITIALIZED:
            return None
        internal_request = InternalRequest(write.internal_request.head, source=write.first)
        return await self.insist(write.session.key, server, internal_request)

    async def replace(
        self,
        key: bytes,
        server: BackendId,
        internal_request: InternalRequest,
        begun: BegunExchange | None = None,
        *,
        is_flagged: bool = False,
    ) -> BackendReply | None:
        """Have a server hold this instead of whatever it held of the key.

        A create is insert-only: where something is, it is answered 200 all the same, and leaves that. On a
        copy that may be a former session, which lives up to 5 % longer than on the primary, or a locked one.
        So it goes first, and nothing is created before it is known to be gone.

        A set leaves the one-shot flag of what was there (protocol.md 6, row 16). What a marked server has may
        be flagged, and what the caller knows to be: a release follows then, which consumes the flag.
        """
        mark = self._ledger_keeper.ledger.marks(key).get(server)
        is_flagged = is_flagged or (mark is not None and not mark.had_nothing)
        if internal_request.head.operation is Operation.CREATE_UNINITIALIZED:
            cleared = await self.insist(key, server, remove(internal_request.head.target))
            if cleared is None or cleared.status not in (200, 404):
                return None
        stored = await self.insist(key, server, internal_request, begun)
        is_stored = stored is not None and stored.status == 200
        if is_stored and is_flagged and internal_request.head.operation is Operation.SET:
            consumed = await self._internal_requests.run(server, release(internal_request.head.target, 0))
            return None if consumed is None else stored
        return stored

    async def clear(
        self,
        key: bytes,
        server: BackendId,
        internal_request: InternalRequest,
        belongs: Iterable[BackendId],
        begun: BegunExchange | None = None,
    ) -> BackendReply | None:
        """Have a server remove what it holds and others should; None where that failed or is not safe.

        By another address it might be one of those where the session belongs (design.md 5.1).
        """
        if begun is None and not self._roster.pool.may_remove_from(server, belongs):
            return None
        return await self.insist(key, server, internal_request, begun)

    async def insist(
        self,
        key: bytes,
        server: BackendId,
        internal_request: InternalRequest,
        begun: BegunExchange | None = None,
    ) -> BackendReply | None:
        """Have it done, through a lock that no page holds any more; never through one that a page holds."""
        backend_reply = await self._internal_requests.run(server, internal_request, begun=begun)
        if backend_reply is None or backend_reply.status != 423 or backend_reply.head.lock_cookie is None:
            return backend_reply
        lock = self._ledger_keeper.ledger.maybe_lock(key, trio.current_time())
        if lock is not None and (lock.server, lock.cookie) == (server, backend_reply.head.lock_cookie):
            return None
        if self._ledger_keeper.may_be_anothers(backend_reply.head, backend_reply.sent_at):
            return None
        freed = await self._internal_requests.run(
            server, release(internal_request.head.target, backend_reply.head.lock_cookie)
        )
        member = self._roster.pool.members.get(server)
        if freed is not None and freed.status == 200 and member is not None:
            self._observer.ghost_lock_released(member.backend)
        return await self._internal_requests.run(server, internal_request)

    def _judge(self, write: Write, acting: ActingSet, pool: Pool) -> None:
        """Tell, once for each write, if it has fewer good copies than it should have."""
        if write.operation is Operation.REMOVE:
            return
        marks = self._ledger_keeper.ledger.marks(write.session.key)
        holders = (acting.primary, *acting.copies)
        missing = [each for each in holders if each in marks and each != write.first]
        if missing or len(acting.copies) < pool.copies - 1:
            without = tuple(pool.members[each].backend for each in missing)
            self._observer.write_degraded(without, write.operation)


def _remove(write: Write) -> InternalRequest:
    """What those are told where a write does not belong."""
    return remove(write.session.target, write.internal_request.head.lock_cookie or 0)
