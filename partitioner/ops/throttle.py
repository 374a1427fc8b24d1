"""Says the same thing at most once in a while, and how often it was not said."""

from collections.abc import Callable

MOST_SUBJECTS = 100
"""Subjects let through in one interval: a storm of strangers must fill neither the log nor the memory."""


class Throttle:
    """Lets a subject through once per interval (seconds)."""

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._last: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def admit(self, subject: str) -> int | None:
        """How often the subject was held back since it was last let through; None if it is held back now."""
        now = self._clock()
        last = self._last.get(subject)
        if last is not None and now - last < self._interval:
            self._held_back[subject] = self._held_back.get(subject, 0) + 1
            return None
        if last is None and not self._has_room(now):
            return None
        self._last.pop(subject, None)
        self._last[subject] = now  # the oldest stays first
        return self._held_back.pop(subject, 0)

    def _has_room(self, now: float) -> bool:
        """Whether one more subject can be remembered, if need be in place of one whose interval is over."""
        if len(self._last) < MOST_SUBJECTS:
            return True
        oldest = next(iter(self._last))
        if now - self._last[oldest] < self._interval:
            return False
        del self._last[oldest]
        self._held_back.pop(oldest, None)
        return True
