"""Heals one session: writes the copies that it lacks, and removes it from where it does not belong.

That is done behind its key gate, from its acting primary, by the rules that a client's request goes by: a
session that its primary misses is searched for and moved (routing.lookup), a copy that lacks it is written, a
leftover is removed once all others have it. What a RECOVERING server holds is never a source (design.md 7.5).
"""

from collections.abc import Container
from enum import Enum

import trio

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.health import Health
from partitioner.membership.pool import ActingSet, Pool
from partitioner.membership.wholeness import Flaws, flaws_of, is_leaving
from partitioner.placement.session_id import SessionRef
from partitioner.routing.expiry_sync import ExpirySync
from partitioner.routing.internal_requests import SEARCH_PATIENCE, BackendReply, InternalRequests, touch
from partitioner.routing.inventory import Found, Walk
from partitioner.routing.key_gate import KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lookup import Lookup, SearchResult
from partitioner.routing.relocation import LockedElsewhere, Relocator
from partitioner.routing.roster import Roster


class Outcome(Enum):
    """What became of one session."""

    HEALED = "it is whole now"
    FINE = "there is nothing to put right"
    LATER = "it cannot be put right just now"


class SessionHealer:
    """Says what is wrong with a session, and puts it right."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        gate: KeyGate,
        internal_requests: InternalRequests,
        lookup: Lookup,
        relocator: Relocator,
        expiry_sync: ExpirySync,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._gate = gate
        self._internal_requests = internal_requests
        self._lookup = lookup
        self._relocator = relocator
        self._expiry_sync = expiry_sync

    def keys_in_use(self) -> frozenset[bytes]:
        """Those of which something may be under way that began under an earlier pool."""
        return self._gate.busy_keys()

    def note_whole(self, pool: Pool, in_use: frozenset[bytes]) -> None:
        """A walk has counted that began under this pool, while these keys were in use."""
        self._ledger_keeper.ledger.note_whole(pool.epoch, in_use)

    def flaws(self, found: Found, walk: Walk) -> Flaws:
        """What is wrong with a session under the pool of the walk, as far as its listings tell."""
        pool = walk.pool
        placement = self._ledger_keeper.placement_of(found.key)
        session = SessionRef(found.key, b"", placement)  # where it is placed does not hang on its spelling
        acting = self._ledger_keeper.acting_set(pool, session)
        if acting is None:
            return Flaws(lacking=tuple(found.on))
        return flaws_of(pool, acting, found.holdings(), walk.walked)

    async def heal(self, found: Found, walk: Walk) -> tuple[Outcome, Flaws]:
        """Put a session right behind its gate; return what became of it, and what was wrong."""
        await self._gate.enter(found.key)
        try:
            flaws = self.flaws(found, walk)
            return await self._put_right(found, walk, flaws), flaws
        except NoBackendLeft:
            return Outcome.LATER, flaws
        finally:
            self._gate.leave(found.key)

    async def _put_right(self, found: Found, walk: Walk, flaws: Flaws) -> Outcome:
        ledger, pool, key = self._ledger_keeper.ledger, self._roster.pool, found.key
        if pool.epoch != walk.pool.epoch or ledger.maybe_lock(key, trio.current_time()) is not None:
            return Outcome.LATER
        if marks := ledger.marks(key):
            self._ledger_keeper.want_repair(key)
            is_repaired = all(each in marks for each in flaws.servers)
            return Outcome.FINE if is_repaired else Outcome.LATER
        session = SessionRef(key, found.target, self._ledger_keeper.placement_of(key))
        acting = self._ledger_keeper.acting_set(pool, session)
        if acting is None:
            return Outcome.LATER
        statuses = await self._statuses_on(session, acting)
        was_moved = False
        if statuses[acting.primary] == 404:
            outcome = await self._bring_home(session, found, acting, statuses)
            if outcome is not Outcome.HEALED:
                return outcome
            was_moved, statuses = True, await self._statuses_on(session, acting)
        if any(status is None for status in statuses.values()) or statuses[acting.primary] == 404:
            return Outcome.LATER
        outcome = await self._complete(session, acting, _lacking(acting, statuses, flaws), flaws)
        return Outcome.HEALED if was_moved and outcome is Outcome.FINE else outcome

    async def _statuses_on(self, session: SessionRef, acting: ActingSet) -> dict[BackendId, int | None]:
        """What those say that should have a session: 200 or 404, or None where that is unknown."""
        holders = (acting.primary, *acting.copies)
        replies = await self._internal_requests.run_all(
            [(each, touch(session.target)) for each in holders], SEARCH_PATIENCE
        )
        return {
            each: reply.status if reply is not None and reply.status in (200, 404) else None
            for each, reply in zip(holders, replies, strict=True)
        }

    async def _complete(
        self,
        session: SessionRef,
        acting: ActingSet,
        lacking: set[BackendId],
        flaws: Flaws,
    ) -> Outcome:
        """Write what the primary holds to those who lack it; then remove it where it does not belong."""
        if lacking:
            async with self._internal_requests.fetched(acting.primary, session.target) as reply:
                if reply is None or reply.status != 200:
                    return Outcome.LATER
                if not await self._write(session, acting, lacking, flaws.differing, reply):
                    return Outcome.LATER
        leftovers = [each for each in flaws.misplaced if not is_leaving(self._roster.pool, each)]
        if leftovers:
            await self._relocator.clear(session, leftovers, acting.written)
            if self._ledger_keeper.ledger.marks(session.key):
                return Outcome.LATER
        return Outcome.HEALED if lacking or leftovers else Outcome.FINE

    async def _write(
        self,
        session: SessionRef,
        acting: ActingSet,
        lacking: set[BackendId],
        differing: Container[BackendId],
        reply: BackendReply,
    ) -> bool:
        """Write a session to those who lack it; return whether all of them have it now.

        Those that hold something else may differ in the one-shot flag of a new session alone.
        """
        minutes = reply.head.timeout_minutes
        self._expiry_sync.note_renewed(session, acting.primary, minutes)
        written = [each for each in acting.written if each in lacking]
        if reply.hands_out_flag:
            written.append(acting.primary)  # to read a new session has consumed its flag
        with trio.CancelScope(shield=True):
            stored = [
                await self._relocator.settle_in(session, each, reply, is_flagged=each in differing)
                for each in written
            ]
        return all(stored)

    async def _bring_home(
        self, session: SessionRef, found: Found, acting: ActingSet, statuses: dict[BackendId, int | None]
    ) -> Outcome:
        """Decide about a session that its acting primary does not have."""
        pool = self._roster.pool
        if any(pool.members[each].is_readable for each in found.on if each in pool.members):
            if self._ledger_keeper.is_settled(session):
                return Outcome.FINE  # the primary's word is the truth: its copies outlive it by a little
            outcome = await self._lookup.find(session, None)
            if isinstance(outcome, LockedElsewhere):
                return Outcome.LATER
            return Outcome.HEALED if outcome is SearchResult.AT_HOME else Outcome.FINE
        await self._dispel(session, found, acting, statuses, pool)
        return Outcome.FINE

    async def _dispel(
        self,
        session: SessionRef,
        found: Found,
        acting: ActingSet,
        statuses: dict[BackendId, int | None],
        pool: Pool,
    ) -> None:
        """No server that is read has the session, but servers that are RECOVERING do: it is not read there.

        It is removed where a server lacks it that was in the acting set of its key for all of the last T_max;
        else it is marked (design.md 7.5).
        """
        doubtful = [
            each
            for each in found.on
            if each in pool.members and pool.members[each].record.health is Health.RECOVERING
        ]
        since = trio.current_time() - self._ledger_keeper.ledger.longest_life
        holders = (acting.primary, *acting.copies)
        is_known = any(
            statuses[each] == 404 and pool.has_always_held(each, session.placement, since) for each in holders
        )
        if is_known:
            await self._relocator.clear(session, doubtful, holders)
            return
        for each in doubtful:
            self._ledger_keeper.mark(session, each, is_stale=True)


def _lacking(acting: ActingSet, statuses: dict[BackendId, int | None], flaws: Flaws) -> set[BackendId]:
    """Who has to be written: those that have said so, and those whose listing does not agree.

    One that is RECOVERING is never asked: it is not read, and its listing was.
    """
    lacking = {each for each in acting.copies if statuses[each] == 404}
    unread = {*flaws.lacking, *flaws.differing}.intersection(acting.recovering)
    return lacking | unread | set(flaws.differing).intersection(acting.copies)
