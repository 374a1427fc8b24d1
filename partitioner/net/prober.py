"""Asks a backend, again and again, whether it is there and still the same.

A probe opens a connection and reads the canary; on a backend that is not UP it also plants one where
there is none. So a probe takes the whole way that a session's request takes, and a server that
accepts connections but answers nothing does not pass.
"""

import random
from collections.abc import Callable

import trio

from partitioner.errors import BackendFailure, BackendRefused, BackendReset, BackendRestarted, Phase
from partitioner.membership.backend import Backend
from partitioner.membership.health import AMBIGUOUS, Health, HealthPolicy
from partitioner.net.connecting import Connector
from partitioner.net.roster import Roster

JITTER = 0.1
"""Probes of several backends, by several routers, shall not fall in step."""

AT_ONCE = 0.1
"""The shortest pause between two probes, as a share of the interval: "at once" is not "all the time"."""


class Prober:
    """Probes one backend for as long as it runs."""

    def __init__(
        self,
        backend: Backend,
        connector: Connector,
        roster: Roster,
        policy: HealthPolicy,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._backend = backend
        self._connector = connector
        self._roster = roster
        self._policy = policy
        self._uniform = uniform

    async def run(self) -> None:
        """Go on probing after the first probe: at every interval, or sooner when somebody has reason to."""
        began_at, is_urgent = trio.current_time(), self._needs_verdict()
        while True:
            await trio.sleep(self._policy.interval * AT_ONCE)
            if not is_urgent:
                # From one beginning to the next: a probe that times out must not put off the others.
                jitter = self._uniform(1 - JITTER, 1 + JITTER)
                with trio.move_on_at(began_at + self._policy.interval * jitter):
                    await self._roster.wait_for_wanted_probe(self._backend.identity)
            began_at = trio.current_time()
            is_urgent = await self.probe()

    def _needs_verdict(self) -> bool:
        """Whether the first probe failed in a way that cost no time: sessions wait for the verdict."""
        record = self._roster.pool.members[self._backend.identity].record
        has_failed = record.symptom is not None and record.symptom not in AMBIGUOUS
        return record.health is Health.UNKNOWN and has_failed

    async def probe(self) -> bool:
        """Probe once, and report; answer whether the next probe is urgent."""
        name, timeout = self._backend.identity, self._policy.timeout
        members = self._roster.pool.members
        if name not in members:
            return False  # it has just been forgotten
        known = members[name].record
        began_at = trio.current_time()
        try:
            if known.is_up:
                channel, token = await self._connector.connect(self._backend, timeout)
            else:
                channel, token = await self._connector.connect_planting(self._backend, timeout)
            channel.close_in_order()
            if token is None:
                raise BackendRestarted(name, Phase.CONNECTING, "has forgotten its canary")
        except BackendFailure as failure:
            self._roster.probe_failed(failure)
            # These say that something is wrong just now; a time-out has cost its time already.
            is_telling = isinstance(failure, BackendRefused | BackendReset | BackendRestarted)
            return is_telling and known.health is not Health.DOWN
        self._roster.probe_succeeded(name, token)
        if name in self._roster.upstreams:
            self._roster.upstreams[name].traffic.probed(trio.current_time() - began_at)
        member = self._roster.pool.members.get(name)
        return known.is_up and member is not None and not member.record.is_up
