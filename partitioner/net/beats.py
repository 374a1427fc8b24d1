"""Beats: the active router writes one to each server with each probe, and reads whether one has gone back.

A memory that shows a lower beat than it has answered is an old one: a snapshot was restored, or a state file
put back (design.md 5.1). Beats are milliseconds by the farm's clock, which never goes back itself.
"""

from collections.abc import Mapping

import trio

from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.items import CanaryItem
from partitioner.net.canary import Canary
from partitioner.net.channel import Channel

UNSURE_FOR = 40.0
"""Seconds after a beat that went unanswered: it may be carried out late, after the next one, and look like
a memory that has gone back. More than the patience with unanswered connections (net.vigil)."""

USED_FOR = 3.0
"""Seconds for which one exchange makes the beats say *used*."""


class Beats:
    """The last beat of each memory."""

    def __init__(self, canary: Canary) -> None:
        self.clock = FarmClock(0, 0.0)
        self.is_used = False  # whether a client's exchange was answered since the last beats
        self._canary = canary
        self._answered: dict[bytes, int] = {}  # by the token of the memory
        self._unsure_until: dict[bytes, float] = {}
        self._used_until = float("-inf")

    def answered(self, token: bytes | None) -> int:
        """The last beat that this memory has taken; 0 if there was none."""
        return 0 if token is None else self._answered.get(token, 0)

    def begin(self, clock: FarmClock) -> None:
        """This router has claimed, and tells the farm's time by this clock."""
        self.clock = clock
        self._answered.clear()
        self._unsure_until.clear()

    def snapshot(self) -> dict[bytes, int]:
        """The last beat of each memory, to be taken before a canary is read: others are written meanwhile."""
        return dict(self._answered)

    def has_gone_back(self, canary: CanaryItem, before: Mapping[bytes, int]) -> bool:
        """Whether this memory is older than it was before its canary was read."""
        if trio.current_time() < self._unsure_until.get(canary.token, float("-inf")):
            return False
        return canary.beat < before.get(canary.token, 0)

    async def write(self, channel: Channel, canary: CanaryItem, *, is_last: bool = False) -> None:
        """Write the beat of now over one that was read. Raises as Canary.read does."""
        now = trio.current_time()
        beat = max(self.clock.at(now), canary.beat + 1)
        item = CanaryItem(canary.token, beat, is_used=self._is_in_use(now), is_last=is_last)
        try:
            await self._canary.beat(channel, item)
        except BaseException:
            self._unsure_until[canary.token] = trio.current_time() + UNSURE_FOR
            raise
        self._answered[canary.token] = beat

    def _is_in_use(self, now: float) -> bool:
        """Whether clients were served lately; every server is to hear of it, whichever is probed first."""
        if self.is_used:
            self.is_used, self._used_until = False, now + USED_FOR
        return now < self._used_until
