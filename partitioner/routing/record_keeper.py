"""Keeps the record: writes down what the next router must know, before anything is answered that hangs on it.

Which rules need it stands in design.md 5.2: whatever leaves a mark on a server, and whatever is served in
the place of one that is out, is answered only when it is written down that this server is *dirty*. The
bits are few and seldom change, so almost always that is a look-up. A bit goes when nothing is true of it for
a while: its server has no mark, serves, and is read.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import trio

from partitioner.errors import BackendFailure, BackendMalformed, FileUnusable, NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.entry import REMOVE, WRITE
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.health import Health
from partitioner.membership.items import CanaryItem, Term
from partitioner.membership.ledger import Ledger
from partitioner.membership.record import Knowledge, Record, record_of
from partitioner.membership.record_format import write_record
from partitioner.routing.roster import Roster
from partitioner.transport.channel import Channel
from partitioner.transport.connector import Connector
from partitioner.transport.observer import Observer

TAKEN_BACK_EVERY = 2.0
"""Seconds between two looks at bits that may be taken back."""

ENOUGH = 2
"""Servers that must have a record before anything that hangs on it is answered."""

TRIES = 2
"""How often a record is stored before what hangs on it is closed: one slow answer is no reason."""

_NONE: frozenset[str] = frozenset()
Reasons = Mapping[BackendId, frozenset[str]]
"""What servers may lack, by identity."""


class Disk(Protocol):
    """A place on this machine for the record."""

    async def save(self, written: bytes) -> None:
        """Have these bytes stand there. Raises FileUnusable."""


class RecordKeeper:
    """Writes the record of the active router."""

    def __init__(
        self, roster: Roster, ledger: Ledger, connector: Connector, disk: Disk | None, observer: Observer
    ) -> None:
        self._roster = roster
        self._ledger = ledger
        self._connector = connector
        self._disk = disk
        self._observer = observer
        self._one_at_a_time = trio.Lock()
        self._wanted: dict[BackendId, frozenset[str]] = {}
        self._announced: dict[BackendId, bytes] = {}  # the last token of each server that was empty
        self._lacking: set[BackendId] = set()  # servers that do not have the last record
        self._written_epoch = -1  # of the pool in the last record
        self._has_taken_back = False  # bits, since the last record
        self.record: Record | None = None  # None: this router is not the active one
        authority = connector.authority
        assert authority is not None  # or no other router could read a record
        self._authority = authority
        self.beats = authority.beats
        roster.end_listeners.append(self.beats.note_end)

    def __repr__(self) -> str:
        serial = "no record" if self.record is None else f"serial {self.record.serial}"
        return f"<RecordKeeper, {serial}, {len(self._dirty)} dirty>"

    # --- what the others need of it ---

    def needs_of(self, key: bytes) -> Reasons:
        """What must be written down before anything of this key is answered; mostly nothing."""
        pool, marks = self._roster.pool, self._ledger.marks(key)
        if not marks and not pool.unrecorded:
            return {}
        needs: dict[BackendId, frozenset[str]] = {server: frozenset({WRITE}) for server in pool.unrecorded}
        for server, mark in marks.items():
            needs[server] = needs.get(server, _NONE) | {mark.reason}
        return needs

    def is_written_down(self, key: bytes) -> bool:
        """Whether nothing has to be written down any more before an answer about this key."""
        needs = self.needs_of(key)
        return not needs or self._covers(needs)

    async def ensure(self, needs: Reasons) -> None:
        """Return when it is written down, safely, that these servers may lack these things.

        Raises NoBackendLeft where that fails: nothing that hangs on it may be answered.
        """
        if self._covers(needs):
            return
        for server, reasons in needs.items():
            self._wanted[server] = self._wanted.get(server, _NONE) | reasons
        async with self._one_at_a_time:
            for _ in range(TRIES):
                if self._covers(needs) or await self._write(suspects=needs):
                    return
            raise NoBackendLeft("what other servers lack could not be written down")

    async def announce_token(self, server: BackendId) -> bytes:
        """Draw a token for the empty memory of this server, and write it down before it is planted.

        One that was not seen there since is drawn no second time: a server that keeps nothing is asked at
        every probe.
        """
        token = self._announced.get(server)
        if token is None or token not in self._roster.memories.empty:
            token = self._announced[server] = self._connector.canary.new_token().encode()
            self._roster.memories.empty.add(token)
        async with self._one_at_a_time:
            if self.record is not None and token.decode() not in self.record.empty:
                await self._write(suspects={})
        return token

    def has_planted(self, incarnation: bytes | None) -> bool:
        """Whether this memory was empty, and has its token from this router."""
        return incarnation in self._announced.values()

    async def beat(self, channel: Channel, canary: CanaryItem, *, is_last: bool = False) -> None:
        """Write the beat of now over a canary that was read, with those of all other members beside it.

        Raises as Canary.read does.
        """
        memories = (member.incarnation for member in self._roster.pool.members.values())
        others = [each for each in memories if each is not None and each != canary.token]
        await self.beats.write(channel, canary, others, is_last=is_last)

    async def write(self, *, has_stopped: bool = False) -> bool:
        """Write the record as things are now; return whether it is safe."""
        async with self._one_at_a_time:
            return await self._write(suspects={}, has_stopped=has_stopped)

    # --- beginning and ending ---

    def begin(self, record: Record, clock: FarmClock, dirty: Reasons, beats: Mapping[bytes, int]) -> None:
        """This router has claimed: its record follows upon this one; `beats` as Beats.begin takes them."""
        self.record = record
        self._wanted, self._lacking = {}, set()
        self.beats.begin(clock, beats)
        self._roster.note_recorded(dict(dirty))

    def end(self) -> None:
        """This router is not the active one any more."""
        self.record = None
        self._wanted.clear()
        self._roster.note_recorded({})

    async def run(self) -> None:
        """Keep the record up to date for as long as this router is the active one."""
        taken_back_at = trio.current_time()
        while True:
            epoch = self._roster.pool.epoch
            with trio.move_on_at(taken_back_at + TAKEN_BACK_EVERY):
                while self._roster.pool.epoch == epoch:
                    await self._roster.wait_for_change()
            async with self._one_at_a_time:
                is_time = trio.current_time() >= taken_back_at + TAKEN_BACK_EVERY
                if is_time:
                    taken_back_at = trio.current_time()
                    self._take_back()
                if self._is_out_of_date():
                    await self._write(suspects={})

    async def remove_earlier(self) -> None:
        """Remove the records of earlier terms, for as long as this router is the active one.

        They are removed from servers that have the record of this term, and not from those that lack it.
        """
        removed: dict[BackendId, set[Term]] = {}
        while True:
            for server in tuple(self._roster.pool.members):
                terms = self._authority.earlier - removed.setdefault(server, set())
                if terms and self._has_last_record(server) and await self._remove_from(server, terms):
                    removed[server] |= terms
            await trio.sleep(TAKEN_BACK_EVERY)

    async def bring_up_to_date(self, server: BackendId, channel: Channel) -> None:
        """Give a server that lacks it the last record, over the connection of a probe."""
        record = self.record
        if server not in self._lacking or record is None:
            return
        await self._connector.canary.write_record(channel, record.order[0], write_record(record))
        if self.record is record:
            self._lacking.discard(server)

    # --- how it is done ---

    @property
    def _dirty(self) -> Reasons:
        return self._roster.pool.dirty or {}

    def _covers(self, needs: Reasons) -> bool:
        dirty = self._dirty
        return all(reasons <= dirty.get(server, _NONE) for server, reasons in needs.items())

    def _present_needs(self) -> dict[BackendId, frozenset[str]]:
        """What is true now: a server that is marked, out or in doubt may lack something."""
        needs, roster = dict(self._ledger.reasons()), self._roster
        for identity, member in roster.pool.members.items():
            is_out = member.incarnation is not None and not member.is_reachable
            if is_out or member.record.health is Health.RECOVERING:
                kept = self._dirty.get(identity, _NONE) or frozenset({WRITE})
                needs[identity] = needs.get(identity, _NONE) | kept
            if (
                member.record.health is Health.RECOVERING
                and member.incarnation in roster.memories.unaccounted
            ):
                needs[identity] |= {REMOVE}
        return needs

    def _take_back(self) -> None:
        """Bits of servers for which nothing is true any more."""
        present = self._present_needs()
        self._wanted = {server: why for server, why in self._wanted.items() if server in present}
        kept = {server: why for server, why in self._dirty.items() if server in present}
        if kept != self._dirty:
            self._has_taken_back = True
            self._roster.note_recorded(kept)

    def _is_out_of_date(self) -> bool:
        pool, record = self._roster.pool, self.record
        if record is None:
            return False
        lives_longer = self._ledger.longest_life > record.longest_life
        has_changed = bool(pool.unrecorded) or self._written_epoch != pool.epoch
        return self._has_taken_back or lives_longer or has_changed

    async def _write(self, suspects: Reasons, *, has_stopped: bool = False) -> bool:
        """Write down what is true now and what these suspects may lack, at the others if there are any."""
        former, roster = self.record, self._roster
        if former is None:
            return False
        pool, now = roster.pool, trio.current_time()
        dirty = _merged(self._dirty, self._wanted, suspects, self._present_needs())
        beats = {each: self.beats.answered(member.incarnation) for each, member in pool.members.items()}
        known = Knowledge(
            self._ledger.longest_life,
            roster.memories.departed,
            frozenset(roster.memories.empty),
            dirty,
            beats,
            roster.redundancy.gaps,
        )
        record = replace(record_of(former, pool, known, now, self.beats.clock), has_stopped=has_stopped)
        written = write_record(record)
        self._has_taken_back = False
        reachable = [identity for identity, member in pool.members.items() if member.is_reachable]
        awaited = [each for each in reachable if each not in suspects] or reachable
        has_it, refused = await self._store(record, written, awaited)
        on_disk = await self._save(written)
        if self.record is not former:
            return False  # superseded meanwhile
        self.record = record
        self._lacking = set(pool.members) - has_it
        self._observer.record_written(len(has_it), len(awaited))
        asked = [each for each in reachable if not (on_disk and each in refused)]
        if not _is_safe(has_it, asked, suspects, on_disk):
            return False
        self._written_epoch = pool.epoch
        roster.note_recorded(dirty)
        return True

    async def _store(
        self, record: Record, written: bytes, servers: list[BackendId]
    ) -> tuple[set[BackendId], set[BackendId]]:
        """Store it on these servers, all at the same time; return those that have it, and that refused it."""
        has_it: set[BackendId] = set()
        refused: set[BackendId] = set()

        async def store(server: BackendId) -> None:
            member = self._roster.pool.members.get(server)
            if member is None:
                return
            try:
                channel, _ = await self._connector.greet(
                    member.backend, self._roster.policy.timeout, self._storing(record, written)
                )
            except BackendFailure as failure:
                if isinstance(failure, BackendMalformed):
                    refused.add(server)  # it is full
                self._roster.exchange_failed(failure)
                return
            channel.close_in_order()
            has_it.add(server)

        async with trio.open_nursery() as storing:
            for server in servers:
                storing.start_soon(store, server)
        return has_it, refused

    def _has_last_record(self, server: BackendId) -> bool:
        pool = self._roster.pool
        is_known = self._written_epoch == pool.epoch and server in pool.members
        return is_known and pool.members[server].is_reachable and server not in self._lacking

    async def _remove_from(self, server: BackendId, terms: Iterable[Term]) -> bool:
        """Remove the records of these terms from a server; return whether it has done that."""

        async def remove(channel: Channel) -> None:
            await self._connector.read(channel)
            for term in sorted(terms):
                await self._connector.canary.remove_record(channel, term)

        backend = self._roster.pool.members[server].backend
        try:
            channel, _ = await self._connector.greet(backend, self._roster.policy.timeout, remove)
        except BackendFailure:
            return False  # what that says of the server is for its prober to find out
        channel.close_in_order()
        return True

    def _storing(self, record: Record, written: bytes) -> Callable[[Channel], Awaitable[None]]:
        canary, authority = self._connector.canary, self._authority

        async def store(channel: Channel) -> None:
            await canary.write_record(channel, record.order[0], written)
            # Read after the write: a router that has claimed before it may not have seen it (design.md 5.2).
            await authority.check(channel)

        return store

    async def _save(self, written: bytes) -> bool:
        if self._disk is None:
            return False
        try:
            await self._disk.save(written)
        except FileUnusable:
            return False  # the disk has complained
        return True


def _is_safe(has_it: set[BackendId], asked: list[BackendId], suspects: Reasons, on_disk: bool) -> bool:
    """Whether it will be found by the next router, whichever server it is about goes next.

    That one may run on another machine, so the disk counts where no server could take it, and no more.
    """
    others = [each for each in asked if each not in suspects]
    if not others:
        return bool(has_it) or on_disk
    return len(has_it) >= min(ENOUGH, len(others))


def _merged(*reasons: Reasons) -> dict[BackendId, frozenset[str]]:
    merged: dict[BackendId, frozenset[str]] = {}
    for each in reasons:
        for server, why in each.items():
            merged[server] = merged.get(server, _NONE) | why
    return merged
