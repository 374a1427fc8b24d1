"""Builds the router, starts its parts in order, and stops them in order.

    router
    ├── admin port
    ├── embedded state servers
    ├── core: probers, repair, touches, hand-off; unanswered connections, locks to give back
    └── downstream
        └── conversations, one a client

What serves clients is innermost: it is started last and ends first, when everything that it leans on
is still there. The admin port is open before and after it, so that /readyz can say so.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import trio

from partitioner.config import Settings
from partitioner.daemon.activation import InheritedSockets, Port, open_port, take_inherited
from partitioner.daemon.notify import Notifier, Rate, router_status, take_notifier
from partitioner.daemon.parts import Bootstrap, RouterParts, build_parts
from partitioner.daemon.policies import lacks_fast_path
from partitioner.daemon.process import Controls, open_signals, serve_until_stopped
from partitioner.daemon.reload import ReadSettings, Report
from partitioner.daemon.state_dir import open_state_dir
from partitioner.membership.backend import Address
from partitioner.membership.legacy import write_legacy
from partitioner.membership.pool import Pool
from partitioner.ops.admin.api import RouterAdminApi
from partitioner.ops.admin.backend_reports import BackendReporter
from partitioner.ops.admin.guard import AccessPolicy, check_exposure
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.admin.session_routes import session_routes
from partitioner.ops.admin.sessions_api import SessionsApi
from partitioner.ops.event_log import EventLog
from partitioner.ops.history import History, look_at
from partitioner.ops.log import Log
from partitioner.ops.metrics.catalog import EMBEDDING_ROUTER, ROUTER
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.router_readings import RouterReading
from partitioner.ops.rates import Sampler, sample_of
from partitioner.ops.standing import why_standby

LAST_RELEASES = 5.0
"""Seconds for which the release of ghost locks is waited for when all clients have gone."""


@dataclass(frozen=True, slots=True)
class StartupBanner:
    """What is said when a router begins to serve."""

    listen: Address
    admin: Address
    pool: Pool
    standby: str | None  # why this router is not the active one of its farm; None if it is


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a router listens."""

    state: Port
    admin: Port


async def run_router(
    settings: Settings, announce: Callable[[StartupBanner], None], read: ReadSettings | None = None
) -> None:
    """Route sessions until a signal says to stop. A reload asks `read` for the settings of then.

    Raises AddressUnavailable or FileUnusable.
    """
    notifier, inherited, event_log = take_notifier(), take_inherited(), EventLog()
    with open_signals() as signals:
        log = Log(event_log)
        ports = await _open_ports(settings, inherited, log)
        state_dir = open_state_dir(settings, log)
        if state_dir is not None:
            event_log.prepend(state_dir.events())
        bootstrap = Bootstrap(settings, read, notifier, log, event_log, state_dir)
        async with httpx.AsyncClient(trust_env=False) as http, trio.open_nursery() as background:
            parts = await build_parts(bootstrap, http, background)
            if state_dir is not None:
                background.start_soon(state_dir.keep_events, event_log)
            admin = await _start(parts, ports.admin, background)
            _say_that_it_begins(parts, ports, announce)
            # What is there now stays: the garbage collector need not look through it again and again.
            gc.freeze()
            _start_telling(notifier, parts, background)
            controls = Controls(signals, notifier, parts.reloader.shutdown_timeout, parts.reloader.reload)
            await serve_until_stopped(parts.downstream, ports.state.listeners, controls, parts.observers.log)
            await _stop(parts, admin)
            background.cancel_scope.cancel()
    parts.observers.log.note_end(parts.observers.counters)
    if state_dir is not None:
        state_dir.save_events(event_log.events())


async def _open_ports(settings: Settings, inherited: InheritedSockets, log: Log) -> Ports:
    """Open both, before there is anything to serve. Raises AddressUnavailable."""
    state = await open_port("listen", inherited.state, settings.listen, log)
    admin = await open_port("admin", inherited.admin, (settings.admin,), log)
    check_exposure(admin.addresses, settings.operators_token())
    return Ports(state, admin)


async def _start(parts: RouterParts, port: Port, background: trio.Nursery) -> AdminServer:
    """Start everything that clients lean on; when this returns each backend has been looked at."""
    admin_api = build_admin_api(parts)
    admin = build_admin(parts, admin_api, port)
    parts.observers.start(background)
    background.start_soon(admin_api.sampler.run)
    background.start_soon(parts.core.standstills.run)
    await background.start(admin.run)
    await parts.core.start()
    background.start_soon(parts.core.run)
    background.start_soon(admin_api.past.run)
    background.start_soon(parts.memory_watch.run, parts.core.roster.known_backends)
    return admin


def _say_that_it_begins(parts: RouterParts, ports: Ports, announce: Callable[[StartupBanner], None]) -> None:
    """Tell the user who started the router, and the log."""
    settings, observers, core = parts.settings, parts.observers, parts.core
    standby = why_standby(core)
    announce(StartupBanner(ports.state.address, ports.admin.address, core.roster.pool, standby))
    eligible = len(core.roster.pool.eligible)
    observers.router_log.note_start(settings.name, ports.state.address, eligible, standby)
    if lacks_fast_path(settings):
        observers.log.note("slow path alone", cause="this system has no epoll")


def _start_telling(notifier: Notifier, parts: RouterParts, background: trio.Nursery) -> None:
    """From now on tell the service manager how the router is, and that it is alive."""
    requests = Rate(lambda: parts.observers.counters.answered, trio.current_time)
    background.start_soon(
        notifier.keep_telling, lambda: router_status(parts.core, requests, trio.current_time())
    )
    background.start_soon(notifier.feed_watchdog)


async def _stop(parts: RouterParts, admin: AdminServer) -> None:
    """Stop what clients have leaned on: first what they have left behind, and the admin port last."""
    with trio.move_on_after(LAST_RELEASES):
        await parts.core.undelivered_locks.wait_until_given_back()
    await _leave_word(parts)
    parts.core.close_idle()
    await admin.stop()


async def _leave_word(parts: RouterParts) -> None:
    """Tell the next router that this one stops in order, and leave it marks and locks."""
    core, state_dir = parts.core, parts.state_dir
    if core.tenure is None:
        return
    order = await core.tenure.stop()
    if order is not None and state_dir is not None:
        state_dir.save_ledger(write_legacy(core.ledger, order, trio.current_time()))


def build_admin_api(parts: RouterParts) -> RouterAdminApi:
    """Put the admin API together. The router counts as started now."""
    core, downstream, observers = parts.core, parts.downstream, parts.observers

    def why_not_served() -> tuple[str, ...]:
        if downstream.is_serving:
            return ()
        return ("it is stopping",) if downstream.is_stopping else ("it is starting",)

    async def reload(*, force: bool) -> Report:
        return (await parts.reloader.reload("POST /api/v1/reload", force=force)).or_raise()

    return RouterAdminApi(
        parts.settings.name,
        core,
        BackendReporter(core, observers.counters.is_full),
        parts.settings.hash_key,
        why_not_served,
        reload,
        observers.event_log,
        Sampler(lambda: sample_of(core, observers.counters)),
        History(lambda: look_at(core, observers.counters)),
        held_by=parts.memory_watch.held_by,
        clients=lambda: downstream.connections,
        superseded=lambda: observers.counters.superseded_times,
        began_at=trio.current_time(),
    )


def build_admin(parts: RouterParts, admin_api: RouterAdminApi, port: Port) -> AdminServer:
    """Put the server of the admin port together: the admin API, and the metrics."""
    tables = parts.embedded.tables
    reading = RouterReading(
        parts.core, parts.downstream, parts.observers.counters, admin_api.why_not_ready, tables
    )
    collector = TableCollector(EMBEDDING_ROUTER if tables else ROUTER, reading)
    access = AccessPolicy(port.is_loopback, parts.settings.operators_token())
    sessions = session_routes(SessionsApi(parts.core, parts.inspection, parts.survey, admin_api.event_log))
    app = router_app(admin_api, access, metrics_route(collector), *sessions, event_log=admin_api.event_log)
    return AdminServer(app, port.listeners, parts.settings.admin_allow, admin_api.event_log)
