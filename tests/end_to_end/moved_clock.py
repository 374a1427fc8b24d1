"""`partitioner` by a clock that is moved from outside: a minute passes when a test says so.

The clock stands in a file that all processes of a farm have mapped into their memory, so that it moves for
all of them at the same moment: the variable `PARTITIONER_CLOCK` has its path, and it holds the seconds (a
double) by which the clocks that a process measures time with are ahead. A signal has an event loop look at
its clock.
"""

import mmap
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from struct import Struct

VARIABLE = "PARTITIONER_CLOCK"
LOOK = signal.SIGRTMIN
_SECONDS = Struct("d")
_ahead: mmap.mmap | bytes = bytes(_SECONDS.size)  # until the process knows its file


class MovedClock:
    """The clock of some processes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_bytes(bytes(_SECONDS.size))
        self._ahead = _mapped(file)

    def move(self, seconds: float) -> None:
        """Let so much time pass at once."""
        (ahead,) = _SECONDS.unpack_from(self._ahead)
        _SECONDS.pack_into(self._ahead, 0, ahead + seconds)

    def close(self) -> None:
        self._ahead.close()


def ahead_of(clock: Callable[[], float]) -> Callable[[], float]:
    """The same clock, as far ahead as the file says."""

    def moved() -> float:
        (ahead,) = _SECONDS.unpack_from(_ahead)
        return clock() + float(ahead)

    return moved


def main() -> None:
    """The same as the console script."""
    global _ahead
    _ahead = _mapped(Path(os.environ[VARIABLE]))
    signal.signal(LOOK, lambda _number, _frame: None)
    from partitioner.__main__ import run

    run()


def _mapped(file: Path) -> mmap.mmap:
    with file.open("r+b") as opened:
        return mmap.mmap(opened.fileno(), _SECONDS.size)


def measure_time_by_it() -> None:
    """From now on, all that is imported measures time by the moved clock."""
    time.monotonic = ahead_of(time.monotonic)
    time.perf_counter = ahead_of(time.perf_counter)
