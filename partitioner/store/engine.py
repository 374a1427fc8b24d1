"""The engine as a whole: which shard a call belongs to, and who looks after those whose time is over."""

from collections.abc import Callable

import trio

from partitioner.errors import EngineEmpty, EngineLost, EngineTooSlow, EngineUnfit, StoreFailure
from partitioner.store.calls import Call, Reply
from partitioner.store.canary import Canary
from partitioner.store.cluster import SLOTS, ClusterView, ShardTopology, ShardView, read_redirection, slot_of
from partitioner.store.connecting import Connector
from partitioner.store.observer import StoreObserver
from partitioner.store.pipe import is_refusal
from partitioner.store.policy import StorePolicy
from partitioner.store.shard import Arrivals, Shard
from partitioner.store.topology import FixedPrimary, SentinelTopology, Topology
from partitioner.transport.channel import Dial

SWEEP_INTERVAL = 0.05
"""Seconds between two looks at whose deadline has inherited: the most by which one is missed."""

RENEW_PAUSE, RENEW_INTERVAL = 0.2, 5.0
"""Seconds between two looks at a Cluster's shards: while something about them is wrong, and otherwise."""

Canaries = Callable[[bytes], Canary]
"""What is expected of the canary of a name."""


class EngineClient:
    """Carries calls out at an engine."""

    def __init__(self, policy: StorePolicy, canaries: Canaries, dial: Dial, observer: StoreObserver) -> None:
        self._policy = policy
        self._known_canaries: dict[bytes, Canary] = {}
        self._new_canary = canaries
        self._connector = Connector(dial, policy)
        self._observer = observer
        self._shards: list[Shard] = []
        self._arrivals = Arrivals()
        self._only: Shard | None = None  # where there is no Cluster
        if not policy.cluster:
            self._only = self._shard(topology_of(policy, self._connector))
            self._shards.append(self._only)
        # Of a Cluster:
        self._view = ClusterView(policy.cluster, self._connector)
        self._topologies: dict[Shard, ShardTopology] = {}
        self._scopes: dict[Shard, trio.CancelScope] = {}
        self._slots: list[Shard | None] = [None] * SLOTS
        self._homeless: list[Call] = []  # calls whose slot has no shard now
        self._trouble: StoreFailure | None = EngineLost("the Cluster has not been reached yet")
        self._renewal = trio.Event()  # is set when the slots are to be looked at now

    def __repr__(self) -> str:
        return f"<EngineClient of {len(self._shards)} shards>"

    @property
    def why_not_ready(self) -> str | None:
        """Why requests cannot be carried out now; None if they can."""
        troubles = [shard.trouble for shard in self._shards if shard.trouble is not None]
        if self._policy.cluster and self._trouble is not None:
            troubles.append(self._trouble)
        return str(troubles[0]) if troubles else None

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The parts of the engine, each with a primary of its own."""
        return tuple(self._shards)

    @property
    def has_lost_sessions(self) -> bool:
        """Whether the engine has lost sessions, and nobody has accepted that."""
        return any(isinstance(shard.trouble, EngineEmpty) for shard in self._shards)

    def shard_of(self, name: bytes) -> Shard | None:
        """Which part of the engine has the item of this name; None if that is not known now."""
        return self._slots[slot_of(name)] if self._only is None else self._only

    def submit(self, call: Call) -> None:
        """Have a call carried out before its deadline, or settled with a StoreFailure."""
        shard = self._only or self._slots[slot_of(call.name)]
        if shard is not None:
            shard.submit(call)
        elif isinstance(self._trouble, EngineUnfit):
            call.settle_with(self._trouble)
        else:
            self._homeless.append(call)

    @property
    def replies_taken(self) -> int:
        """How often replies have come."""
        return self._arrivals.count

    def collect(self) -> None:
        """Let calls wait until `flush`, so that many go out together."""
        for shard in self._shards:
            shard.collect()

    def flush(self) -> None:
        """Send the calls that wait, now."""
        for shard in self._shards:
            shard.flush()

    def accept_loss(self) -> None:
        """Take the engine as it stands if its sessions are lost."""
        for canary in self._known_canaries.values():
            canary.accept_loss()

    async def run(self) -> None:
        """Keep connected, and settle what takes too long."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._sweep)
            for shard in self._shards:
                tasks.start_soon(shard.run)
            if self._policy.cluster:
                await self._follow_cluster(tasks)

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            now = trio.current_time()
            for shard in self._shards:
                shard.settle_overdue(now)
            for call in self._homeless:
                if call.deadline <= now:
                    call.settle_with(self._trouble or EngineTooSlow("no shard has its slot"))
            self._homeless = [call for call in self._homeless if not call.is_settled]

    def _shard(self, topology: Topology) -> Shard:
        redirect = self._redirect if self._policy.cluster else None
        return Shard(
            topology, self._connector, self._canary, self._policy, self._observer, self._arrivals, redirect
        )

    def _canary(self, name: bytes) -> Canary:
        if name not in self._known_canaries:
            self._known_canaries[name] = self._new_canary(name)
        return self._known_canaries[name]

    # --- a Cluster ---

    async def _follow_cluster(self, tasks: trio.Nursery) -> None:
        """Have a shard for each that the Cluster has, and know whose the slots are."""
        while True:
            self._renewal = trio.Event()
            try:
                await self._view.refresh()
            except StoreFailure as failure:
                if str(self._trouble) != str(failure):
                    self._observer.engine_lost(failure)
                self._trouble = failure
                await trio.sleep(RENEW_PAUSE)
                continue
            self._take_view(tasks)
            self._trouble = (
                None if all(self._slots) else EngineLost("the Cluster has slots without a primary")
            )
            homeless, self._homeless = self._homeless, []
            for call in homeless:
                self.submit(call)
            await trio.sleep(RENEW_PAUSE)
            with trio.move_on_after(RENEW_PAUSE if self._trouble else RENEW_INTERVAL):
                await self._renewal.wait()

    async def _run_shard(self, shard: Shard, scope: trio.CancelScope) -> None:
        """Run a shard until it has left the Cluster; its calls go to those that have its slots now."""
        with scope:
            await shard.run()
        for call in shard.take_queue():
            self.submit(call)

    def _take_view(self, tasks: trio.Nursery) -> None:
        self._slots = [None] * SLOTS
        known: set[Shard] = set()
        for view in self._view.shards:
            shard = self._known_shard(view)
            if shard is None:
                topology = ShardTopology(self._view, view.members)
                shard = self._shard(topology)
                self._topologies[shard] = topology
                self._shards.append(shard)
                scope = self._scopes[shard] = trio.CancelScope()
                tasks.start_soon(self._run_shard, shard, scope)
            known.add(shard)
            for first, last in view.ranges:
                self._slots[first : last + 1] = [shard] * (last + 1 - first)

        if all(self._slots):  # or one may just have no primary for a moment
            for shard in set(self._shards) - known:
                self._shards.remove(shard)
                del self._topologies[shard]
                self._scopes.pop(shard).cancel()

    def _known_shard(self, view: ShardView) -> Shard | None:
        for shard, topology in self._topologies.items():
            if topology.members & view.members:
                return shard
        return None

    def _redirect(self, call: Call, reply: Reply) -> None:
        """A shard does not have the slot of a call: it is moved for good, or its item alone (ASK)."""
        slot, address = read_redirection(reply)
        there = next(
            (each for each in self._shards if each.primary and each.primary.address == address), None
        )
        call.is_asking = is_refusal(reply, "ASK")
        if not call.is_asking:
            self._slots[slot] = there
            self._renewal.set()
        if there is None:
            call.is_asking = False
            self._homeless.append(call)
            self._renewal.set()
        else:
            there.submit(call)


def topology_of(policy: StorePolicy, connector: Connector) -> Topology:
    """Who knows the primary of a store."""
    if policy.sentinel is not None:
        return SentinelTopology(policy.sentinel, connector)
    assert policy.primary is not None
    return FixedPrimary(policy.primary)
