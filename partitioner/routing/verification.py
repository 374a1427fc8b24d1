"""Verification: counts what the servers hold, and changes nothing.

A walk takes a while, and a session that is saved meanwhile looks different on two servers whose listings were
read one after the other. So where the first walk finds flaws there is a second one, and what counts is what
both of them have found.
"""

from collections import Counter
from dataclasses import dataclass, field

import trio

from partitioner.errors import Refused
from partitioner.membership.wholeness import Flaws
from partitioner.routing.healing import AT_A_TIME, Healing
from partitioner.routing.inventory import Walk
from partitioner.routing.roster import Roster
from partitioner.routing.session_healing import SessionHealer

MOST_SUSPECTS = 100_000
"""Sessions that are looked at twice. Beyond that there are too many flaws for all to be a matter of time."""


@dataclass(slots=True)
class Findings:
    """What a verification has found so far. Durations are seconds."""

    began_at: float
    sessions: int = 0
    on_servers: Counter[int] = field(default_factory=Counter)  # sessions by how many servers hold them
    lacking: int = 0
    differing: int = 0
    misplaced: int = 0
    seen: int = 0  # sessions listed so far in this walk, copies counted
    told: int = 0  # that there are
    has_changed: bool = False  # the pool, meanwhile
    refused: dict[str, str] = field(default_factory=dict)  # why servers were not walked, by name
    took: float | None = None  # None until it is done

    @property
    def is_done(self) -> bool:
        return self.took is not None

    def note(self, copies: int, flaws: Flaws) -> None:
        self.sessions += 1
        self.on_servers[copies] += 1
        self.lacking += bool(flaws.lacking)
        self.differing += bool(flaws.differing)
        self.misplaced += bool(flaws.misplaced)


class Verification:
    """Verifies when it is asked to, one at a time."""

    def __init__(self, roster: Roster, healing: Healing, healer: SessionHealer) -> None:
        self.findings: Findings | None = None  # of the verification that goes on, or was the last one
        self._roster = roster
        self._healing = healing
        self._healer = healer
        self._is_wanted = trio.Event()

    def begin(self) -> Findings:
        """Have a verification begin. Raises Refused while another one goes on."""
        if self.findings is not None and not self.findings.is_done:
            raise Refused("a verification goes on already; its findings are at /api/v1/verify")
        self.findings = Findings(trio.current_time())
        self._is_wanted.set()
        return self.findings

    async def run(self) -> None:
        """Verify whenever that is wanted, for as long as the router is the active one."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted = trio.Event()
            assert self.findings is not None
            began_at = self.findings.began_at
            try:
                suspects = await self._walk(began_at, None)
                if suspects and len(suspects) < MOST_SUSPECTS:
                    await self._walk(began_at, suspects)
            except trio.Cancelled:
                self.findings.has_changed = True  # this router is not the active one any more
                raise
            finally:
                self.findings.took = trio.current_time() - began_at

    async def _walk(self, began_at: float, suspects: frozenset[bytes] | None) -> frozenset[bytes]:
        """Walk once; return the keys that are flawed. Of others than `suspects`, if given, no flaw counts."""
        walk = self._healing.new_walk()
        self.findings = findings = Findings(began_at)
        await walk.begin()
        flawed: set[bytes] = set()
        looked_at = 0
        while (found := await walk.next()) is not None:
            flaws = self._healer.flaws(found, walk)
            if flaws and len(flawed) < MOST_SUSPECTS:
                flawed.add(found.key)
            if suspects is not None and found.key not in suspects:
                flaws = Flaws()
            findings.note(len(found.on), flaws)
            findings.seen, findings.told = walk.seen, walk.told
            looked_at += 1
            if looked_at % AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()
        self._note_end(findings, walk)
        return frozenset(flawed)

    def _note_end(self, findings: Findings, walk: Walk) -> None:
        findings.seen, findings.told = walk.seen, walk.told
        findings.has_changed = self._roster.pool.epoch != walk.pool.epoch
        members = walk.pool.members
        findings.refused = {members[each].backend.name: why for each, why in walk.refused.items()}
