"""May a server be stopped? The seam to who knows, and a cautious answer until somebody does."""

from typing import Protocol

from partitioner.membership.ledger import Ledger
from partitioner.net.roster import Roster


class Redundancy(Protocol):
    """Knows since when every session has all its copies. Times are trio's."""

    def redundant_since(self, now: float) -> float | None:
        """Since when any one server may fail; None if one may not."""

    def why_not_redundant(self, now: float) -> tuple[str, ...]: ...

    def why_not_safe_to_stop(self, identity: str, now: float) -> tuple[str, ...]:
        """Why stopping this server would lose sessions, or might; nothing if it would not."""


class CautiousRedundancy:
    """Says yes only where nothing has changed for T_max: then every session that lives was saved since."""

    def __init__(self, roster: Roster, ledger: Ledger) -> None:
        self._roster = roster
        self._ledger = ledger

    def redundant_since(self, now: float) -> float | None:
        settled_at = self._roster.pool.changed_at + self._ledger.longest_life
        return None if self.why_not_redundant(now) else max(settled_at, 0.0)

    def why_not_redundant(self, now: float) -> tuple[str, ...]:
        pool, reasons = self._roster.pool, []
        if pool.copies < 2:
            reasons.append("sessions have one copy; expected `copies: 2` or more")
        if len(pool.eligible) < pool.copies:
            reasons.append(f"{len(pool.eligible)} backends are up; {pool.copies} copies need as many")
        if self._ledger.keys_marked:
            reasons.append(f"{self._ledger.keys_marked} copies have still to be put right")
        if self._ledger.is_unsettled_time(pool, now):
            reasons.append("the pool has changed within the last T_max")
        return tuple(reasons)

    def why_not_safe_to_stop(self, identity: str, now: float) -> tuple[str, ...]:
        return self.why_not_redundant(now)
