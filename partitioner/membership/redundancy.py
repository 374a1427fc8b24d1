"""May the next state server fail? Whether every session has all its copies, and since when.

Copies cannot be counted: stock servers do not list what they hold. But it is known what can take copies
away, and that is remembered as a *gap*:

- a server that was read is not read any more, or has a new and empty incarnation: whatever it held has one
  copy less. The gap closes when the server is read again in the incarnation that it had, and what it missed
  meanwhile is marked in the ledger. One that was RECOVERING is not marked for that: a walk, or time, has to
  show that it has its copies.
- something may be missing anywhere: the router has started and does not know what went before, the
  number of copies was raised, or there were fewer servers than copies and it is not marked who missed
  what. Only time closes such a gap.

A router leaves its gaps to the next one, in the record. The next one begins with these, and with one more for
each server that was read, until that is found as it was. So a restart of the router by itself takes nothing
away.

Every gap closes when the longest life of a session has passed: whatever was not touched has expired,
and whatever was touched has been copied again. A pool that has enough servers, no marks and no gaps is
*redundant*. Servers that join, weights, and a drain take no copy away.

To stop one server is a smaller question. Its own gaps and marks do not count, since they say that
another server has what it lacks.
"""

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import dataclass

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.health import Health, HealthRecord, Symptom
from partitioner.membership.ledger import Ledger
from partitioner.membership.pool import Member, Pool
from partitioner.membership.wholeness import touch_window
from partitioner.units import format_age

MOST_EVENTS = 3
"""That are told of in one sentence, the last ones; the others are counted."""

STARTED = "the router was started"


@dataclass(frozen=True, slots=True)
class RedundancyGap:
    """Why sessions may have too few copies, since when."""

    event: str  # completed by "... ago"
    opened_at: float
    identity: BackendId | None = None  # of the server that lacks; None: it may be anything on any server
    incarnation: bytes | None = None  # in which it held its copies


class Redundancy:
    """What is known about the copies of all sessions together; it is told of every change of the pool."""

    def __init__(self, pool: Pool, ledger: Ledger, time_of_day: Callable[[float], str]) -> None:
        """The router has started with this pool; `time_of_day` says when a moment is by people's clocks."""
        self.gaps: tuple[RedundancyGap, ...] = _unknown_before(pool)
        self._pool = pool
        self._ledger = ledger
        self._time_of_day = time_of_day
        self._is_guarded = True  # a server that missed a write of the time with too few is marked for it
        self._since: float | None = None
        self._marks_seen = ledger.marks_made

    def __repr__(self) -> str:
        return f"<Redundancy, {len(self.gaps)} gaps, {self._ledger.keys_marked} keys marked>"

    # --- what it answers ---

    def redundant_since(self, now: float) -> float | None:
        """Since when the pool is redundant, in monotonic seconds, or None. It may be a little longer."""
        self.look(now)
        return self._since

    def why_not_redundant(self, now: float) -> tuple[str, ...]:
        """Everything that keeps the pool from being redundant, a sentence each; empty: it is redundant."""
        pool = self._pool
        reasons = []
        if pool.copies < 2:
            reasons.append("sessions are kept on one server only: copies is 1")
        elif _is_short(pool):
            serving = "1 server serves" if len(pool.eligible) == 1 else f"{len(pool.eligible)} servers serve"
            reasons.append(f"{serving}; expected {pool.copies}, one for each copy")
        reasons += _marks_left(self._ledger.keys_marked - self._ledger.keys_lost)
        return (*reasons, *self._sentence(self._open_gaps(now), now))

    def why_not_safe_to_stop(
        self, identities: Collection[BackendId], now: float, handed_off: Container[BackendId] = ()
    ) -> tuple[str, ...]:
        """What would be lost if all these servers were stopped, a sentence each; empty: it is safe.

        Those that are `handed_off` were drained to the end, and hold nothing any more.
        """
        open_gaps = self._open_gaps(now)
        holding = self._holding(identities, open_gaps, handed_off)
        if not holding:
            return ()
        names = listed(self._pool.members[each].backend.name for each in holding)
        if not self._pool.eligible.difference(identities):
            return (f"no other server than {names} serves",)
        if self._pool.copies < 2:
            them = "it" if len(holding) == 1 else "them"
            return (f"the sessions on {names} have no copies: copies is 1; drain {them} first",)
        if len(holding) >= self._pool.copies:
            return (f"sessions may have all their copies on {names}; stop them one after the other",)
        marked_elsewhere = self._ledger.keys_marked - self._ledger.keys_lost
        for identity in holding:
            marked_elsewhere -= self._ledger.marks_of(identity) - self._ledger.lost_on(identity)
        theirs = [gap for gap in open_gaps if gap.identity not in holding]
        return (*_marks_left(marked_elsewhere), *self._sentence(theirs, now))

    def why_not_enough_are_left(self, identities: Collection[BackendId]) -> str | None:
        """Why too few servers serve when these take no sessions any more; None if enough do.

        Where they serve none now, nothing changes.
        """
        serving = self._pool.eligible
        left = len(serving.difference(identities))
        if left == len(serving) or left >= self._pool.copies:
            return None
        would = "1 server would" if left == 1 else f"{left or 'no'} servers would"
        return f"{would} be left to take sessions, and copies is {self._pool.copies}"

    def _holding(
        self,
        identities: Iterable[BackendId],
        open_gaps: Iterable[RedundancyGap],
        handed_off: Container[BackendId],
    ) -> list[BackendId]:
        """Those of these servers that may hold sessions: of one that is away, they may have expired."""
        away_since = {gap.identity for gap in open_gaps}
        return [
            each
            for each in identities
            if each not in handed_off
            and (self._pool.members[each].is_readable or away_since.intersection((each, None)))
        ]

    # --- what it is told ---

    def note_change(self, after: Pool, now: float) -> None:
        """The pool has changed to this one."""
        before, self._pool = self._pool, after
        if before.epoch == after.epoch:
            return
        for identity, member in before.members.items():
            self._note_member(identity, member, after.members.get(identity), now)
        if after.copies > before.copies:
            self._open(RedundancyGap("the number of copies was raised", now))
        self._note_shortage(before, after, now)
        self.look(now)

    def begin(self, pool: Pool, gaps: Iterable[RedundancyGap] = ()) -> None:
        """The router begins with this pool, and with what the one before it has left."""
        self._pool = pool
        self.gaps = _unknown_before(pool)
        for gap in gaps:
            self._open(gap)
        self._is_guarded = True
        self._since = None

    def note_walked(self, epoch: int, now: float) -> None:
        """Every session of every server was seen to have its copies, in this epoch of the pool."""
        if epoch == self._pool.epoch:
            self.gaps = ()
            self._is_guarded = True
            self.look(now)

    def look(self, now: float) -> None:
        """See how things are: called now and then, so that "since" is not much later than the truth."""
        if self.why_not_redundant(now):
            self._since = None
        elif self._since is None or self._ledger.marks_made != self._marks_seen:
            self._since = now
        self._marks_seen = self._ledger.marks_made

    def _note_member(self, identity: BackendId, before: Member, after: Member | None, now: float) -> None:
        if after is None:
            return  # it is forgotten when it was out, and has its gap, or when all that it held has expired
        if before.is_readable and not after.is_readable:
            self._open(
                RedundancyGap(
                    f"{before.backend.name} {_event(after)}", now, identity, before.record.incarnation
                )
            )
        elif after.is_readable and not before.is_readable:
            back = (identity, after.record.incarnation)
            self.gaps = tuple(gap for gap in self.gaps if (gap.identity, gap.incarnation) != back)
            if before.record.health is Health.RECOVERING:
                self._note_recovered(identity, before, now)

    def _note_recovered(self, identity: BackendId, member: Member, now: float) -> None:
        """A server is read that was written to for a while, and not touched.

        Time has put its copies right where T_max has passed, and the touches of that time have come (7.2).
        """
        window = touch_window(int(self._ledger.longest_life // 60))
        began_at = min(now, member.record.since + window)
        event = f"{member.backend.name} began to recover"
        self._open(RedundancyGap(event, began_at, identity, member.record.incarnation))

    def _note_shortage(self, before: Pool, after: Pool, now: float) -> None:
        """With fewer servers than copies writes go on. Were all that missed them marked?"""
        if _is_short(before) and before.is_served:
            # Writes of settled times mark no server. With no server to serve there are none.
            is_settled = now - before.serving_since > self._ledger.longest_life and before.eligible
            comes_without_marks = any(_comes_without_marks(before, after))
            self._is_guarded = self._is_guarded and not is_settled and not comes_without_marks
        if not _is_short(after):
            if not self._is_guarded:
                self._open(RedundancyGap(f"there were fewer than {after.copies} servers until", now))
            self._is_guarded = True

    # --- gaps ---

    def _open(self, gap: RedundancyGap) -> None:
        """Remember a gap, in place of an older one of the same kind."""
        kind = (gap.identity, gap.incarnation)
        self.gaps = (*(each for each in self.gaps if (each.identity, each.incarnation) != kind), gap)

    def _open_gaps(self, now: float) -> tuple[RedundancyGap, ...]:
        """Gaps that time has not closed."""
        self.gaps = tuple(gap for gap in self.gaps if self._closes_in(gap, now) > 0)
        return self.gaps

    def _closes_in(self, gap: RedundancyGap, now: float) -> float:
        return gap.opened_at + self._ledger.longest_life - now

    def _sentence(self, gaps: Iterable[RedundancyGap], now: float) -> list[str]:
        """What has opened these gaps, each server once, and when the last of them closes."""
        last = {gap.identity or gap.event: gap for gap in sorted(gaps, key=lambda gap: gap.opened_at)}
        if not last:
            return []
        told = sorted(last.values(), key=lambda gap: gap.opened_at, reverse=True)
        events = [f"{gap.event} {format_age(now - gap.opened_at)} ago" for gap in told[:MOST_EVENTS]]
        if len(told) > MOST_EVENTS:
            events.append(f"{len(told) - MOST_EVENTS} more before")
        until = self._time_of_day(now + self._closes_in(told[0], now))
        lacking = "sessions untouched since then may lack a copy; redundant"
        return [f"{', '.join(events)}; {lacking} by {until} at the latest{_sooner(self._pool)}"]


def _unknown_before(pool: Pool) -> tuple[RedundancyGap, ...]:
    """The gap of a router that does not know what was before; none where nothing was."""
    if pool.known_since == float("-inf"):
        return ()
    return (RedundancyGap(STARTED, pool.known_since),)


def _is_short(pool: Pool) -> bool:
    """Whether fewer servers serve than there should be copies."""
    return len(pool.eligible) < pool.copies


def _comes_without_marks(before: Pool, after: Pool) -> Iterator[bool]:
    """Of each server that may serve: whether it missed writes that it is not marked for, until now.

    Who was out of reach is marked. Who has just joined, or was drained, was not meant to have a copy; the
    marks of a former incarnation are gone; and who was RECOVERING was written only as one of the first of a
    key's preference list.
    """
    has_others = len(after.ready) > after.copies
    for identity, member in after.members.items():
        known = before.members.get(identity)
        if known is None:
            yield True
        else:
            yield known.backend.intent is Intent.DRAIN is not member.backend.intent
            yield member.is_eligible and _has_new_incarnation(known.record, member.record)
            yield has_others and member.is_eligible and known.record.health is Health.RECOVERING


def _has_new_incarnation(before: HealthRecord, after: HealthRecord) -> bool:
    return before.served_incarnation is not None and before.served_incarnation != after.incarnation


def _event(member: Member) -> str:
    """What became of a server that was read."""
    if member.backend.intent is Intent.MAINT:
        return "was put to maint"
    if member.record.health is Health.RECOVERING:
        return "turned out to have missed more than can be remembered"
    if member.record.symptom is Symptom.RESTARTED:
        return "was restarted"
    return "went down"


def _sooner(pool: Pool) -> str:
    """Whether healing can look at the copies, so that nobody has to wait for time to pass."""
    members = [each for each in pool.members.values() if each.is_reachable]
    unlisted = [each.backend.name for each in members if each.backend.admin is None]
    if not unlisted:
        return ", or as soon as healing has been through"
    names = listed(unlisted) if len(unlisted) <= MOST_EVENTS else f"{len(unlisted)} servers"
    lack = "lacks" if len(unlisted) == 1 else "lack"
    return f" ({names} {lack} an `admin` address, so only time tells)"


def listed(names: Iterable[str]) -> str:
    """Names as people list them: a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _marks_left(count: int) -> list[str]:
    match count:
        case 0:
            return []
        case 1:
            return ["1 session lacks a current copy on a server; it is repaired when that answers"]
        case _:
            return [f"{count} sessions lack a current copy on a server; they are repaired when it answers"]
