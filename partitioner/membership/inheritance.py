"""What a router begins with: a pool, and what is known of memories that are out, dirty or empty.

It is made of the record of the router before. Where that one has stopped in order it has left its marks and
locks as well. Else whatever was dirty, or was not UP, may lack what no router remembers (design.md 5.2).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from partitioner.membership.backend import BackendId, Intent, free_identity
from partitioner.membership.entry import may_hold_stale
from partitioner.membership.eras import Era
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.health import HealthPolicy, HealthRecord, newcomer, suspect
from partitioner.membership.pool import Member, Pool
from partitioner.membership.record import (
    FormerMap,
    FormerMemory,
    MemberEntry,
    Record,
    maybe_token_of,
    token_of,
)
from partitioner.membership.redundancy import RedundancyGap
from partitioner.placement.rendezvous import Ranking


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a router begins with."""

    pool: Pool
    departed: dict[bytes, float] = field(default_factory=dict)
    dirty: dict[BackendId, frozenset[str]] = field(default_factory=dict)  # by identity
    empty: frozenset[bytes] = frozenset()
    trusts_unknown: bool = True  # no record was found, so memories are taken as they stand
    longest_life: float = 0.0  # T_max in seconds; 0: not known
    gaps: tuple[RedundancyGap, ...] = ()  # why sessions may lack copies


def inherit(
    record: Record, pool: Pool, policy: HealthPolicy, now: float, clock: FarmClock, *, is_clean: bool
) -> Inheritance:
    """What to begin with, from the pool of those that are configured now, about which nothing is known.

    `is_clean` says that the router before this one has left its marks and locks, too: then no server is in
    doubt. Else whatever was dirty, or was not UP, may lack what no router remembers.
    """
    heir = _Heir(record, policy, now, clock, is_clean)
    members: dict[BackendId, Member] = {}
    for member in pool.members.values():
        known = heir.member_of(member)
        members[known.backend.identity] = known
    for member in heir.removed(members):
        members[member.backend.identity] = member
    begun = replace(
        pool,
        members=members,
        eras=heir.eras(pool.ranking),
        known_since=clock.moment_of(record.known_since),
    )
    former = {token_of(each.token): heir.until(each) for each in record.former}
    dirty = {identity: why for identity, why in record.dirty.items() if identity in members}
    empty = frozenset(map(token_of, record.empty)) - former.keys()
    gaps = tuple(heir.gaps())
    return Inheritance(begun, former, dirty, empty, False, record.longest_life, gaps)


@dataclass(frozen=True, slots=True)
class _Heir:
    record: Record
    policy: HealthPolicy
    now: float
    clock: FarmClock
    is_clean: bool

    def member_of(self, member: Member) -> Member:
        """A backend that is configured now, as the one that it was before, if it was.

        A server that was renamed or has moved shows who it is with its first probe.
        """
        backend = member.backend
        for entry in sorted(self.record.members, key=lambda each: each.removed_at is not None):
            if (entry.backend.name, entry.backend.address) == (backend.name, backend.address):
                known = replace(backend, identity=entry.backend.identity)
                return Member(known, self._health(entry))
        taken = {entry.backend.identity for entry in self.record.members}
        return Member(replace(backend, identity=free_identity(backend, taken)), member.record)

    def removed(self, configured: Iterable[BackendId]) -> list[Member]:
        """The backends that are not configured any more, and may still hold sessions."""
        members = []
        for entry in self.record.members:
            removed_at = self.now if entry.removed_at is None else self.clock.moment_of(entry.removed_at)
            is_over = self.now - removed_at > self.record.longest_life
            if entry.backend.identity not in configured and not is_over:
                members.append(Member(entry.backend, self._health(entry), removed_at))
        return members

    def until(self, former: FormerMemory) -> float:
        """Until when it matters that this memory is out: no longer than T_max from now."""
        left = (former.until - self.clock.milliseconds) / 1000
        return min(self.clock.moment + left, self.now + self.record.longest_life)

    def gaps(self) -> Iterator[RedundancyGap]:
        """Why sessions may lack copies; each server that was read is expected to be found as it was."""
        for gap in self.record.gaps:
            opened_at = self.clock.moment_of(gap.opened_at)
            yield RedundancyGap(gap.event, opened_at, gap.identity, maybe_token_of(gap.token))
        for entry in self.record.members:
            if entry.was_up and entry.token is not None and entry.backend.intent is not Intent.MAINT:
                event = f"{entry.backend.name} was missing, empty or in doubt at the router's start"
                yield RedundancyGap(event, self.now, entry.backend.identity, token_of(entry.token))
            if entry.dirty and not self.is_clean:  # which keys it lacks nobody knows any more
                yield RedundancyGap(
                    f"{entry.backend.name} had missed changes at the router's start", self.now
                )
        last = max(self.record.maps, key=lambda each: each.ended_at, default=None)
        if last is not None and len(last.served) < last.copies:
            yield RedundancyGap("there were too few servers for all copies until", self.now)

    def eras(self, ranking: Ranking) -> tuple[Era, ...]:
        """The eras of the record, as far as they matter.

        Without the marks of the router before this one they count as ended now, and none of its servers is a
        witness (design.md 5.2.5).
        """
        eras = [self._era(each, ranking) for each in self._recorded(self.clock.milliseconds)]
        return tuple(era for era in eras if not era.is_over(self.now - self.record.longest_life))

    def _era(self, former: FormerMap, ranking: Ranking) -> Era:
        servers, recovering = frozenset(former.served), frozenset(former.recovering)
        tokens = {**former.served, **former.recovering}
        ended_at = self.clock.moment_of(former.ended_at)
        is_over = self.now - ended_at > self.record.longest_life
        return Era(
            self.clock.moment_of(former.began_at),
            ended_at if self.is_clean or is_over else self.now,
            ranking if former.weights == ranking.weights else Ranking(former.weights),
            former.places,
            servers,
            former.copies,
            servers,
            {server: maybe_token_of(token) for server, token in tokens.items()},
            returned_at=dict.fromkeys(self._away(former), self.now),
            is_certain=self.is_clean and former.is_certain,
            recovering=recovering,
        )

    def _away(self, former: FormerMap) -> Iterator[BackendId]:
        """The servers of an era that were away in the end: what they held has not grown old since."""
        for entry in self.record.members:
            identity = entry.backend.identity
            is_theirs = identity in former.served and former.served[identity] == entry.token
            if is_theirs and not entry.was_up and not self._was_long_away(entry):
                yield identity

    def _recorded(self, milliseconds: int) -> Iterator[FormerMap]:
        """The eras of the record, and what else may have been where its router did not stop in order.

        It may not have written down its last change of health: that a server was back. And where a server
        had marks, though these were gone in the end, the next one may have served its keys meanwhile.
        """
        maps = self.record.maps_until(milliseconds)
        yield from maps
        if self.is_clean or not maps:
            return
        last = max(maps, key=lambda each: each.ended_at)
        since = milliseconds - round(self.record.longest_life * 1000)
        ready = [
            each
            for each in self.record.members
            if each.removed_at is None and each.backend.intent is Intent.READY and each.token is not None
        ]
        steady = [each for each in ready if each.was_up and (each.dirty_at or 0) < since]
        for servers in (ready, steady):
            yield replace(last, served={each.backend.identity: each.token for each in servers})

    def _health(self, entry: MemberEntry) -> HealthRecord:
        token = None if entry.token is None else token_of(entry.token)
        record = replace(newcomer(self.policy), served_incarnation=token)
        lacks_marks = not self.is_clean and (may_hold_stale(entry.dirty) or not entry.was_up)
        if token is None or not (lacks_marks or self._was_long_away(entry) or entry.is_doubted):
            return record
        return suspect(record, self.now + self.record.longest_life, token, self.now)

    def _was_long_away(self, entry: MemberEntry) -> bool:
        """Whether it was away for longer than marks are kept; its clock may have stood still meanwhile."""
        since = self.clock.milliseconds - round(self.record.longest_life * 1000)
        return not entry.was_up and entry.out_since is not None and entry.out_since < since
