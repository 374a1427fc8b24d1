"""Hands the sessions of a leaving server over, in bulk, so that it can be stopped.

A server leaves when the operator drains it or takes it out of the configuration. Its busy sessions
move by themselves: with their next save, or when they are missed. To move the others, their names have to be
known, which a stock server does not tell; so there a drain lasts until whatever was not touched has expired,
T_max. A state server of our own lists its sessions on its admin port. The hand-off walks
through that listing, moves one session after the other behind its key gate, and begins anew until the
listing is empty. What is locked or marked is come back for.

The listing comes from a function that is handed in, for it travels by HTTP and this floor does not.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.pool import Member
from partitioner.routing.key_gate import KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.relocation import HandedOver, Relocator
from partitioner.routing.replication import Replicator
from partitioner.routing.roster import Roster
from partitioner.transport.observer import Observer

RATE = 200.0
"""Sessions a second, of all drains together. Each costs some six exchanges, and users come first."""

WALK_PAUSE, EMPTY_WALK_PAUSE = 1.0, 10.0
"""Seconds between two walks through a listing; of one that was empty the next is less urgent."""

LOCKED_PAUSE = 5.0
"""Seconds until a session is retried of whose lock the ledger knows nothing; then twice as long.

Each try renews its expiry, and a lock that no page holds any more must not be kept alive by being looked at.
"""

STALLED_AFTER = 5.0
"""Seconds without a session moved after which a drain says so."""

STUCK_AFTER = 60.0
"""Seconds after which that is reported: pages hold locks for seconds, and few hold them for minutes."""

NOTHING_MOVES = "what is left is locked by pages, or cannot be taken by the other servers just now"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing."""

    targets: tuple[bytes, ...]
    following: str | None  # the cursor of the next page
    sessions: int  # how many the server holds in all, routers' items apart


ListKeys = Callable[[Address, str | None], Awaitable[Page]]
"""Asks an admin port for a page, the first one or that of a cursor. Raises ListingFailed."""


@dataclass(frozen=True, slots=True)
class Drain:
    """How far a server has come with handing its sessions off. Times are seconds."""

    began_at: float
    moved: int
    left: int | None  # None if unknown
    rate: float  # sessions a second, since it began
    estimate: float | None  # until it is done; None if unknown
    is_done: bool
    stalled: str | None  # why nothing moves just now


class HandOff:
    """Watches who is leaving, and hands over what they hold."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        gate: KeyGate,
        replicator: Replicator,
        relocator: Relocator,
        observer: Observer,
        list_keys: ListKeys | None = None,
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._gate = gate
        self._replicator = replicator
        self._relocator = relocator
        self._observer = observer
        self._list_keys = list_keys
        self._drains: dict[BackendId, _Draining] = {}
        self._next_at = float("-inf")  # when the next session may be moved

    def __repr__(self) -> str:
        return f"<HandOff, {len(self._drains)} drains>"

    def drains(self) -> dict[BackendId, Drain]:
        """The progress of all that are leaving, by identity."""
        return {identity: self._progress(identity) for identity in self._drains}

    @property
    def moved(self) -> int:
        """How many sessions have been put where they belong since the start, for whatever reason."""
        return self._replicator.moved_from.total()

    async def run(self) -> None:
        """Hand off whatever is leaving, for as long as the router runs."""
        self._drains.clear()  # those of an earlier time in which this router was active have ended
        async with trio.open_nursery() as nursery:
            while True:
                self._begin_and_end(nursery)
                await self._roster.wait_for_change()

    # --- beginning and ending ---

    def _begin_and_end(self, nursery: trio.Nursery) -> None:
        members = self._roster.pool.members
        for identity in [each for each in self._drains if not _is_leaving(members.get(each))]:
            draining = self._drains.pop(identity)
            draining.scope.cancel()
            if not draining.is_done:
                moved = self._replicator.moved_from[identity] - draining.moved_before
                is_known = identity in members
                why = "the operator wants something else of it" if is_known else "it has been down for long"
                self._observer.drain_ended(draining.backend, moved, why)
        for identity, member in members.items():
            if _is_leaving(member) and identity not in self._drains:
                moved_before = self._replicator.moved_from[identity]
                draining = _Draining(member.backend, trio.current_time(), moved_before, trio.CancelScope())
                self._drains[identity] = draining
                self._observer.drain_began(member.backend, self._ledger_keeper.ledger.longest_life)
                nursery.start_soon(self._drain, identity, draining)

    async def _drain(self, identity: BackendId, draining: "_Draining") -> None:
        ledger = self._ledger_keeper.ledger
        with draining.scope:
            while trio.current_time() < (ends_at := draining.began_at + ledger.longest_life):
                with trio.move_on_at(ends_at):
                    await self._hand_off(identity, draining)
            self._note_stalled(draining, None)
            self._note_done(identity, draining, "whatever was not touched since has expired")

    def _note_done(self, identity: BackendId, draining: "_Draining", why: str) -> None:
        if not draining.is_done:
            draining.is_done = True
            moved = self._replicator.moved_from[identity] - draining.moved_before
            self._observer.drain_ended(draining.backend, moved, why)

    def _note_stalled(self, draining: "_Draining", reason: str | None) -> None:
        """Nothing can be moved just now, for this reason, or, with None, something can."""
        before, draining.stalled = draining.stalled, reason
        if before is None and reason is not None:
            self._observer.drain_stalled(draining.backend, reason)
        elif before is not None and reason is None and not draining.is_done:
            self._observer.drain_went_on(draining.backend)

    def _note_listed(self, draining: "_Draining") -> None:
        """It says what it holds: what keeps the drain now, if anything does, is these sessions."""
        now = trio.current_time()
        if draining.stalled not in (None, NOTHING_MOVES):
            draining.tries_since = now
        is_stuck = now - max(draining.tries_since, draining.moved_at) >= STUCK_AFTER
        is_over = draining.is_done or not draining.left
        self._note_stalled(draining, NOTHING_MOVES if is_stuck and not is_over else None)

    # --- one server ---

    async def _hand_off(self, identity: BackendId, draining: "_Draining") -> None:
        """Walk through the listing of a server, again and again: what was locked, or came late, is found."""
        while True:
            member = self._roster.pool.members.get(identity)
            admin = None if member is None else member.backend.admin
            if admin is None or self._list_keys is None:
                await self._roster.wait_for_change()  # it may be given an admin address
                continue
            is_empty, reason = await self._try_to_walk(identity, draining, admin, self._list_keys)
            if is_empty:
                draining.left = 0
                self._note_done(identity, draining, "it holds no session any more")
            if draining.is_done:
                self._note_stalled(draining, None)  # it may well be stopped by now
            elif reason is not None:
                self._note_stalled(draining, reason)
            await trio.sleep(EMPTY_WALK_PAUSE if is_empty else WALK_PAUSE)

    async def _try_to_walk(
        self, identity: BackendId, draining: "_Draining", admin: Address, list_keys: ListKeys
    ) -> tuple[bool, str | None]:
        """Walk, if that is possible; return whether nothing was listed, and why nothing could be moved."""
        reason = self._why_stalled(identity)
        if reason is not None:
            return False, reason
        try:
            return await self._walk(identity, draining, admin, list_keys), None
        except ListingFailed as error:
            return False, str(error)

    def _why_stalled(self, identity: BackendId) -> str | None:
        pool = self._roster.pool
        member = pool.members.get(identity)
        if member is None or not member.is_readable:
            health = "gone" if member is None else member.record.health.value
            return f"it is {health}, and cannot be asked for its sessions"
        return None if pool.eligible else "no other backend is up that could take its sessions"

    async def _walk(
        self, identity: BackendId, draining: "_Draining", admin: Address, list_keys: ListKeys
    ) -> bool:
        """Move all that is listed and can be moved; return whether nothing was listed.

        Raises ListingFailed.
        """
        is_empty, cursor = True, None
        while True:
            page = await list_keys(admin, cursor)
            draining.left = page.sessions
            self._note_listed(draining)
            for target in page.targets:
                is_empty = draining.is_done = False
                if draining.may_try(target, trio.current_time()):
                    await self._move(identity, draining, target)
            if page.following is None:
                return is_empty
            cursor = page.following

    async def _move(self, identity: BackendId, draining: "_Draining", target: bytes) -> None:
        await self._keep_pace()
        missed = self._ledger_keeper.session_of(target)
        key = missed.key
        if not self._gate.is_free(key):
            return  # it is in use, and all others would have to wait for it
        await self._gate.enter(key)
        try:
            outcome = await self._relocator.hand_over(missed, identity)
        finally:
            self._gate.leave(key)
        draining.note(target, outcome, trio.current_time())

    async def _keep_pace(self) -> None:
        now = trio.current_time()
        self._next_at = max(self._next_at, now) + 1 / RATE
        await trio.sleep_until(self._next_at)

    def _progress(self, identity: BackendId) -> Drain:
        draining, now = self._drains[identity], trio.current_time()
        moved = self._replicator.moved_from[identity] - draining.moved_before
        rate = moved / (now - draining.began_at) if now > draining.began_at else 0.0
        stalled = draining.stalled
        if stalled is None and draining.left and now - draining.moved_at > STALLED_AFTER:
            stalled = NOTHING_MOVES
        estimate: float | None = draining.began_at + self._ledger_keeper.ledger.longest_life - now
        if draining.is_done:
            estimate = 0.0
        elif draining.left is not None:
            estimate = min(draining.left / rate, estimate or 0.0) if rate else None
        return Drain(draining.began_at, moved, draining.left, rate, estimate, draining.is_done, stalled)


@dataclass(slots=True)
class _Draining:
    """One server that is leaving."""

    backend: Backend
    began_at: float
    moved_before: int  # sessions that had left it by then
    scope: trio.CancelScope
    tries_since: float = field(init=False)  # since when it can be asked for its sessions
    moved_at: float = field(init=False)  # the last one
    left: int | None = None
    is_done: bool = False
    stalled: str | None = None
    locked: dict[bytes, tuple[float, float]] = field(default_factory=dict)  # when to try, and the pause then

    def __post_init__(self) -> None:
        self.tries_since = self.moved_at = self.began_at

    def may_try(self, target: bytes, now: float) -> bool:
        return target not in self.locked or self.locked[target][0] <= now

    def note(self, target: bytes, outcome: HandedOver, now: float) -> None:
        """Remember what has to be left alone for a while."""
        if outcome is HandedOver.LOCKED:
            _, pause = self.locked.get(target, (now, LOCKED_PAUSE))
            self.locked[target] = (now + pause, 2 * pause)
        elif outcome is not HandedOver.LATER:
            self.moved_at = now
            self.locked.pop(target, None)
            self.left = max(0, (self.left or 0) - 1)


def _is_leaving(member: Member | None) -> bool:
    """Whether it shall be rid of its sessions, and can be spoken to about them."""
    if member is None or member.backend.intent is Intent.MAINT:
        return False
    return member.backend.intent is Intent.DRAIN or member.removed_at is not None
