"""Guards the last good copy: what would be lost if an operator's order took servers away?

`maint` and a removal take out of reach what a server holds, at once or as soon as it is stopped. A drain
moves it first, but where it leaves fewer servers than copies, sessions are kept on too few of them. Such
an order is refused with the number of sessions at stake, unless the operator forces it (design.md 7.6).

How many there are the servers say themselves, on their admin ports. A stock server cannot be asked.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import trio

from partitioner.errors import ListingFailed, WouldLose
from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.pool import Member, Pool
from partitioner.membership.redundancy import listed
from partitioner.routing.drain import HandOff
from partitioner.routing.inventory import ListSessions, sessions_told
from partitioner.routing.roster import Roster


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The servers that an order takes away, all at once, by identity."""

    stopped: tuple[BackendId, ...] = ()  # they are not asked any more, or may be stopped at any moment
    drained: tuple[BackendId, ...] = ()  # they take no sessions any more

    def __bool__(self) -> bool:
        return bool(self.stopped or self.drained)


def withdrawal_of(before: Pool, after: Mapping[BackendId, Member]) -> Withdrawal:
    """Which servers a change takes away that makes these the members of the pool, by identity."""
    stopped: list[BackendId] = []
    drained: list[BackendId] = []
    for identity in before.places.values():
        was, member = before.members[identity].backend.intent, after.get(identity)
        now = None if member is None else member.backend.intent
        if now is None or now is Intent.MAINT is not was:
            stopped.append(identity)
        elif now is Intent.DRAIN and was is Intent.READY:
            drained.append(identity)
    return Withdrawal(tuple(stopped), tuple(drained))


class WithdrawalGuard:
    """Says whether servers may be taken away."""

    def __init__(
        self, roster: Roster, handoff: HandOff, farm: str, list_sessions: ListSessions | None
    ) -> None:
        """`farm` is the name under which this router keeps its items on the servers."""
        self._roster = roster
        self._handoff = handoff
        self._farm = farm
        self._list_sessions = list_sessions

    async def check(self, withdrawal: Withdrawal, remedy: str) -> None:
        """See that no session is put at stake. Nothing is changed.

        `remedy` says how the order is forced, for the message.

        Raises WouldLose, with how many sessions are.
        """
        if not withdrawal:
            return
        taken, consequence, reason = self._verdict(withdrawal)
        if reason is None:
            return
        sessions = await self._sessions_on(taken)
        if sessions == 0:
            return
        names = listed(self._roster.pool.members[each].backend.name for each in taken if self._is_there(each))
        hold = "holds" if len(taken) == 1 else "hold"
        raise WouldLose(f"{names} {hold} {_counted(sessions)} {consequence}: {reason}; {remedy}", sessions)

    def _verdict(self, withdrawal: Withdrawal) -> tuple[tuple[BackendId, ...], str, str | None]:
        """Which servers put sessions at stake, what would become of these, and why; None: no session is."""
        now, redundancy = trio.current_time(), self._roster.redundancy
        drains = self._handoff.drains().items()
        handed_off = {identity for identity, drain in drains if drain.is_done}
        reasons = redundancy.why_not_safe_to_stop(withdrawal.stopped, now, handed_off)
        if reasons:
            taken = tuple(each for each in withdrawal.stopped if each not in handed_off)
            return taken, "that may have no good copy elsewhere", "; ".join(reasons)
        if not withdrawal.drained:
            return (), "", None
        too_few = redundancy.why_not_enough_are_left({*withdrawal.stopped, *withdrawal.drained})
        return withdrawal.drained, "that would be kept on too few servers", too_few

    def _is_there(self, identity: BackendId) -> bool:
        return identity in self._roster.pool.members

    async def _sessions_on(self, identities: Collection[BackendId]) -> int | None:
        """How many sessions these servers hold, copies counted; None where one of them does not tell."""
        told: list[int | None] = []

        async def count(identity: BackendId) -> None:
            told.append(await self._sessions_told(identity))

        async with trio.open_nursery() as nursery:
            for identity in identities:
                nursery.start_soon(count, identity)
        known = [each for each in told if each is not None]
        return sum(known) if len(known) == len(told) else None

    async def _sessions_told(self, identity: BackendId) -> int | None:
        member = self._roster.pool.members[identity]
        if self._list_sessions is None or not member.is_reachable:
            return None
        try:
            return await sessions_told(member, self._farm, self._list_sessions)
        except ListingFailed:
            return None


def _counted(sessions: int | None) -> str:
    if sessions is None:
        return "an unknown number of sessions"
    return "1 session" if sessions == 1 else f"up to {sessions} sessions"
