"""Which of several routers is the active one (design.md 5.3).

Only the active router writes. The others watch the beats that it leaves on every server. One that has a
client to serve may claim: at once where the active router has stopped in order, else when the beats have
stood still, or said that no client used them, for some seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from partitioner.membership.backend import BackendId
from partitioner.membership.items import CanaryItem, Term, TermItem

STANDS_STILL = 5.0
"""Seconds for which the beats must have stood still, or said *idle*, before another router claims."""


class Role(Enum):
    """What a router is to the servers of its farm."""

    STANDBY = "standby"  # it looks, and writes nothing
    CLAIMING = "claiming"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Sighting:
    """The beat of one server as a standby sees it. Times are monotonic seconds."""

    beat: int
    seen_at: float  # when it was looked at last
    used_at: float  # when it last moved and said that clients are served


class Sightings:
    """What a standby has seen of the active router."""

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self._seen: dict[BackendId, Sighting] = {}  # by server
        self._stopped_at = 0  # the last beat of a router that stopped in order
        self._moved_at = float("-inf")  # when any beat was last seen to move

    def note(self, server: BackendId, canary: CanaryItem, now: float) -> None:
        """This server has shown this canary."""
        before, beat, is_used = self._seen.get(server), canary.beat, canary.is_used
        if canary.is_last:
            self._stopped_at = max(self._stopped_at, beat)
        if before is None:
            # Whether it moves is not known yet; that it moved just now is the careful guess.
            self._seen[server] = Sighting(beat, now, now if is_used else self.began_at)
        elif before.beat != beat:
            self._moved_at = now
            self._seen[server] = Sighting(beat, now, now if is_used else before.used_at)
        else:
            self._seen[server] = replace(before, seen_at=now)

    def forget(self, server: BackendId) -> None:
        """This server cannot be asked."""
        self._seen.pop(server, None)

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def newest_beat(self) -> int:
        return max((each.beat for each in self._seen.values()), default=0)

    def is_active_router_seen(self, now: float) -> bool | None:
        """Whether another router is active; None while that is not known yet: it takes some seconds."""
        if self._has_stopped:
            return False
        if now - self._moved_at < STANDS_STILL:
            return True
        return None if now - self.began_at < STANDS_STILL else False

    @property
    def _has_stopped(self) -> bool:
        """Whether the last active router has stopped in order."""
        return bool(self._stopped_at) and self._stopped_at >= self.newest_beat

    def why_not_claim(self, now: float) -> str | None:
        """Why the beats do not allow a claim; None: they do.

        A beat has stood still for as long as it was seen to. While this router did not look, because it stood
        still itself or reached no server, the active one may have served all the time.
        """
        if self._has_stopped:
            return None
        if now - self.began_at < STANDS_STILL and self._seen:
            return "another router may be active; its beats have not been watched for 5 s yet"
        is_busy = any(each.seen_at - each.used_at < STANDS_STILL for each in self._seen.values())
        return "another router is active and used" if is_busy else None


def next_term(found: Iterable[Term], recorded: Iterable[Term], word: str) -> TermItem:
    """The term of a new claim: higher than all that were found.

    It names those whose records were found, the latest first, and no others: claims that came to nothing, one
    after the other, must not make the last record be forgotten.
    """
    highest = max((term.number for term in found), default=0)
    return TermItem(Term(highest + 1, word), tuple(sorted(set(recorded), reverse=True)))
