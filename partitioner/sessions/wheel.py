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
        # Dicts for sets: the garbage collector walks over sets, and a million keys would take it long.
        self._slots: dict[int, dict[bytes, None]] = {}

    def file(self, key: bytes, when: float, slot: int | None) -> int:
        """See to it that a key is looked at soon after `when` at the latest; return the slot it is in now.

        `slot` is the one that it is in already, if any. An earlier one will do: the caller looks, and
        files it anew.
        """
        wanted = int(when // SLOT_SECONDS)
        if slot is not None:
            if slot <= wanted:
                return slot
            self.forget(key, slot)
        self._slots.setdefault(wanted, {})[key] = None
        return wanted

    def forget(self, key: bytes, slot: int) -> None:
        """Take a key out of the slot in which it was filed."""
        keys = self._slots[slot]
        del keys[key]
        if not keys:
            del self._slots[slot]

    def due(self, now: float) -> Iterator[bytes]:
        """Take out the keys whose time has passed, one by one; the caller may stop in between."""
        for slot in sorted(slot for slot in self._slots if (slot + 1) * SLOT_SECONDS < now):
            keys = self._slots[slot]
            while keys:
                yield keys.popitem()[0]
            del self._slots[slot]
