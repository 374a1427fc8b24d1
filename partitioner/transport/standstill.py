"""Notices that this process has stood still, and has all connections closed before anything more is sent.

A process stands still when it is stopped, when its machine sleeps or is paused, or when one step takes very
long. It does not notice: the next thing it does is what it was about to do, and that may be out of date.
Another router may have taken over; a lock may have been broken; a server may have been restarted. So a
process that finds more than LONGEST_PAUSE between two looks at a clock that runs on meanwhile closes all
connections and begins again, with what it knew (design.md 5.4).

A look costs one reading of the clock. There is one

- after each wait of trio's loop for the network, before what came is reacted to and before deadlines run out;
- before each step of a task, for a process that is stopped in the middle of a turn of the loop;
- after each wait of the fast path's own loop, and before it sends what a round has led to.

Between a look and a send there are microseconds. What is sent in them was due when it was decided.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

LONGEST_PAUSE = 2.0  # seconds between two looks (design.md 5.4)

LONG_TURN = 0.1
"""Seconds. In a turn of the loop that takes longer, or a wait that does, nobody was served. Full load takes
4 ms a turn, and a slice of a burst a few more (transport.slices)."""

LOOK_INTERVAL = 0.5
"""Seconds after which there is a look although nothing happens. It is well below LONGEST_PAUSE, so that a
busy machine is not taken for a stopped one."""

if hasattr(time, "CLOCK_BOOTTIME"):

    def machine_time() -> float:
        """Seconds by a clock that runs on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    machine_time = time.monotonic  # it runs on in sleep on Windows, and not on macOS


class Standstills(trio.abc.Instrument):
    """Looks at the clock, and tells `listeners` when the process has stood still."""

    def __init__(self, clock: Callable[[], float] = machine_time) -> None:
        """`clock` returns seconds. Until `run`, no look notices anything."""
        self.listeners: list[Callable[[float], None]] = []
        """Called with the seconds of a standstill, in this order, before anything else happens. They must not
        raise."""
        self.lost = 0.0
        """Seconds that turns of the loop have taken that were too long, since the start. What runs out of
        time meanwhile is nobody's fault."""
        self._clock = clock
        self._looked_at: float | None = None  # None while nothing makes sure that there are looks
        self._turn_began_at = self._wait_began_at = 0.0
        self._guarded: dict[trio.CancelScope, None] = {}

    def look(self) -> bool:
        """Look at the clock; return whether the process has stood still, and all listeners have been told."""
        looked_at = self._looked_at
        if looked_at is None:
            return False
        self._looked_at = now = self._clock()
        if now - looked_at <= LONGEST_PAUSE:
            return False
        for scope in tuple(self._guarded):
            scope.cancel()
        for listener in self.listeners:
            listener(now - looked_at)
        self._looked_at = self._clock()  # closing thousands of connections is no standstill
        return True

    async def run(self) -> None:
        """Look for as long as this runs, at least each LOOK_INTERVAL."""
        self._looked_at = self._turn_began_at = self._wait_began_at = self._clock()
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                await trio.sleep(LOOK_INTERVAL)
                self.look()
        finally:
            trio.lowlevel.remove_instrument(self)
            self._looked_at = None

    @contextmanager
    def guard(self) -> Iterator[trio.CancelScope]:
        """Cancel what is done within this when the process has stood still."""
        with trio.CancelScope() as scope:
            self._guarded[scope] = None
            try:
                yield scope
            finally:
                del self._guarded[scope]

    # --- trio.abc.Instrument ---

    def before_io_wait(self, timeout: float) -> None:
        self._wait_began_at = now = self._clock()
        self._note_lost(now - self._turn_began_at)

    def after_io_wait(self, timeout: float) -> None:
        self.look()
        now = self._looked_at
        if now is not None:
            self._note_lost(now - self._wait_began_at - timeout)
            self._turn_began_at = now

    def _note_lost(self, duration: float) -> None:
        if duration > LONG_TURN:
            self.lost += duration

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.look()
