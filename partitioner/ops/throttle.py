"""Says the same thing at most once in a while, and how often it was not said."""

from collections import Counter
from collections.abc import Callable

MOST_SUBJECTS = 100
"""Subjects let through in one interval: a storm of strangers must fill neither the log nor the memory."""


class Throttle:
    """Lets a subject through once per interval (seconds), and counts what it holds back."""

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._last: dict[str, float] = {}  # when each subject was let through last, the oldest first
        self._held_back: Counter[str] = Counter()

    def admit(self, subject: str) -> bool:
        """Whether the subject may be said now."""
        now = self._clock()
        last = self._last.get(subject)
        if last is not None and now - last < self._interval:
            self._held_back[subject] += 1
            return False
        if last is None and not self._has_room(now):
            return False
        self._last.pop(subject, None)
        self._last[subject] = now
        return True

    def take_held_back(self) -> Counter[str]:
        """How often each subject was held back since this was last asked."""
        taken, self._held_back = self._held_back, Counter()
        return taken

    def _has_room(self, now: float) -> bool:
        """Whether one more subject can be remembered, if need be in place of one whose interval is over."""
        if len(self._last) < MOST_SUBJECTS:
            return True
        oldest = next(iter(self._last))
        if now - self._last[oldest] < self._interval:
            return False
        del self._last[oldest]
        return True
