"""Healing: walks through what the servers hold, and puts right what is not as it should be.

A walk begins by itself after whatever may have left copies lacking: every change of the pool is that. Each
session that lacks a copy, lies where it does not belong, or is not the same everywhere is put right
(routing.session_healing).

A walk counts when it has been through all servers, nothing is left to be put right, and neither the map nor
an incarnation has changed since it began. Then every session is known to have its copies: servers that are
RECOVERING may be read again, and the pool is redundant, which is a fact, with a time (design.md 7.5).

What cannot be decided now, because a page holds the lock or a server is silent, is retried in the same walk.
"""

from dataclasses import dataclass, field

import trio

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import LONGEST_PAGE
from partitioner.membership.wholeness import shows_all_settled
from partitioner.routing.inventory import Found, ListSessions, Walk
from partitioner.routing.roster import Roster
from partitioner.routing.session_healing import Outcome, SessionHealer
from partitioner.transport.observer import Observer

RATE = 500.0
"""Sessions a second that are put right: configuration key `heal.rate`."""

CALM = 2.0
"""Seconds from a change of the pool to the walk: servers often come and go together."""

FIRST_RETRY_PAUSE, LONGEST_RETRY_PAUSE = 5.0, 60.0
"""Seconds until the next walk where one did not count; then twice as long each time, up to the longest."""

BACK_OFF = 2.0
"""Of the time for which the loop was late, healing waits so many times as long."""

AT_A_TIME = 50
"""Sessions that are looked at in one go, about a millisecond."""

MOST_LEFT = 10_000
"""Sessions of one walk that are retried. Where more could not be put right, there is another walk."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a walk has come. Times are seconds."""

    began_at: float
    seen: int  # sessions listed so far, copies counted
    told: int  # that there are
    healed: int
    left: int  # sessions that could not be put right yet
    refused: dict[BackendId, str]  # why servers are not walked, by identity

    def estimate(self, now: float) -> float | None:
        """Seconds until it is done; None if unknown."""
        took = now - self.began_at
        return took * (self.told - self.seen) / self.seen if 0 < self.seen <= self.told else None


@dataclass(slots=True)
class _Round:
    """One walk of the healing."""

    walk: Walk
    began_at: float
    in_use: frozenset[bytes]  # keys, when it began
    healed: int = 0
    left: dict[bytes, Found] = field(default_factory=dict)
    overflowed: bool = False

    def note_left(self, found: Found) -> None:
        if len(self.left) < MOST_LEFT:
            self.left[found.key] = found
        else:
            self.overflowed = True


class Healing:
    """Puts right what the servers lack, for as long as the router is the active one."""

    def __init__(
        self,
        roster: Roster,
        healer: SessionHealer,
        observer: Observer,
        farm: str,
        list_sessions: ListSessions | None,
        rate: float = RATE,
    ) -> None:
        self.rate = rate
        self.lacking = 0  # sessions that the last walk has found lacking a copy
        self._roster = roster
        self._healer = healer
        self._observer = observer
        self._farm = farm
        self._list_sessions = list_sessions
        self._round: _Round | None = None
        self._healed_epoch: int | None = None  # of the pool in which a walk has counted last
        self.refused: dict[BackendId, str] = {}  # why the last walk has left servers out, by identity
        self._next_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Healing, {'walking' if self._round else 'done' if self.is_done else 'waiting'}>"

    @property
    def is_done(self) -> bool:
        """Whether a walk has counted since the pool has changed last."""
        return self._healed_epoch == self._roster.pool.epoch

    @property
    def is_pending(self) -> bool:
        """Whether a walk could count, and none has since the pool has changed last: copies may be lacking."""
        members = [each for each in self._roster.pool.members.values() if each.is_reachable]
        can_count = self._list_sessions is not None and all(each.backend.admin for each in members)
        return bool(members) and can_count and not self.is_done

    def progress(self) -> Progress | None:
        """How far the walk has come that goes on now; None where none does."""
        ongoing = self._round
        if ongoing is None:
            return None
        walk = ongoing.walk
        left = len(ongoing.left)
        return Progress(ongoing.began_at, walk.seen, walk.told, ongoing.healed, left, dict(walk.refused))

    def new_walk(self) -> Walk:
        """A walk through what the servers of the present pool hold."""
        return Walk(self._roster.pool, self._farm, self._list_sessions, 2.5 * self._roster.policy.interval)

    async def run(self) -> None:
        """Walk after every change of the pool, until a walk counts."""
        pause = FIRST_RETRY_PAUSE
        while True:
            epoch = self._roster.pool.epoch
            if self._can_ask_any():
                await trio.sleep(CALM)
                await trio.sleep_until(self._roster.unknown_locks_before + LONGEST_PAGE)
                epoch = self._roster.pool.epoch
                await self._heal_all()
            if self.is_done or not self._can_ask_any():
                pause, waits_for = FIRST_RETRY_PAUSE, float("inf")
            else:
                pause, waits_for = min(2 * pause, LONGEST_RETRY_PAUSE), pause
            if self._roster.pool.epoch == epoch:
                with trio.move_on_after(waits_for):
                    await self._roster.wait_for_change()

    def _can_ask_any(self) -> bool:
        members = self._roster.pool.members.values()
        return self._list_sessions is not None and any(
            each.is_reachable and each.backend.admin is not None for each in members
        )

    # --- one walk ---

    async def _heal_all(self) -> None:
        """Walk through all servers, and put right what is flawed."""
        ongoing = self._round = _Round(self.new_walk(), trio.current_time(), self._healer.keys_in_use())
        try:
            await ongoing.walk.begin()
            self._tell_refused(ongoing.walk)
            lacking = await self._put_all_right(ongoing)
            await self._retry_left(ongoing)
            self._tell_refused(ongoing.walk)
        finally:
            self._round = None
        self.lacking = lacking
        if self._counts(ongoing):
            self._conclude(ongoing)

    def _counts(self, ongoing: _Round) -> bool:
        """Whether everything was seen, nothing is left, and nothing has changed since the walk began."""
        is_same = self._roster.pool.epoch == ongoing.walk.pool.epoch
        return is_same and ongoing.walk.is_whole and not ongoing.left and not ongoing.overflowed

    def _conclude(self, ongoing: _Round) -> None:
        """Every session is known to have its copies, and what only doubtful servers had is marked or gone."""
        now, pool = trio.current_time(), self._roster.pool
        self.lacking = 0
        self._healed_epoch = ongoing.walk.pool.epoch
        self._observer.healing_ended(ongoing.walk.seen, ongoing.healed, now - ongoing.began_at)
        recovering = [each for each in ongoing.walk.walked if pool.members[each].is_recovering]
        if not recovering:
            self._roster.redundancy.note_walked(pool.epoch, now)
        if shows_all_settled(pool, ongoing.walk.walked):
            self._healer.note_whole(pool, ongoing.in_use)
        for identity in recovering:
            self._roster.note_healed(identity)

    async def _put_all_right(self, ongoing: _Round) -> int:
        """Put right all sessions that are listed, as far as may be; return how many lacked a copy."""
        lacking = looked_at = 0
        while (found := await ongoing.walk.next()) is not None:
            looked_at += 1
            if looked_at % AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()
            if self._roster.pool.epoch != ongoing.walk.pool.epoch:
                break  # it cannot count any more, and what it compares with is over
            flaws = self._healer.flaws(found, ongoing.walk)
            if flaws:
                lacking += bool(flaws.lacking)
                await self._keep_pace()
                await self._heal(ongoing, found)
        return lacking

    async def _retry_left(self, ongoing: _Round) -> None:
        """Come back to what was locked, or could not be asked for."""
        pause = FIRST_RETRY_PAUSE
        while ongoing.left and pause <= LONGEST_RETRY_PAUSE and not ongoing.overflowed:
            with trio.move_on_after(pause):
                await self._roster.wait_for_change()
            if self._roster.pool.epoch != ongoing.walk.pool.epoch:
                return
            pause *= 2
            for found in tuple(ongoing.left.values()):
                await self._keep_pace()
                del ongoing.left[found.key]
                await self._heal(ongoing, found)

    async def _keep_pace(self) -> None:
        """Wait for the next turn. Where the loop is late, it is busy with clients, and they come first."""
        now = trio.current_time()
        self._next_at = max(self._next_at, now)
        await trio.sleep_until(self._next_at)
        late = trio.current_time() - self._next_at
        self._next_at += max(1 / self.rate, BACK_OFF * late)

    async def _heal(self, ongoing: _Round, found: Found) -> None:
        """Put one session right, if that is possible now."""
        outcome, flaws = await self._healer.heal(found, ongoing.walk)
        if outcome is Outcome.LATER:
            ongoing.note_left(found)
        elif outcome is Outcome.HEALED:
            ongoing.healed += 1
            self._observer.session_healed(flaws.reason)

    def _tell_refused(self, walk: Walk) -> None:
        """Say once of each server why it is not walked."""
        members = self._roster.pool.members
        for identity, reason in walk.refused.items():
            member = members.get(identity)
            if member is None or member.backend.admin is None or self.refused.get(identity) == reason:
                continue
            self._observer.walk_refused(member.backend, reason)
        self.refused = dict(walk.refused)
