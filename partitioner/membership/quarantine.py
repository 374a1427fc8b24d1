"""Lock quarantine: who may hold a lock that the router before this one has granted (design.md 5.2.6).

Locks live on state servers, and the ledger that knows which one died with its router. As long as nothing
changed, the server that is asked now is the one that granted the lock, and says 423. Where a server of
the key was changing just then, another one may hold it. For the time that a page may run, a key that this
router has not answered yet is served only when each of those has been asked.
"""

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.entry import LONGEST_PAGE
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.record import MemberEntry, Record
from partitioner.placement.rendezvous import Ranking

_MILLISECONDS = int(LONGEST_PAGE * 1000)


class Quarantine:
    """The time after a claim without the locks of the router before."""

    def __init__(self, record: Record, clock: FarmClock, claimed_at: float) -> None:
        """`clock` tells the time of the record; `claimed_at` is monotonic seconds."""
        self.claimed_at = claimed_at
        self._answered: set[bytes] = set()
        self._entries = {each.backend.identity: each for each in record.members}
        self._began_at = clock.milliseconds - _MILLISECONDS
        self._maps: list[tuple[Ranking, dict[str, BackendId]]] = []
        for each in record.maps_until(clock.milliseconds):
            is_known = any((each.weights, each.places) == (map_.weights, seen) for map_, seen in self._maps)
            if each.ended_at >= self._began_at and not is_known:
                self._maps.append((Ranking(each.weights), each.places))

    def is_over(self, now: float) -> bool:
        return now >= self.claimed_at + LONGEST_PAGE

    def is_answered(self, key: bytes) -> bool:
        """Whether this router has served the key since: then no lock of before is left on it."""
        return key in self._answered

    def note_answered(self, key: bytes) -> None:
        """A get, acquire, set or remove of the key was answered 200."""
        self._answered.add(key)

    def candidates(self, placement: bytes) -> dict[BackendId, bytes | None]:
        """The servers that may have granted a lock on a key, with the token of their memory then."""
        found: dict[BackendId, bytes | None] = {}
        for ranking, places in self._maps:
            for name in ranking.preference_list(placement):
                entry = self._entries.get(places[name]) if name in places else None
                if entry is None or not self._has_served(entry):
                    continue
                found[entry.backend.identity] = None if entry.token is None else entry.token.encode("latin-1")
                if not self._has_wavered(entry):
                    break
        return found

    def _has_served(self, entry: MemberEntry) -> bool:
        """Whether it was READY and UP at some time within the last seconds."""
        return entry.out_since is None or entry.out_since >= self._began_at

    def _has_wavered(self, entry: MemberEntry) -> bool:
        is_steady = entry.was_up and entry.backend.intent is Intent.READY and not entry.dirty
        return not is_steady or (entry.wavered_at or 0) >= self._began_at
