"""The parts of a router, put together: observers, lanes, what clients connect to, and the reloader.

Embedded state servers run already, because their addresses are known only then. Nothing else does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
import trio

from partitioner.config import Lanes, Settings
from partitioner.daemon.notify import Notifier
from partitioner.daemon.process import allow_open_files, repeat_held_back
from partitioner.daemon.reload import ReadSettings, Reloader, files_needed
from partitioner.daemon.state_dir import StateDir
from partitioner.daemon.state_server import StateServerOptions, build_state_server
from partitioner.fastpath.router import relay_lane
from partitioner.fastpath.task import IS_AVAILABLE
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.pool import first_pool
from partitioner.ops.admin.listing import HttpListing, LocalListing
from partitioner.ops.event_log import Journal
from partitioner.ops.fanout import Fanout
from partitioner.ops.log import LogObserver
from partitioner.ops.metrics.counters import Tally
from partitioner.ops.metrics.lag import watch_lag
from partitioner.protocol.grammar import Dialect
from partitioner.routing.core import Lane, LanePolicy
from partitioner.routing.drain import ListKeys
from partitioner.routing.tenure import TenurePolicy
from partitioner.sessions.table import SessionTable
from partitioner.transport.backend_connections import HELD_BODY, UpstreamPolicy
from partitioner.transport.canary import Canary
from partitioner.transport.channel import dial_tcp, listen_tcp, listening_address
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.connector import Connector
from partitioner.transport.listener import Downstream, DownstreamPolicy
from partitioner.transport.observer import Observer


def build_lane(
    settings: Settings,
    backends: tuple[Backend, ...],
    observer: Observer,
    background: trio.Nursery,
    list_keys: ListKeys | None = None,
    state_dir: StateDir | None = None,
) -> Lane:
    """Put the await lane together. What is known of its backends it finds out when it starts."""
    policy = _lane_policy(settings)
    pool = first_pool(backends, policy.health, settings.copies_kept(), trio.current_time())
    connector = Connector(dial_tcp, Canary(settings.name))
    return Lane(pool, policy, connector, observer, background, list_keys=list_keys, disk=state_dir)


def build_downstream(settings: Settings, lane: Lane, observer: Observer) -> Downstream:
    """Put together what clients connect to; the express lane goes with it, if there is one."""
    conversation = _conversation_policy(settings)
    express = relay_lane(lane, conversation) if has_express(settings) else None
    policy = DownstreamPolicy(settings.allow_clients, settings.limits.connections, conversation)
    downstream = Downstream(lane.router.respond, policy, observer, express)
    if lane.tenure is not None:
        # The exchanges of the others fail, because their backends' connections are cut.
        lane.tenure.authority.listeners.append(lambda _term: downstream.close_idle())
    lane.standstills.listeners.append(lambda duration: downstream.break_off("the router stood still"))
    return downstream


def has_express(settings: Settings) -> bool:
    """Whether ordinary exchanges go by the express lane, here and in embedded state servers."""
    return settings.lanes is Lanes.BOTH and IS_AVAILABLE


def lacks_express(settings: Settings) -> bool:
    """Whether the express lane is wanted, and this system has not what it needs."""
    return settings.lanes is Lanes.BOTH and not IS_AVAILABLE


def _lane_policy(settings: Settings) -> LanePolicy:
    upstream = UpstreamPolicy(
        connect=settings.timeouts.connect,
        idle=settings.timeouts.backend_idle,
        connections=settings.limits.per_backend_connections,
    )
    return LanePolicy(
        health=settings.health.policy(),
        upstream=upstream,
        ledger=LedgerPolicy(settings.session_timeout, settings.session_timeout_max, settings.limits.ledger),
        lost_sessions=settings.lost_sessions,
        hash_key=settings.hash_key,
        copy=settings.timeouts.copying,
        body_memory=settings.limits.body_memory,
        lost_after=settings.lost_after,
        tenure=None if settings.embedded else TenurePolicy(settings.name, settings.lost_after),
    )


def _conversation_policy(settings: Settings) -> ConversationPolicy:
    return ConversationPolicy(
        dialect=Dialect.GUARDED,
        exchange=settings.timeouts.exchange,
        client_idle=settings.timeouts.client_idle,
        max_body=settings.limits.body,
        held_body=HELD_BODY,
    )


@dataclass(frozen=True, slots=True)
class Observers:
    """All observers of one router."""

    log: LogObserver
    journal: Journal  # what the log has said last
    tally: Tally
    fanout: Observer  # what the parts report to: each fact goes to whoever listens for it

    def start(self, background: trio.Nursery) -> None:
        """Have them do what no fact brings about."""
        background.start_soon(repeat_held_back, self.log)
        background.start_soon(watch_lag, self.tally.lags)


def build_observers(settings: Settings, backends: Sequence[Backend], journal: Journal) -> Observers:
    """Put the observers of a router together; the journal is older, and has the lines of the beginning."""
    ready = sum(backend.intent is Intent.READY for backend in backends)
    log, tally = LogObserver(ready, settings.lost_sessions, journal), Tally()
    return Observers(log, journal, tally, Fanout(log, tally))


_ANY_PORT = Address("127.0.0.1", 0)


@dataclass(frozen=True, slots=True)
class Embedded:
    """The state servers of this process; most routers have none."""

    backends: tuple[Backend, ...]
    tables: Mapping[Address, SessionTable]  # by the server's address


async def start_embedded(settings: Settings, background: trio.Nursery) -> Embedded:
    """Start as many as are configured, with the lanes that the router has; they live as long as `background`.

    A drain looks into their tables, so their addresses stand for their admin ports.
    """
    options = StateServerOptions(
        listen=_ANY_PORT, max_body=settings.limits.body, is_express=has_express(settings)
    )
    backends, tables = [], {}
    for name in settings.embedded_names():
        listeners = await listen_tcp(options.listen)
        server, downstream = build_state_server(options, LogObserver())
        background.start_soon(server.sweep_forever)
        background.start_soon(downstream.serve, listeners)
        address = listening_address(listeners[0])
        tables[address] = server.table
        backends.append(Backend(name, address, admin=address))
    return Embedded(tuple(backends), tables)


@dataclass(frozen=True, slots=True)
class Footing:
    """What a router stands on: it is there before the router is built, and when it has ended."""

    settings: Settings
    read: ReadSettings | None  # the settings of another time; None where there is no file
    notifier: Notifier
    journal: Journal
    state_dir: StateDir | None


@dataclass(frozen=True, slots=True)
class RouterParts:
    """What a router is made of."""

    settings: Settings
    embedded: Embedded
    observers: Observers
    lane: Lane
    downstream: Downstream
    reloader: Reloader
    state_dir: StateDir | None


async def build_parts(footing: Footing, http: httpx.AsyncClient, background: trio.Nursery) -> RouterParts:
    """Put a router together; what it does in the background it will do in that nursery.

    Raises AddressUnavailable if no port is left for an embedded state server.
    """
    settings = footing.settings
    embedded = await start_embedded(settings, background)
    backends = settings.pool_backends() or embedded.backends
    observers = build_observers(settings, backends, footing.journal)
    allow_open_files(files_needed(settings, len(backends)))
    listing = LocalListing(embedded.tables, HttpListing(http))
    lane = build_lane(settings, backends, observers.fanout, background, listing, footing.state_dir)
    observers.log.follow(lambda: lane.roster.pool)
    downstream = build_downstream(settings, lane, observers.fanout)
    reloader = Reloader(settings, footing.read, lane, downstream, observers.log, footing.notifier)
    return RouterParts(settings, embedded, observers, lane, downstream, reloader, footing.state_dir)
