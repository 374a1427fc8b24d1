"""Has every backend that may be spoken to probed, whoever joins or leaves."""

import random
from collections.abc import Callable
from contextlib import suppress

import trio

from partitioner.errors import BackendFailure
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.health import HealthPolicy
from partitioner.net.channel import Channel
from partitioner.net.connecting import Connector
from partitioner.net.prober import Prober
from partitioner.net.record_keeper import RecordKeeper
from partitioner.net.roster import Roster


class Probing:
    """The probers of a roster: one for each backend, from when it joins until it is gone."""

    def __init__(
        self,
        roster: Roster,
        connector: Connector,
        policy: HealthPolicy,
        uniform: Callable[[float, float], float] = random.uniform,
        keeper: RecordKeeper | None = None,
    ) -> None:
        self._keeper = keeper
        self._roster = roster
        self._connector = connector
        self._policy = policy
        self._uniform = uniform
        self._running: dict[str, trio.CancelScope] = {}  # by identity

    async def first_look(self) -> None:
        """Probe everybody once, all at the same time."""
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
                    await keeper.beats.write(channel, canary, is_last=True)

            with suppress(BackendFailure):  # who hears of it from nobody waits for five seconds
                channel, _ = await self._connector.greet(backend, self._policy.timeout, write)
                channel.close_in_order()

        async with trio.open_nursery() as leaving:
            for member in self._roster.pool.members.values():
                if member.is_reachable:
                    leaving.start_soon(leave, member.backend)

    async def run(self) -> None:
        """Go on probing; keep up with who joins and who leaves."""
        async with trio.open_nursery() as probing:
            is_first_round = True
            while True:
                wanted = self._wanted()
                for identity in tuple(self._running):
                    if identity not in wanted:
                        self._running.pop(identity).cancel()
                for identity in wanted:
                    if identity not in self._running:
                        scope = self._running[identity] = trio.CancelScope()
                        probing.start_soon(self._probe, identity, scope, not is_first_round)
                is_first_round = False
                await self._roster.wait_for_change()

    async def _probe(self, identity: str, scope: trio.CancelScope, is_new: bool) -> None:
        with scope:
            prober = self._prober(identity)
            if is_new:  # the others have had their first look already
                await prober.probe()
            await prober.run()

    def _prober(self, identity: str) -> Prober:
        return Prober(identity, self._connector, self._roster, self._policy, self._uniform, self._keeper)

    def _wanted(self) -> list[str]:
        members = self._roster.pool.members
        return [each for each, member in members.items() if member.backend.intent is not Intent.MAINT]
