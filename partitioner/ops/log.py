"""The log: one line per change of state, with cause and consequence.

What can happen thousands of times a second is said at most once a minute for each subject, with the
number of times that it was not said; a counter, not the log, is the place for the rest. No session ID
is ever written: it is a bearer secret (protocol.md 10.1.13).

This is how a line is written. What the lines say about clients, backends and engines stands in `client_log`,
`router_log` and `store_log`.
"""

import time
from collections import Counter

import structlog

from partitioner.ops.event_log import EventLog, EventLogger
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.throttle import MOST_SUBJECTS, Throttle

ONCE_A_MINUTE = 60.0


class Log:
    """Writes lines, to standard error and to the event log."""

    def __init__(self, event_log: EventLog | None = None) -> None:
        self._log = EventLogger(structlog.get_logger(), EventLog() if event_log is None else event_log)
        self._throttle = Throttle(ONCE_A_MINUTE, time.monotonic)
        self._last_said: dict[str, tuple[str, dict[str, object]]] = {}  # by subject, the oldest first
        self._counted: Counter[str] = Counter()  # by line, since it was last written

    def note(self, event: str, **facts: object) -> None:
        """Write a line about what has happened as it should."""
        self._log.info(event, **facts)

    def warn(self, event: str, **facts: object) -> None:
        """Write a line about what is probably not meant, or has to be watched."""
        self._log.warning(event, **facts)

    def complain(self, event: str, **facts: object) -> None:
        """Write a line about what has failed, or must not be."""
        self._log.error(event, **facts)

    def count(self, event: str) -> None:
        """Have a line say every minute how often this happened."""
        self._counted[event] += 1

    def warn_at_times(self, subject: str, event: str, **facts: object) -> None:
        """Write a line about what may come thousands of times: once a minute for each subject."""
        if self._throttle.admit(subject):
            self._last_said.pop(subject, None)
            self._last_said[subject] = (event, facts)
            if len(self._last_said) > 2 * MOST_SUBJECTS:
                del self._last_said[next(iter(self._last_said))]
            self._log.warning(event, **facts)

    def repeat_held_back(self) -> None:
        """Say how often that happened again which was said once: called every minute, and at the end."""
        for event, count in self._counted.items():
            self._log.info(event, count=count)
        self._counted.clear()
        for subject, count in self._throttle.take_held_back().items():
            if subject in self._last_said:
                event, facts = self._last_said[subject]
                self._log.warning(event, **facts, times_more=count)

    def note_end(self, counters: Counters) -> None:
        """Write the last line, with what was counted since the start."""
        self.repeat_held_back()
        counted = {
            "answered": counters.answered,
            "refused": counters.malformed,
            "closed": counters.closed.total(),
        }
        self._log.info("stopped", **counted, moved=counters.moved.total())
