"""What the settings mean for the parts of a router: once at its start, and again after a reload."""

from partitioner.config import Settings, Switch
from partitioner.daemon.open_files import ConnectionCounts
from partitioner.daemon.process import fit_to_open_files
from partitioner.fastpath.task import IS_AVAILABLE
from partitioner.membership.ledger import LedgerPolicy
from partitioner.ops.log import Log
from partitioner.protocol.grammar import Dialect
from partitioner.routing.core import RouterPolicy
from partitioner.routing.succession import TenurePolicy
from partitioner.transport.backend_connections import HELD_BODY, UpstreamPolicy
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.limits import BytesInFlight
from partitioner.transport.listener import DownstreamPolicy


def core_policy(settings: Settings) -> RouterPolicy:
    """How it behaves towards its backends."""
    upstream = UpstreamPolicy(
        connect=settings.timeouts.connect,
        idle=settings.timeouts.backend_idle,
        connections=settings.limits.per_backend_connections,
    )
    return RouterPolicy(
        health=settings.health.policy(),
        upstream=upstream,
        ledger=LedgerPolicy(settings.session_timeout, settings.session_timeout_max, settings.limits.ledger),
        lost_sessions=settings.lost_sessions,
        hash_key=settings.hash_key,
        copy=settings.timeouts.copying,
        body_memory=settings.limits.body_memory,
        heal_rate=settings.heal.rate,
        lost_after=settings.lost_after,
        tenure=None if settings.embedded else TenurePolicy(settings.name, settings.lost_after),
    )


def downstream_policy(settings: Settings) -> DownstreamPolicy:
    """How it behaves towards its clients."""
    # Requests of up to HELD_BODY are counted by themselves; larger ones take memory of the core's budget.
    conversation = ConversationPolicy(
        dialect=Dialect.GUARDED,
        exchange=settings.timeouts.exchange,
        client_idle=settings.timeouts.client_idle,
        max_body=settings.limits.body,
        held_body=HELD_BODY,
        in_flight=BytesInFlight(lambda: settings.limits.body_memory),
        tells_applications=True,
    )
    limits = settings.limits
    return DownstreamPolicy(settings.allow_clients, limits.connections, conversation, limits.per_client)


def connections_wanted(settings: Settings, backends: int) -> ConnectionCounts:
    """How many connections may be open at once."""
    limits, ends_here = settings.limits, 2 if settings.embedded else 1
    return ConnectionCounts(limits.connections, limits.per_backend_connections, backends, ends_here)


def fitted(settings: Settings, backends: int, log: Log) -> Settings:
    """The settings with as many connections as there can be files."""
    counts = fit_to_open_files(connections_wanted(settings, backends), log)
    limits = {"connections": counts.clients, "per_backend_connections": counts.per_backend}
    return settings.model_copy(update={"limits": settings.limits.model_copy(update=limits)})


def uses_fast_path(settings: Settings) -> bool:
    """Whether ordinary exchanges go by the fast path, here and in embedded state servers."""
    return settings.fast_path is Switch.ON and IS_AVAILABLE


def lacks_fast_path(settings: Settings) -> bool:
    """Whether the fast path is wanted, and this system has not what it needs."""
    return settings.fast_path is Switch.ON and not IS_AVAILABLE
