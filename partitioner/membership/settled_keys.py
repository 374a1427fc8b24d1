"""The keys that are known to lie where they belong, although acting sets have changed not long ago.

So a key does after a write that began and ended in one epoch, or a search that has found its session nowhere.
And so do all keys after a walk through what the servers hold that has found every session whole, besides
those of which the walk says nothing.
"""

from collections.abc import Iterable

MOST_ABSENT = 16_384
"""Keys of which it is remembered that no server has their session. The first save of a session follows within
seconds; those that clients have made up are forgotten as fast as others come, and need little memory."""


class SettledKeys:
    """Keys, and the epoch in which each was settled; beyond a bound the oldest are forgotten."""

    def __init__(self, most_written: int) -> None:
        self._most_written = most_written
        self._written: dict[bytes, int] = {}  # the oldest first
        self._absent: dict[bytes, int] = {}
        self._whole_in: int | None = None  # the epoch of the last walk
        self._besides: set[bytes] = set()  # of which that walk says nothing

    def __bool__(self) -> bool:
        return bool(self._written or self._absent) or self._whole_in is not None

    def __repr__(self) -> str:
        return f"<SettledKeys, {len(self._written)} written, {len(self._absent)} absent>"

    def clear(self) -> None:
        self._written.clear()
        self._absent.clear()
        self._besides.clear()
        self._whole_in = None

    def is_settled_since(self, epoch: int, key: bytes) -> bool:
        """Whether this key was settled in this epoch or a later one."""
        settled_in = self._written.get(key, self._absent.get(key))
        if settled_in is not None and settled_in >= epoch:
            return True
        return self._whole_in is not None and self._whole_in >= epoch and key not in self._besides

    def note_written(self, key: bytes, epoch: int) -> None:
        """A write or remove that began and ended in this epoch has put the key where it belongs."""
        self._absent.pop(key, None)
        _remember(self._written, key, epoch, self._most_written)

    def note_absent(self, key: bytes, epoch: int) -> None:
        """A search that began and ended in this epoch has found the session of this key nowhere."""
        self._written.pop(key, None)
        _remember(self._absent, key, epoch, MOST_ABSENT)

    def note_whole(self, epoch: int, besides: Iterable[bytes]) -> None:
        """A walk that began and ended in this epoch has settled all keys besides these."""
        self._whole_in = epoch
        self._besides = {*besides}

    def discard(self, key: bytes) -> None:
        """The key may lie elsewhere, too, from now on."""
        self._written.pop(key, None)
        self._absent.pop(key, None)
        if self._whole_in is not None:
            self._besides.add(key)
            if len(self._besides) > self._most_written:
                self._besides.clear()
                self._whole_in = None


def _remember(epochs: dict[bytes, int], key: bytes, epoch: int, most: int) -> None:
    """Remember the epoch of a key, the oldest first, and of so many keys at most."""
    epochs.pop(key, None)
    epochs[key] = epoch
    if len(epochs) > most:
        del epochs[next(iter(epochs))]
