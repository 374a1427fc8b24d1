"""The parts of a router, put together: observers, slow and fast path, what clients connect to, and the
reloader.

Embedded state servers run already, because their addresses are known only then. Nothing else does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
import trio

from partitioner.config import Settings
from partitioner.daemon.notify import Notifier
from partitioner.daemon.policies import core_policy, downstream_policy, fitted, uses_fast_path
from partitioner.daemon.process import repeat_held_back
from partitioner.daemon.reload import ReadSettings, Reloader
from partitioner.daemon.state_dir import StateDir
from partitioner.daemon.state_server import StateServerOptions, build_state_server
from partitioner.fastpath.router import router_fast_path
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.pool import first_pool
from partitioner.ops.admin.listing import HttpInventory, HttpListing, LocalInventory, LocalListing
from partitioner.ops.admin.memory_watch import MemoryWatch
from partitioner.ops.admin.session_source import HttpSessions, LocalSessions
from partitioner.ops.client_log import ClientLog
from partitioner.ops.event_log import EventLog
from partitioner.ops.fanout import Fanout
from partitioner.ops.log import Log
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.lag import watch_lag
from partitioner.ops.router_log import RouterLog
from partitioner.routing.core import RouterCore
from partitioner.routing.drain import ListKeys
from partitioner.routing.inspection import Inspection
from partitioner.routing.inventory import ListSessions
from partitioner.routing.memory_survey import MemorySurvey
from partitioner.sessions.table import SessionTable
from partitioner.transport.canary import Canary
from partitioner.transport.channel import dial_tcp, listen_tcp, listening_address
from partitioner.transport.connector import Connector
from partitioner.transport.listener import Downstream
from partitioner.transport.observer import Observer


def build_core(
    settings: Settings,
    backends: tuple[Backend, ...],
    observer: Observer,
    background: trio.Nursery,
    list_keys: ListKeys | None = None,
    state_dir: StateDir | None = None,
    list_sessions: ListSessions | None = None,
) -> RouterCore:
    """Put the slow path together. What is known of its backends it finds out when it starts."""
    policy = core_policy(settings)
    # Embedded servers begin with this router, and empty: there is nothing that it does not know.
    known_since = float("-inf") if settings.embedded else trio.current_time()
    pool = first_pool(backends, policy.health, settings.copies_kept(), known_since)
    connector = Connector(dial_tcp, Canary(settings.name))
    return RouterCore(
        pool,
        policy,
        connector,
        observer,
        background,
        list_keys=list_keys,
        disk=state_dir,
        list_sessions=list_sessions,
    )


def build_downstream(settings: Settings, core: RouterCore, observer: Observer) -> Downstream:
    """Put together what clients connect to; the fast path goes with it, if there is one."""
    policy = downstream_policy(settings)
    fast_path = router_fast_path(core, policy.conversation) if uses_fast_path(settings) else None
    downstream = Downstream(core.router.respond, policy, observer, fast_path)
    if core.tenure is not None:
        # The exchanges of the others fail, because their backends' connections are cut.
        core.tenure.authority.listeners.append(lambda _term: downstream.close_idle())
    core.standstills.listeners.append(lambda duration: downstream.break_off("the router stood still"))
    return downstream


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What a router stands on: it is there before the router is built, and when it has ended."""

    settings: Settings
    read: ReadSettings | None  # the settings of another time; None where there is no file
    notifier: Notifier
    log: Log
    event_log: EventLog  # what it has said last
    state_dir: StateDir | None


@dataclass(frozen=True, slots=True)
class Observers:
    """All observers of one router."""

    log: Log
    router_log: RouterLog
    event_log: EventLog  # what the log has said last
    counters: Counters
    fanout: Observer  # what the parts report to: each fact goes to the observers that listen for it

    def start(self, background: trio.Nursery) -> None:
        """Have them do what no fact brings about."""
        background.start_soon(repeat_held_back, self.log)
        background.start_soon(watch_lag, self.counters.lags)


def build_observers(bootstrap: Bootstrap, backends: Sequence[Backend]) -> Observers:
    """Put the observers of a router together; the log is older, and has the lines of the beginning."""
    ready = sum(backend.intent is Intent.READY for backend in backends)
    log, counters = bootstrap.log, Counters()
    router_log = RouterLog(log, ready, bootstrap.settings.lost_sessions)
    fanout = Fanout(ClientLog(log), router_log, counters)
    return Observers(log, router_log, bootstrap.event_log, counters, fanout)


_ANY_PORT = Address("127.0.0.1", 0)


@dataclass(frozen=True, slots=True)
class Embedded:
    """The state servers of this process; most routers have none."""

    backends: tuple[Backend, ...]
    tables: Mapping[Address, SessionTable]  # by the server's address


async def start_embedded(settings: Settings, background: trio.Nursery) -> Embedded:
    """Start as many as are configured, with the paths that the router has; they live as long as `background`.

    A drain looks into their tables, so their addresses stand for their admin ports.
    """
    options = StateServerOptions(max_body=settings.limits.body, is_fast=uses_fast_path(settings))
    backends, tables = [], {}
    for name in settings.embedded_names():
        listeners = await listen_tcp(_ANY_PORT)
        server, downstream = build_state_server(options, ClientLog(Log()))
        background.start_soon(server.sweep_forever)
        background.start_soon(downstream.serve, listeners)
        address = listening_address(listeners[0])
        tables[address] = server.table
        backends.append(Backend(name, address, admin=address))
    return Embedded(tuple(backends), tables)


@dataclass(frozen=True, slots=True)
class RouterParts:
    """What a router is made of."""

    settings: Settings
    embedded: Embedded
    observers: Observers
    core: RouterCore
    downstream: Downstream
    reloader: Reloader
    inspection: Inspection
    survey: MemorySurvey
    memory_watch: MemoryWatch
    state_dir: StateDir | None


async def build_parts(bootstrap: Bootstrap, http: httpx.AsyncClient, background: trio.Nursery) -> RouterParts:
    """Put a router together; what it does in the background it will do in that nursery.

    Raises AddressUnavailable if no port is left for an embedded state server.
    """
    settings = bootstrap.settings
    embedded = await start_embedded(settings, background)
    backends = settings.pool_backends() or embedded.backends
    observers = build_observers(bootstrap, backends)
    settings = fitted(settings, len(backends), observers.log)
    listing = LocalListing(embedded.tables, HttpListing(http, settings.backends_token()))
    inventory = LocalInventory(embedded.tables, HttpInventory(http, settings.backends_token()))
    core = build_core(
        settings, backends, observers.fanout, background, listing, bootstrap.state_dir, inventory
    )
    observers.router_log.follow(lambda: core.roster.pool, lambda: core.losses.policy.lost_sessions)
    downstream = build_downstream(settings, core, observers.fanout)
    reloader = Reloader(
        bootstrap.settings, bootstrap.read, core, downstream, observers.log, bootstrap.notifier
    )
    sessions = LocalSessions(embedded.tables, HttpSessions(http, settings.backends_token()))
    inspection = Inspection(core, settings.name, sessions, observers.counters.by_application.spellings)
    survey = MemorySurvey(core, settings.name, sessions)
    memory_watch = MemoryWatch(http, embedded.tables)
    return RouterParts(
        settings,
        embedded,
        observers,
        core,
        downstream,
        reloader,
        inspection,
        survey,
        memory_watch,
        bootstrap.state_dir,
    )
