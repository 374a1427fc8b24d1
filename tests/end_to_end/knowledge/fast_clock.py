"""`partitioner` whose clocks run 12 times as fast, and stand still while the process is stopped.

A machine that is paused, clock and all, goes on with the time at which it was paused; a process that is
stopped alone does not. This one does: its clock is the sum of the time between looks at the real one,
and no two looks count for more than they can lie apart in a process that runs.

Router and state servers of a farm all run so: every duration in their options and files is 12 times
as long as it takes.
"""

import functools
import threading
import time
from collections.abc import Callable

import trio

SPEED = 12.0
LOOK_EVERY = 0.01
LONGEST_BETWEEN = 0.25
"""Seconds. What is longer is a pause; a busy machine makes the clock a little late, never fast."""


class SteppedClock(trio.abc.Clock):
    """Monotonic seconds, by a call, and as a clock of trio's."""

    def __init__(self, real: Callable[[], float] = time.monotonic) -> None:
        self._real = real
        self._looked_at = self._began_at = real()
        self._ran = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            now = self._real()
            self._ran += min(now - self._looked_at, LONGEST_BETWEEN)
            self._looked_at = now
            return self._began_at + SPEED * self._ran

    def start_clock(self) -> None:
        """It runs already."""

    def current_time(self) -> float:
        return self()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return (deadline - self()) / SPEED

    def look_forever(self) -> None:
        while True:
            self()
            time.sleep(LOOK_EVERY)


def main() -> None:
    """The same as the console script. What of it reads clocks is imported after they were replaced."""
    clock = SteppedClock()
    threading.Thread(target=clock.look_forever, daemon=True).start()
    time.monotonic = time.perf_counter = clock
    trio.run = functools.partial(trio.run, clock=clock)  # type: ignore[assignment]
    from partitioner.cli import run

    run()


if __name__ == "__main__":
    main()
