"""What operators of a state server with a store connect to, put together: the API, and the metrics."""

import trio

from partitioner import __version__
from partitioner.daemon.activation import Port
from partitioner.daemon.store import StoreParts
from partitioner.daemon.store_reload import Reloading
from partitioner.errors import Refused
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.reports import LockReport, Locks, ShardReport, StoreLocation, StoreStatus
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.admin.store_app import store_app
from partitioner.ops.metrics.catalog import STORE
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.store_counters import store_reading
from partitioner.protocol.target import server_key
from partitioner.store.locks import held_locks
from partitioner.store.records import record_name
from partitioner.store.shard import Shard

MOST_LOCKS = 1000
"""Locks that are told of at a time."""


class StoreApi:
    """Answers operators."""

    def __init__(self, parts: StoreParts, reloading: Reloading | None) -> None:
        self._parts = parts
        self._reloading = reloading
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

    def accept_loss(self) -> str:
        """Take the engine as it stands."""
        engine = self._parts.store.engine
        if not engine.has_lost_sessions:
            return "the engine has lost nothing; nothing was changed"
        engine.accept_loss()
        return "the engine is taken as it stands: users whose sessions it has lost get new ones"

    async def reload(self) -> object:
        """Read the configuration again. Raises ConfigurationInvalid or Refused."""
        if self._reloading is None:
            raise Refused("there is no configuration file to read")
        return self._reloading.apply("POST /api/v1/reload")


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


def build_store_admin(parts: StoreParts, port: Port, reloading: Reloading | None) -> AdminServer:
    """Put the server of the admin port together: the API, and the metrics."""
    api = StoreApi(parts, reloading)
    reading = store_reading(parts.counters, parts.store_counters, parts.downstream, parts.store.engine)
    access = AccessPolicy(port.is_loopback, parts.options.admin_token)
    app = store_app(api, access, metrics_route(TableCollector(STORE, reading)), event_log=parts.event_log)
    return AdminServer(app, port.listeners, parts.options.admin_allow, parts.event_log)
