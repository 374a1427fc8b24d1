"""The right of this router to write to the servers of its farm: its role and its term."""

from collections.abc import Callable

import trio

from partitioner.errors import NotActive
from partitioner.membership.items import Term, TermItem
from partitioner.membership.tenure import Role
from partitioner.net.beats import Beats
from partitioner.net.canary import Canary
from partitioner.net.channel import Channel


class Authority:
    """What this router is to its servers. Whoever opens a connection to one asks here first."""

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
