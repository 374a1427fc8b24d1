"""Probes every backend that may be spoken to, as backends join and leave.

A prober asks one backend, again and again, whether it is there and still the same. A probe opens a connection
and reads the canary; on a backend that is not UP it also plants one where there is none. So a probe takes the
whole way that a session's request takes, and a server that accepts connections but answers nothing does not
pass.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import trio

from partitioner.errors import (
    BackendFailure,
    BackendIsAlias,
    BackendNotAtFault,
    BackendRefused,
    BackendReset,
    BackendRestarted,
    Phase,
)
from partitioner.membership.backend import Backend, BackendId, Intent
from partitioner.membership.health import AMBIGUOUS, Health
from partitioner.membership.items import CanaryItem
from partitioner.membership.pool import Member
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.roster import Roster
from partitioner.transport.channel import Channel
from partitioner.transport.connector import Connector

JITTER = 0.1
"""Probes of several backends, by several routers, shall not fall in step."""

AT_ONCE = 0.1
"""The shortest pause between two probes, as a share of the interval: "at once" is not "all the time"."""


class Prober:
    """Probes one backend for as long as it runs."""

    def __init__(
        self,
        identity: BackendId,
        connector: Connector,
        roster: Roster,
        uniform: Callable[[float, float], float] = random.uniform,
        keeper: RecordKeeper | None = None,
    ) -> None:
        """`keeper` leaves beats, and keeps the record; None where no other router can come after this one."""
        self._keeper = keeper
        self._identity = identity
        self._connector = connector
        self._roster = roster
        self._uniform = uniform

    async def run(self) -> None:
        """Go on probing after the first probe: at every interval, or sooner when an exchange has failed."""
        began_at, is_urgent = trio.current_time(), self._needs_verdict()
        while True:
            await trio.sleep(self._roster.policy.interval * AT_ONCE)
            if not is_urgent:
                # From one beginning to the next: a probe that times out must not put off the others.
                jitter = self._uniform(1 - JITTER, 1 + JITTER)
                with trio.move_on_at(began_at + self._roster.policy.interval * jitter):
                    await self._roster.wait_for_wanted_probe(self._identity)
            began_at = trio.current_time()
            is_urgent = await self.probe()

    def _needs_verdict(self) -> bool:
        """Whether the first probe failed in a way that cost no time: sessions wait for the verdict."""
        member = self._roster.pool.members.get(self._identity)
        if member is None:
            return False  # its server has turned out to be another one's memory
        record = member.record
        has_failed = record.symptom is not None and record.symptom not in AMBIGUOUS
        return record.health is Health.UNKNOWN and has_failed

    async def probe(self) -> bool:
        """Probe once, and report; return whether the next probe is urgent."""
        name, timeout = self._identity, self._roster.policy.timeout
        member = self._roster.pool.members.get(name)
        if member is None:
            return False  # it has just been forgotten
        known = member.record
        began_at = trio.current_time()
        try:
            channel, canary = await self._connector.greet(member.backend, timeout, self._looking(member))
            channel.close_in_order()
            if canary is None:
                raise BackendRestarted(name, Phase.CONNECTING, "has forgotten its canary")
            token = await self._own_token(member.backend, canary)
        except BackendFailure as failure:
            if self._has_moved_from(member.backend):
                return True
            self._roster.probe_failed(failure)
            # These say that something is wrong just now; a time-out has cost its time already.
            is_telling = isinstance(failure, BackendRefused | BackendReset | BackendRestarted)
            return is_telling and known.health is not Health.DOWN
        if self._has_moved_from(member.backend):
            return True
        self._roster.probe_succeeded(name, token)
        if name in self._roster.upstreams:
            upstream = self._roster.upstreams[name]
            upstream.traffic.probed(trio.current_time() - began_at)
            upstream.note_probed(began_at)
        after = self._roster.pool.members.get(name)
        return known.is_up and after is not None and not after.record.is_up

    def _has_moved_from(self, backend: Backend) -> bool:
        """Whether the server is known to be at another address by now: what answered is another one."""
        member = self._roster.pool.members.get(self._identity)
        return member is not None and member.backend.address != backend.address

    def _looking(self, member: Member) -> Callable[[Channel], Awaitable[CanaryItem | None]]:
        """Read the canary, planting one where there is none and no client is served; then leave a beat."""
        identity, keeper = member.backend.identity, self._keeper

        async def look(channel: Channel) -> CanaryItem | None:
            before = {} if keeper is None else keeper.beats.snapshot()
            canary = await self._connector.read(channel)
            if canary is None:
                if member.record.is_up:
                    return None
                token = None if keeper is None else await keeper.announce_token(identity)
                canary = await self._connector.canary.plant(channel, token)
            if self._roster.maybe_twin(identity, canary.token) is not None:
                return canary  # first it has to be known whose memory that is
            if keeper is not None:
                if keeper.beats.has_gone_back(canary, before):
                    canary = self._named_anew(canary)
                await keeper.beat(channel, canary)
                await keeper.bring_up_to_date(identity, channel)
            return canary

        return look

    def _named_anew(self, canary: CanaryItem) -> CanaryItem:
        """The canary of a memory that has gone back, with a token of its own.

        What is known of the memory that had the other one is not true of it: which locks it has granted, and
        that what it lacks does not exist. It is written with the next beat. A router that comes before it is
        written down finds a token that no record names, and does not read that memory either.
        Source: design.md 5.5.9.
        """
        token = self._connector.canary.new_token().encode()
        self._roster.memory_went_back(self._identity, canary.token, token)
        return replace(canary, token=token)

    async def _own_token(self, backend: Backend, canary: CanaryItem) -> bytes:
        """The token of this backend's memory, which no other backend that answers has as well.

        Where another one shows the same token, a word is left here and looked for there. If it is found, both
        are entries of one server. If not, one memory is a copy of the other, and gets a token of its own.

        Raises BackendIsAlias, or another BackendFailure.
        Source: design.md 5.1.
        """
        twin = self._roster.maybe_twin(backend.identity, canary.token)
        if twin is None:
            return canary.token
        if await self._leads_to(backend, twin):
            detail = f"is the same server as {twin.name} ({twin.address})"
            raise BackendIsAlias(backend.identity, Phase.CONNECTING, detail)
        copied = replace(canary, token=self._connector.canary.new_token().encode())
        await self._connector.beat(backend, copied, self._roster.policy.timeout)
        self._roster.memory_was_copied(backend.identity, copied.token, twin)
        return copied.token

    async def _leads_to(self, backend: Backend, twin: Backend) -> bool:
        """Whether both addresses lead to one server.

        Raises BackendFailure; BackendNotAtFault where the other one cannot be asked: it may be down by now.
        """
        items, word = self._connector.canary, self._connector.canary.new_token()

        async def leave(channel: Channel) -> None:
            await self._connector.read(channel)
            await items.leave_word(channel, word)

        async def find(channel: Channel) -> bool:
            await self._connector.read(channel)
            return await items.finds_word(channel, word)

        channel, _ = await self._connector.greet(backend, self._roster.policy.timeout, leave)
        channel.close_in_order()
        try:
            channel, is_found = await self._connector.greet(twin, self._roster.policy.timeout, find)
        except BackendFailure as failure:
            self._roster.probe_failed(failure)
            detail = f"may be the same server as {twin.name}, which cannot be asked: {failure.detail}"
            raise BackendNotAtFault(backend.identity, Phase.CONNECTING, detail) from failure
        channel.close_in_order()
        return is_found


class Probing:
    """The probers of a roster: one for each backend, from when it joins until it is gone."""

    def __init__(
        self,
        roster: Roster,
        connector: Connector,
        uniform: Callable[[float, float], float] = random.uniform,
        keeper: RecordKeeper | None = None,
    ) -> None:
        self._keeper = keeper
        self._roster = roster
        self._connector = connector
        self._uniform = uniform

    async def first_look(self) -> None:
        """Probe all backends once, at the same time."""
        async with trio.open_nursery() as looking:
            for identity in self._wanted():
                looking.start_soon(self._prober(identity).probe)

    async def last_beat(self) -> None:
        """Leave a beat everywhere that says that this router has stopped in order."""
        keeper = self._keeper
        if keeper is None:
            return

        async def leave(backend: Backend) -> None:
            async def write(channel: Channel) -> None:
                canary = await self._connector.read(channel)
                if canary is not None:
                    await keeper.beat(channel, canary, is_last=True)

            with suppress(BackendFailure):  # a standby that gets no beat waits for five seconds
                channel, _ = await self._connector.greet(backend, self._roster.policy.timeout, write)
                channel.close_in_order()

        async with trio.open_nursery() as leaving:
            for member in self._roster.pool.members.values():
                if member.is_reachable:
                    leaving.start_soon(leave, member.backend)

    async def run(self) -> None:
        """Go on probing; keep up with who joins and who leaves."""
        async with trio.open_nursery() as probing:
            running: dict[BackendId, trio.CancelScope] = {}  # by identity; they end with this nursery
            is_first_round = True
            while True:
                wanted = self._wanted()
                for identity in tuple(running):
                    if identity not in wanted:
                        running.pop(identity).cancel()
                for identity in wanted:
                    if identity not in running:
                        scope = running[identity] = trio.CancelScope()
                        probing.start_soon(self._probe, identity, scope, not is_first_round)
                is_first_round = False
                await self._roster.wait_for_change()

    async def _probe(self, identity: BackendId, scope: trio.CancelScope, is_new: bool) -> None:
        with scope:
            prober = self._prober(identity)
            if is_new:  # the others have had their first look already
                await prober.probe()
            await prober.run()

    def _prober(self, identity: BackendId) -> Prober:
        return Prober(identity, self._connector, self._roster, self._uniform, self._keeper)

    def _wanted(self) -> list[BackendId]:
        members = self._roster.pool.members
        return [each for each, member in members.items() if member.backend.intent is not Intent.MAINT]
