"""Those whom the parts of a router report to: the log with its journal, and the tally of the metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from partitioner.config import Settings
from partitioner.daemon.process import repeat_held_back
from partitioner.membership.backend import Backend, Intent
from partitioner.net.observer import Observer
from partitioner.ops.fanout import Fanout
from partitioner.ops.journal import Journal
from partitioner.ops.log import LogObserver
from partitioner.ops.metrics.lag import watch_lag
from partitioner.ops.metrics.tally import Tally


@dataclass(frozen=True, slots=True)
class Observers:
    """All observers of one router."""

    log: LogObserver
    journal: Journal  # what the log has said last
    tally: Tally
    fanout: Observer  # what the parts report to: each fact goes to whoever listens for it

    def start(self, background: trio.Nursery) -> None:
        """Have them do what no fact brings about."""
        background.start_soon(repeat_held_back, self.log)
        background.start_soon(watch_lag, self.tally.lags)


def build_observers(settings: Settings, backends: Sequence[Backend], journal: Journal) -> Observers:
    """Put the observers of a router together; the journal is older, and has the lines of the beginning."""
    ready = sum(backend.intent is Intent.READY for backend in backends)
    log, tally = LogObserver(ready, settings.lost_sessions, journal), Tally()
    return Observers(log, journal, tally, Fanout(log, tally))
