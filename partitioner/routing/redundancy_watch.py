"""Reports when the pool ceases to be redundant, and when it is redundant again (design.md 7)."""

import trio

from partitioner.routing.roster import Roster
from partitioner.transport.observer import Observer

PATIENCE = 2.0
"""Seconds. One copy that was late for once is repaired before, and is not worth two lines in a log."""


class RedundancyWatch:
    """Looks after the redundancy of the pool; a pool of single copies has none, and nothing is said of it."""

    def __init__(self, roster: Roster, observer: Observer) -> None:
        self._roster = roster
        self._observer = observer
        self._lost_at: float | None = None
        self._has_told = False

    def look(self) -> None:
        """See how things are, and report what has changed for longer than a moment: called every second."""
        now = trio.current_time()
        if self._roster.pool.copies < 2:
            self._lost_at, self._has_told = None, False
        elif reasons := self._roster.redundancy.why_not_redundant(now):
            self._note_lost(reasons, now)
        elif self._lost_at is not None:
            self._note_regained(self._lost_at, now)

    def _note_lost(self, reasons: tuple[str, ...], now: float) -> None:
        if self._lost_at is None:
            self._lost_at = now
        if not self._has_told and now - self._lost_at >= PATIENCE:
            self._has_told = True
            self._observer.redundancy_lost(reasons)

    def _note_regained(self, lost_at: float, now: float) -> None:
        if self._has_told:
            self._observer.redundancy_regained(now - lost_at)
        self._lost_at, self._has_told = None, False
