"""Limits for which callers wait in order: connections to one backend, and memory for bodies.

Bodies are held whole because copies of them are written; there is one bound for all. At the bound no client
is refused: one that needs more memory waits, and nothing more is read from it until others have finished.
"""

from collections import deque

import trio


class ConnectionLimit:
    """So many places, given out in the order in which they are asked for.

    A semaphore that can be asked without an exception, and that costs the fast path next to nothing.
    """

    __slots__ = ("_waiting", "free")

    def __init__(self, count: int) -> None:
        self.free = count
        self._waiting: deque[trio.Event] = deque()

    async def take(self) -> None:
        """Wait for a place. It goes back with `give_back`."""
        if self.free:
            self.free -= 1
            return
        turn = trio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.give_back()
            else:
                self._waiting.remove(turn)
            raise

    def give_back(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self.free += 1


class BodyBudget:
    """So many bytes, given out in the order in which they are asked for."""

    def __init__(self, limit: int) -> None:
        """No single body may be larger than the limit."""
        self._limit = limit
        self._waiting: deque[tuple[int, trio.Event]] = deque()
        self.used = 0

    def __repr__(self) -> str:
        return f"<BodyBudget, {self.used} of {self._limit} bytes used, {len(self._waiting)} wait>"

    async def reserve(self, count: int) -> None:
        """Wait until there are so many bytes; they go back with `give_back`."""
        if not self._waiting and self.used + count <= self._limit:
            self.used += count
            return
        asked = (count, trio.Event())
        self._waiting.append(asked)
        try:
            await asked[1].wait()
        except BaseException:
            if asked[1].is_set():
                self.give_back(count)
            else:
                self._waiting.remove(asked)
                self._serve_waiting()
            raise

    def give_back(self, count: int) -> None:
        self.used -= count
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting and self.used + self._waiting[0][0] <= self._limit:
            count, turn = self._waiting.popleft()
            self.used += count
            turn.set()
