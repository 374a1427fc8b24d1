"""The right of this router to write to the servers of its farm: its role, its term, and its beats.

The active router writes a beat to each server with each probe, and reads whether one has gone back. A memory
that shows a lower beat than it has answered is an old one: a snapshot was restored, or a state file put back
(design.md 5.1). Beats are milliseconds by the farm's clock, which never goes back itself.
"""

from collections.abc import Callable, Iterable, Mapping

import trio

from partitioner.errors import ConnectionBroken, ConnectionEnded, ConnectionLost, NotActive
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.items import CanaryItem, Term, TermItem, short_of
from partitioner.membership.tenure import Role
from partitioner.transport.canary import Canary
from partitioner.transport.channel import Channel

UNSURE_FOR = 40.0
"""Seconds after a beat that went unanswered: it may be carried out late, after the next one, and look like
a memory that has gone back. More than the patience with unanswered connections (transport.half_closed)."""

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

    def begin(self, clock: FarmClock, known: Mapping[bytes, int]) -> None:
        """This router has claimed, and tells the farm's time by this clock.

        `known` are the beats that memories must show, by token, for all that the router before has told.
        """
        self.clock = clock
        self._answered = dict(known)
        self._unsure_until.clear()

    def snapshot(self) -> dict[bytes, int]:
        """The last beat of each memory, to be taken before a canary is read: others are written meanwhile."""
        return dict(self._answered)

    def has_gone_back(self, canary: CanaryItem, before: Mapping[bytes, int]) -> bool:
        """Whether this memory is older than it was before its canary was read."""
        if trio.current_time() < self._unsure_until.get(canary.token, float("-inf")):
            return False
        return canary.beat < before.get(canary.token, 0)

    async def write(
        self, channel: Channel, canary: CanaryItem, others: Iterable[bytes] = (), *, is_last: bool = False
    ) -> None:
        """Write the beat of now over one that was read, and tell those of these other memories with it.

        Raises as Canary.read does.
        """
        now = trio.current_time()
        beat = max(self.clock.at(now), canary.beat + 1)
        told = tuple((short_of(each), self._answered[each]) for each in others if each in self._answered)
        item = CanaryItem(canary.token, beat, is_used=self._is_in_use(now), is_last=is_last, others=told)
        try:
            await self._canary.beat(channel, item)
        except BaseException as error:
            if not _has_seen_the_end(error):
                self._unsure_until[canary.token] = trio.current_time() + UNSURE_FOR
            raise
        self._answered[canary.token] = beat

    def note_end(self, token: bytes) -> None:
        """The process with this memory has refused or reset a connection: it may well have ended.

        Then nothing that went unanswered is carried out there any more, and a lower beat is that of an older
        memory (design.md 5.5.9).
        """
        self._unsure_until.pop(token, None)

    def _is_in_use(self, now: float) -> bool:
        """Whether clients were served lately; every server hears of it, in whatever order they are probed."""
        if self.is_used:
            self.is_used, self._used_until = False, now + USED_FOR
        return now < self._used_until


def _has_seen_the_end(error: BaseException) -> bool:
    """Whether the other end has ended the connection of a beat: it was carried out by then, or never is."""
    return isinstance(error, ConnectionEnded | ConnectionBroken) and not isinstance(error, ConnectionLost)


class Authority:
    """What this router is to its servers. Code that opens a connection to one asks here first."""

    def __init__(self, canary: Canary) -> None:
        self.role = Role.STANDBY
        self.term: TermItem | None = None  # that this router has claimed; None while it is a standby
        self.earlier: set[Term] = set()  # lower ones that servers named: their records may still be there
        self.listeners: list[Callable[[Term], None]] = []  # told the term by which this router was superseded
        self.beats = Beats(canary)
        self.has_doubts = trio.Event()  # whether another router may have claimed while this one stood still
        self._has_none = trio.Event()
        self._has_none.set()
        self._canary = canary

    def __repr__(self) -> str:
        return f"<Authority, {self.role.value}, term {'none' if self.term is None else self.term.term}>"

    @property
    def is_active(self) -> bool:
        return self.role is Role.ACTIVE

    def doubt(self) -> None:
        """This router stood still: nothing is sent before all servers were asked whose term they have."""
        if self.is_active:
            self.has_doubts.set()
            self._has_none = trio.Event()

    def dispel_doubts(self) -> None:
        """All servers that answer were asked."""
        self.has_doubts = trio.Event()
        self._has_none.set()

    async def wait_until_sure(self) -> None:
        """Return when nothing speaks against sending something."""
        await self._has_none.wait()

    async def check(self, channel: Channel) -> None:
        """Read the term over a new connection, and write our own over a lower one.

        Raises NotActive where another router has claimed, or as Canary.read does.
        """
        await self.assert_over(channel, await self._canary.read_term(channel))

    async def assert_over(self, channel: Channel, found: TermItem | None) -> None:
        """Write our own term over this one, which was just read. Raises as `check` does."""
        ours = self.term
        if ours is None:
            raise NotActive("this router is a standby")
        if found is not None and found.term > ours.term:
            self.supersede(found.term)
            raise NotActive(f"another router has claimed: term {found.term}")
        if found is not None:
            self.earlier.update(term for term in found.all if term < ours.term)
        if found is None or found.term != ours.term:
            await self._canary.write_term(channel, ours)

    def claim(self, item: TermItem) -> None:
        """Have this term asserted on every server from now on."""
        self.role, self.term = Role.CLAIMING, item
        self.earlier = set(item.earlier)

    def supersede(self, term: Term) -> None:
        """Another router has claimed, by this term: from now on this one writes nothing."""
        was_active = self.role is Role.ACTIVE
        self.resign()
        if was_active:
            for listener in self.listeners:
                listener(term)

    def resign(self) -> None:
        """Be a standby."""
        self.role, self.term = Role.STANDBY, None
        self.earlier = set()
        self.dispel_doubts()
