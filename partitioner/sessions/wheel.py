"""When to look at which session: a lazy timer wheel.

A session that is read slides its expiry, and moving a timer on each of thousands of reads a second
would cost more than the reads. So the wheel lets them slide: it holds each session in the slot of the
expiry it had when it was last looked at, and when that slot is due the caller looks again, forgets
what has expired and files the rest anew. Each session is looked at about once in its time-out.

The way not chosen is a sweep over the whole table: with a million sessions it stops the server for a
third of a second each time.
"""

from collections.abc import Iterator

SLOT_SECONDS = 16.0
"""How coarse the wheel is. A stock server sweeps every 20 s; expiry itself is exact on every access."""


class TimerWheel:
    """Keys, filed by the time at which to look at them again."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: dict[int, set[bytes]] = {}

    def file(self, key: bytes, when: float) -> int:
        """File a key to be looked at when `when` has passed; answer the slot that it is in."""
        slot = int(when // SLOT_SECONDS)
        self._slots.setdefault(slot, set()).add(key)
        return slot

    def forget(self, key: bytes, slot: int) -> None:
        """Take a key out of the slot in which it was filed."""
        keys = self._slots[slot]
        keys.remove(key)
        if not keys:
            del self._slots[slot]

    def due(self, now: float) -> Iterator[bytes]:
        """Take out the keys whose time has passed, one by one; the caller may stop in between."""
        for slot in sorted(slot for slot in self._slots if (slot + 1) * SLOT_SECONDS < now):
            keys = self._slots[slot]
            while keys:
                yield keys.pop()
            del self._slots[slot]
