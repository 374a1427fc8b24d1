"""The clock of the beats: milliseconds, told by one router after the other, and never back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FarmClock:
    """The clock of the beats, as one router tells it."""

    milliseconds: int  # at this moment of monotonic time
    moment: float

    def at(self, moment: float) -> int:
        """The farm's time at a moment of monotonic time."""
        return self.milliseconds + round((moment - self.moment) * 1000)

    def moment_of(self, milliseconds: int) -> float:
        """The moment of a farm's time; what lies ahead of the clock is now."""
        return self.moment - max(0, self.milliseconds - milliseconds) / 1000
