"""What a process that serves sessions from an engine tells of itself."""

import trio

from partitioner import __version__
from partitioner.daemon.store import StoreParts
from partitioner.ops.admin.reports import LockReport, Locks, ShardReport, StoreLocation, StoreStatus
from partitioner.protocol.target import server_key
from partitioner.store.locks import held_locks
from partitioner.store.records import record_name
from partitioner.store.shard import Shard

MOST_LOCKS = 1000
"""Locks that are told of at a time."""


class StoreReports:
    """Tells how one process serves sessions from an engine, and has it take that engine as it stands."""

    def __init__(self, parts: StoreParts) -> None:
        self._parts = parts
        self._began_at = trio.current_time()

    def why_not_ready(self) -> tuple[str, ...]:
        """Why web servers should not be sent here; nothing if they should."""
        reasons = []
        if not self._parts.downstream.is_serving:
            reasons.append("it is stopping" if self._parts.downstream.is_stopping else "it is starting")
        reason = self._parts.store.engine.why_not_ready
        if reason is not None:
            reasons.append(reason)
        return tuple(reasons)

    def status(self) -> StoreStatus:
        parts, reasons = self._parts, self.why_not_ready()
        return StoreStatus(
            name=parts.options.name,
            version=__version__,
            uptime=trio.current_time() - self._began_at,
            ready=not reasons,
            reasons=reasons,
            shards=tuple(_report(shard) for shard in parts.store.engine.shards),
            clients=parts.downstream.connections,
            requests=parts.counters.answered,
            closed=parts.counters.closed.total(),
            locks_to_give_back=parts.store.giving_back.under_way,
        )

    def locate(self, key: bytes) -> StoreLocation:
        """Where the session of a target, or of a key, is."""
        item = record_name(self._parts.options.store.prefix, server_key(key))
        shard = self._parts.store.engine.shard_of(item)
        primary = None if shard is None else shard.primary
        return StoreLocation(
            key.decode("utf-8", "replace"), item.decode(), None if primary is None else str(primary.address)
        )

    async def locks(self) -> Locks:
        """The oldest locks, by the engine's names of their sessions. Raises StoreFailure."""
        held = await held_locks(self._parts.store.engine.shards, self._parts.options.store.prefix)
        shown = (
            LockReport(lock.name.decode(), str(lock.primary), reachable=True, age=lock.age)
            for lock in held[:MOST_LOCKS]
        )
        return Locks(len(held), tuple(shown))

    def accept_loss(self) -> bool:
        """Take the engine as it stands if it has lost sessions; return whether it has."""
        engine = self._parts.store.engine
        if not engine.has_lost_sessions:
            return False
        engine.accept_loss()
        return True


def loss_accepted(*, was_lost: bool) -> str:
    """What `accept-loss` has come to, in a sentence."""
    if not was_lost:
        return "the engine has lost nothing; nothing was changed"
    return "the engine is taken as it stands: users whose sessions it has lost get new ones"


def _report(shard: Shard) -> ShardReport:
    primary, pipe = shard.primary, shard.pipe
    return ShardReport(
        primary=None if primary is None else str(primary.address),
        is_serving=shard.trouble is None,
        trouble=None if shard.trouble is None else str(shard.trouble),
        replicas=shard.replicas,
        is_degraded=shard.is_degraded,
        memory_used=None if shard.facts is None else shard.facts.memory_ratio,
        clock_offset=None if pipe is None else pipe.clock_difference(),
    )
