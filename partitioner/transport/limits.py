"""Limits for which callers wait in order: connections to one backend, and memory for bodies.

Bodies are held whole because copies of them are written; there is one bound for all. At the bound no client
is refused: one that needs more memory waits, and nothing more is read from it until others have finished.
"""

from collections import deque
from collections.abc import Callable

import trio


class ConnectionLimit:
    """So many places, given out in the order in which they are asked for.

    A semaphore that can be asked without an exception, and that costs the fast path next to nothing.
    """

    __slots__ = ("_count", "_owed", "_waiting", "free")

    def __init__(self, count: int) -> None:
        self._count = count
        self._owed = 0  # places that are given out, and that there shall not be any more
        self.free = count
        self._waiting: deque[trio.Event] = deque()

    @property
    def taken(self) -> int:
        """How many places are given out."""
        return self._count + self._owed - self.free

    def resize(self, count: int) -> None:
        """Have so many places; those that are too many go when they are given back."""
        change, self._count = count - self._count, count
        for _ in range(change):
            self.give_back()
        if change < 0:
            self._owed -= change
            settled = min(self._owed, self.free)
            self._owed -= settled
            self.free -= settled

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
        if self._owed:
            self._owed -= 1
        elif self._waiting:
            self._waiting.popleft().set()
        else:
            self.free += 1


class BytesInFlight:
    """Counts what has come of requests that are not whole, where that is held against a limit."""

    def __init__(self, most: Callable[[], int | None] = lambda: None) -> None:
        """`most` returns how many bytes there may be just now; None: as many as come."""
        self.most = most
        self.used = 0

    def __repr__(self) -> str:
        return f"<BytesInFlight, {self.used} bytes>"

    def take(self, count: int) -> bool:
        """Count so many bytes; return whether there is room for them. If not, they are not counted."""
        most = self.most()
        if most is not None and self.used + count > most:
            return False
        self.used += count
        return True

    def give_back(self, count: int) -> None:
        """So many bytes are stored, or have been given up."""
        self.used -= count


class BodyBudget:
    """So many bytes for bodies that are held whole, given out as they come in.

    What a peer tells reserves nothing: a body counts by what has come of it. So bodies that are half here
    could wait for each other's memory, and Dijkstra's banker prevents it: bytes are given out only if all
    bodies that hold some can still come to their ends, one after the other. A body of which little has come
    does not hold up those that come on.
    Source: Dijkstra, EWD 108 (1964-1967).
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._holders: set[HeldBody] = set()  # those that hold some
        self._told = 0  # by these, all together
        self._growing: dict[HeldBody, tuple[int, trio.Event]] = {}  # holders that wait for more
        self._entering: dict[HeldBody, tuple[int, trio.Event]] = {}  # others that wait, in order

    def __repr__(self) -> str:
        waiting = len(self._growing) + len(self._entering)
        return f"<BodyBudget, {self.used} of {self.limit} bytes used, {waiting} wait>"

    def hold(self, told: int) -> "HeldBody":
        """A body of so many bytes, none of which has come. It must be no larger than the limit."""
        assert told <= self.limit
        return HeldBody(self, told)

    async def grow(self, body: "HeldBody", count: int) -> None:
        """Wait until so many bytes more of this body can be held."""
        may_enter = not self._growing and not self._entering
        if (body in self._holders or may_enter) and self._is_safe(body, count):
            self._give(body, count)
            return
        queue, turn = self._growing if body in self._holders else self._entering, trio.Event()
        queue[body] = count, turn
        try:
            await turn.wait()
        except BaseException:
            if queue.pop(body, None) is not None:
                self._serve_waiting()
            raise

    def give_back(self, body: "HeldBody") -> None:
        """This body is not held any more."""
        if body in self._holders:
            self._holders.discard(body)
            self.used -= body.held
            self._told -= body.told
            self._serve_waiting()

    def _give(self, body: "HeldBody", count: int) -> None:
        if body not in self._holders:
            self._holders.add(body)
            self._told += body.told
        body.held += count
        self.used += count

    def _is_safe(self, body: "HeldBody", count: int) -> bool:
        """Whether all bodies can still come to their ends if this one is given so much."""
        left = self.limit - self.used - count
        if left < 0:
            return False
        told = self._told + (0 if body in self._holders else body.told)
        if told <= self.limit:  # all at once: the common case
            return True
        others = [(each.missing, each.held) for each in self._holders if each is not body]
        for missing, held in sorted([*others, (body.missing - count, body.held + count)]):
            if missing > left:
                return False
            left += held
        return True

    def _serve_waiting(self) -> None:
        """Who holds some first, the one that misses least: what it holds comes free the soonest."""
        while self._growing:
            body = min(self._growing, key=lambda each: each.missing)
            if not self._serve(body, self._growing):
                return
        while self._entering:
            if not self._serve(next(iter(self._entering)), self._entering):
                return

    def _serve(self, body: "HeldBody", queue: "dict[HeldBody, tuple[int, trio.Event]]") -> bool:
        count, turn = queue[body]
        if not self._is_safe(body, count):
            return False
        del queue[body]
        self._give(body, count)
        turn.set()
        return True


class HeldBody:
    """What has come of one body, by its size."""

    __slots__ = ("_budget", "held", "told")

    def __init__(self, budget: BodyBudget, told: int) -> None:
        self._budget = budget
        self.told = told
        self.held = 0

    @property
    def missing(self) -> int:
        """Bytes that are still to come, by what was told."""
        return self.told - self.held

    async def grow(self, count: int) -> None:
        """Wait until so many bytes more can be held."""
        await self._budget.grow(self, count)

    def give_back(self) -> None:
        """Hold nothing any more. Twice is fine."""
        self._budget.give_back(self)
        self.held = 0
