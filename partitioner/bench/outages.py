"""When nothing worked, as seen by those who asked.

A session is out from the beginning of the first exchange about it that was in vain (failed, locked, or
not found) until the next one that succeeds, of whatever page. Time in which no page asked for a
session does not count as an outage of it. Everything is out between any two successes.
"""


class Outages:
    """Keeps the longest times without success. Times are seconds on one clock."""

    def __init__(self, began_at: float) -> None:
        self.longest_silence = 0.0  # without any success at all
        self.longest_session_outage = 0.0  # of any one session
        self.first_failure_at: float | None = None
        self.last_failure_at: float | None = None
        self._last_success_at = began_at
        self._out_since: dict[int, float] = {}  # sessions that are out now

    def succeeded(self, session: int, now: float) -> None:
        """An exchange about this session was answered 200."""
        self.longest_silence = max(self.longest_silence, now - self._last_success_at)
        self._last_success_at = now
        if self._out_since and (since := self._out_since.pop(session, None)) is not None:
            self.longest_session_outage = max(self.longest_session_outage, now - since)

    def was_in_vain(self, session: int, began_at: float) -> None:
        """An exchange about this session, begun at that time, was answered something else."""
        self._out_since.setdefault(session, began_at)

    def failed(self, session: int, began_at: float, now: float) -> None:
        """An exchange about this session, begun at that time, was not answered."""
        self.was_in_vain(session, began_at)
        if self.first_failure_at is None:
            self.first_failure_at = now
        self.last_failure_at = now

    def end(self, now: float) -> None:
        """The run is over; what is out now has been so until now."""
        self.longest_silence = max(self.longest_silence, now - self._last_success_at)
        for since in self._out_since.values():
            self.longest_session_outage = max(self.longest_session_outage, now - since)
