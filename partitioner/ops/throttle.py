"""Says the same thing at most once in a while, and how often it was not said."""

from collections.abc import Callable

MOST_SUBJECTS = 1024
"""Subjects remembered at a time: a storm of strangers must not fill the memory either."""


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
        if last is None and len(self._last) >= MOST_SUBJECTS:
            oldest = min(self._last, key=self._last.__getitem__)
            del self._last[oldest]
            self._held_back.pop(oldest, None)
        self._last[subject] = now
        return self._held_back.pop(subject, 0)
