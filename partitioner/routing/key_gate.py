"""The key gate: exchanges of one key pass one after another.

State servers have no versions and the network has no order, so two exchanges of one session that ran
side by side over several servers could leave each of them with something else. Behind the gate there
is but one at a time, with its copies, its move or its repair, and nothing else has to think of two.

Of a key that no exchange waits for the gate holds one entry in a table, and only for as long as it is busy.
"""

from collections import deque

import trio


class KeyGate:
    """Lets one exchange of a key pass at a time, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[trio.Event] | None] = {}  # by busy key; None while no exchange waits

    def __len__(self) -> int:
        """How many keys are busy."""
        return len(self._waiting)

    def busy_keys(self) -> frozenset[bytes]:
        """The keys at which there is an exchange."""
        return frozenset(self._waiting)

    def is_free(self, key: bytes) -> bool:
        return key not in self._waiting

    def enter_at_once(self, key: bytes) -> bool:
        """Enter if it is free; return whether it was. A caller that has entered leaves exactly once."""
        if key in self._waiting:
            return False
        self._waiting[key] = None
        return True

    async def enter(self, key: bytes) -> None:
        """Wait until all those who came before have left. A caller that has entered leaves exactly once."""
        if self.enter_at_once(key):
            return
        queue = self._waiting[key]
        if queue is None:
            queue = self._waiting[key] = deque()
        turn = trio.Event()
        queue.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # it was our turn in the very moment in which we gave up
                self.leave(key)
            else:
                queue.remove(turn)
            raise

    def leave(self, key: bytes) -> None:
        """Let the next one pass."""
        queue = self._waiting[key]
        if queue:
            queue.popleft().set()
        else:
            del self._waiting[key]


class GateHold:
    """One exchange's stay behind the gate, which ends once."""

    __slots__ = ("_gate", "_has_left", "_key")

    def __init__(self, gate: KeyGate, key: bytes) -> None:
        """The exchange has entered."""
        self._gate = gate
        self._key = key
        self._has_left = False

    def take_over(self) -> bool:
        """Have the caller leave in its place; return whether it is still behind the gate."""
        is_within, self._has_left = not self._has_left, True
        return is_within

    def leave(self) -> None:
        """Let the next one pass, unless it has been let."""
        if self.take_over():
            self._gate.leave(self._key)

    async def leave_after(self, duration: float) -> None:
        """Leave when so many seconds have passed."""
        await trio.sleep(duration)
        self.leave()
