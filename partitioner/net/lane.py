"""The await lane, put together: a roster, a ledger, a gate, and all that works with them."""

from collections.abc import Callable
from dataclasses import dataclass
from random import uniform as random_uniform

import trio

from partitioner.membership.backend import Backend
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import Ledger, LedgerPolicy
from partitioner.membership.losses import LossPolicy, LostSessions
from partitioner.membership.pool import Pool
from partitioner.membership.redundancy import Redundancy
from partitioner.net.bodies import BodyMemory
from partitioner.net.bookkeeper import Bookkeeper
from partitioner.net.connecting import Connector
from partitioner.net.copier import Copier
from partitioner.net.errands import Errands
from partitioner.net.finder import Finder
from partitioner.net.gate import KeyGate
from partitioner.net.handoff import HandOff, ListKeys
from partitioner.net.mixups import Mixups
from partitioner.net.observer import Observer
from partitioner.net.probing import Probing
from partitioner.net.repairer import Repairer
from partitioner.net.roster import Roster
from partitioner.net.router import Parts, Router
from partitioner.net.toucher import Toucher
from partitioner.net.upstream import Upstream, UpstreamPolicy
from partitioner.net.watch import RedundancyWatch
from partitioner.placement.session_id import HashKey

SWEEP_INTERVAL = 5.0
_A_SECOND = 1.0


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How a router behaves towards its backends. Times are seconds, sizes bytes."""

    health: HealthPolicy
    upstream: UpstreamPolicy
    ledger: LedgerPolicy
    lost_sessions: LostSessions = LostSessions.NEW
    hash_key: HashKey = HashKey.SESSION_ID
    copy: float = 0.25  # for writing a copy, and a second more for each 16 MiB
    body_memory: int = 256 * 1024 * 1024
    lost_after: float = 60.0  # for which a server must have been DOWN by time-outs


class Lane:
    """A router without its clients."""

    def __init__(
        self,
        pool: Pool,
        policy: LanePolicy,
        connector: Connector,
        observer: Observer,
        background: trio.Nursery,
        uniform: Callable[[float, float], float] = random_uniform,
        list_keys: ListKeys | None = None,
    ) -> None:
        """`background` outlives every exchange; `uniform` draws the jitter of probes.

        `list_keys` asks state servers of our own which sessions they hold, if that is possible.
        """
        self.policy = policy
        self.ledger = Ledger(policy.ledger)

        def open_upstream(backend: Backend) -> Upstream:
            return Upstream(backend, connector, policy.upstream, self.bookkeeper, background)

        self.observer = observer
        self.roster = Roster(
            pool,
            policy.health,
            observer,
            Redundancy(pool, self.ledger),
            open_upstream,
            longest_life=lambda: self.ledger.longest_life,
        )
        self.bookkeeper = Bookkeeper(self.ledger, self.roster, policy.hash_key)
        self.roster.open_upstreams()
        self.gate = KeyGate()
        self.memory = BodyMemory(policy.body_memory)
        self.errands = Errands(self.roster, self.memory, policy.copy)
        copier = Copier(self.roster, self.bookkeeper, self.errands, observer)
        losses = LossPolicy(policy.lost_sessions, policy.lost_after)
        self.finder = Finder(self.roster, self.bookkeeper, self.errands, copier, losses, observer)
        self.toucher = Toucher(self.roster, self.bookkeeper, self.gate, self.errands)
        self.repairer = Repairer(
            self.roster,
            self.bookkeeper,
            self.gate,
            self.errands,
            copier,
            self.finder,
            self.toucher,
            observer,
        )
        self.watch = RedundancyWatch(self.roster, observer)
        self.handoff = HandOff(
            self.roster, self.bookkeeper, self.gate, copier, self.finder, observer, list_keys
        )
        self.probing = Probing(self.roster, connector, policy.health, uniform)
        self.mixups = Mixups(observer)
        parts = Parts(
            self.roster,
            self.bookkeeper,
            self.gate,
            self.memory,
            self.errands,
            copier,
            self.finder,
            self.toucher,
            self.mixups,
            observer,
        )
        self.router = Router(parts, background)
        self.standstills = connector.standstills
        self.standstills.listeners.append(self._stood_still)

    async def run(self) -> None:
        """Do everything that goes on beside the exchanges, for as long as the router runs."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.probing.run)
            nursery.start_soon(self.toucher.run)
            nursery.start_soon(self.repairer.run)
            nursery.start_soon(self.handoff.run)
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._look_after)

    def _stood_still(self, duration: float) -> None:
        """Close all connections to backends, and probe all: every new connection reads the canary first."""
        self.observer.stood_still(duration)
        for upstream in self.roster.upstreams.values():
            upstream.break_off()
        self.roster.want_all_probed()

    def close_idle(self) -> None:
        """Close the connections to backends that nobody uses, in order. The others are reset as they end."""
        for upstream in self.roster.upstreams.values():
            upstream.close_idle()

    async def _sweep(self) -> None:
        """Forget what has expired."""
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            self.ledger.forget_settled(self.roster.pool, trio.current_time())
            for _ in self.ledger.sweep(trio.current_time()):
                await trio.lowlevel.checkpoint()
            for identity in self.roster.forget_the_gone():
                self.ledger.unmark_all(identity)
            self.mixups.turn_over(trio.current_time())

    async def _look_after(self) -> None:
        """Close connections that have been idle for long, and see whether the pool is redundant."""
        while True:
            await trio.sleep(_A_SECOND)
            self.watch.look()
            for upstream in tuple(self.roster.upstreams.values()):
                upstream.retire_idle()
