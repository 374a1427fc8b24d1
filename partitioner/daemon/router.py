"""Builds the router, starts its parts in order, and stops them in order.

    router
    ├── admin port
    ├── embedded state servers
    ├── lane: probers, repair, touches, hand-off; unanswered connections, locks to give back
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
from partitioner.daemon.activation import Passed, Port, open_port, take_passed
from partitioner.daemon.notify import Notifier, Rate, router_status, take_notifier
from partitioner.daemon.parts import Footing, RouterParts, build_parts, lacks_express
from partitioner.daemon.process import Steering, open_signals, serve_until_stopped
from partitioner.daemon.reload import ReadSettings, Report
from partitioner.daemon.state_dir import open_state_dir
from partitioner.membership.backend import Address
from partitioner.membership.legacy import write_legacy
from partitioner.membership.pool import Pool
from partitioner.ops.admin.api import RouterDesk
from partitioner.ops.admin.guard import AccessPolicy, check_exposure
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.event_log import Journal
from partitioner.ops.log import LogObserver
from partitioner.ops.metrics.catalog import EMBEDDING_ROUTER, ROUTER
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.router_readings import RouterReading
from partitioner.ops.rates import Sampler, sample_of
from partitioner.ops.standing import why_standby

LAST_RELEASES = 5.0
"""Seconds for which the release of ghost locks is waited for when all clients have gone."""


@dataclass(frozen=True, slots=True)
class Welcome:
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
    settings: Settings, announce: Callable[[Welcome], None], read: ReadSettings | None = None
) -> None:
    """Route sessions until a signal says to stop. A reload asks `read` for the settings of then.

    Raises AddressUnavailable or FileUnusable.
    """
    notifier, passed, journal = take_notifier(), take_passed(), Journal()
    with open_signals() as signals:
        beginning = LogObserver(journal=journal)
        ports = await _open_ports(settings, passed, beginning)
        state_dir = open_state_dir(settings, beginning)
        footing = Footing(settings, read, notifier, journal, state_dir)
        async with httpx.AsyncClient(trust_env=False) as http, trio.open_nursery() as background:
            parts = await build_parts(footing, http, background)
            admin = await _start(parts, ports.admin, background)
            _say_that_it_begins(parts, ports, announce)
            # What is there now stays: the garbage collector need not look through it again and again.
            gc.freeze()
            _start_telling(notifier, parts, background)
            steering = Steering(signals, notifier, settings.timeouts.shutdown, parts.reloader.reload)
            await serve_until_stopped(parts.downstream, ports.state.listeners, steering, parts.observers.log)
            await _stop(parts, admin)
            background.cancel_scope.cancel()
    parts.observers.log.note_end(parts.observers.tally)


async def _open_ports(settings: Settings, passed: Passed, observer: LogObserver) -> Ports:
    """Open both, before there is anything to serve. Raises AddressUnavailable."""
    state = await open_port("listen", passed.state, settings.listen, observer)
    admin = await open_port("admin", passed.admin, settings.admin, observer)
    check_exposure(admin.addresses, settings.admin_token)
    return Ports(state, admin)


async def _start(parts: RouterParts, port: Port, background: trio.Nursery) -> AdminServer:
    """Start everything that clients lean on; when this returns each backend has been looked at."""
    desk = build_desk(parts)
    admin = build_admin(parts, desk, port)
    parts.observers.start(background)
    background.start_soon(desk.sampler.run)
    background.start_soon(parts.lane.standstills.run)
    await background.start(admin.run)
    await parts.lane.start()
    background.start_soon(parts.lane.run)
    return admin


def _say_that_it_begins(parts: RouterParts, ports: Ports, announce: Callable[[Welcome], None]) -> None:
    """Say it to whoever started the router, and to the log."""
    settings, log, lane = parts.settings, parts.observers.log, parts.lane
    standby = why_standby(lane)
    announce(Welcome(ports.state.address, ports.admin.address, lane.roster.pool, standby))
    log.note_start(settings.name, ports.state.address, len(lane.roster.pool.eligible), standby)
    if lacks_express(settings):
        log.note("await lane alone", cause="this system has no epoll")


def _start_telling(notifier: Notifier, parts: RouterParts, background: trio.Nursery) -> None:
    """From now on tell the service manager how the router is, and that it is alive."""
    requests = Rate(lambda: parts.observers.tally.answered, trio.current_time)
    background.start_soon(
        notifier.keep_telling, lambda: router_status(parts.lane, requests, trio.current_time())
    )
    background.start_soon(notifier.feed_watchdog)


async def _stop(parts: RouterParts, admin: AdminServer) -> None:
    """Stop what clients have leaned on: first what they have left behind, and the admin port last."""
    with trio.move_on_after(LAST_RELEASES):
        await parts.lane.router.wait_until_given_back()
    await _leave_word(parts)
    parts.lane.close_idle()
    await admin.stop()


async def _leave_word(parts: RouterParts) -> None:
    """Tell the next router that this one stops in order, and leave it marks and locks."""
    lane, state_dir = parts.lane, parts.state_dir
    if lane.tenure is None:
        return
    order = await lane.tenure.stop()
    if order is not None and state_dir is not None:
        state_dir.save_ledger(write_legacy(lane.ledger, order, trio.current_time()))


def build_desk(parts: RouterParts) -> RouterDesk:
    """Put the desk together. The router counts as started now."""
    lane, downstream, observers = parts.lane, parts.downstream, parts.observers

    def why_not_served() -> tuple[str, ...]:
        if downstream.is_serving:
            return ()
        return ("it is stopping",) if downstream.is_draining else ("it is starting",)

    async def reload() -> Report:
        return (await parts.reloader.reload("POST /api/v1/reload")).or_raise()

    return RouterDesk(
        parts.settings.name,
        lane,
        parts.settings.hash_key,
        why_not_served,
        reload,
        observers.journal,
        Sampler(lambda: sample_of(lane, observers.tally)),
        clients=lambda: downstream.connections,
        superseded=lambda: observers.tally.superseded_times,
        began_at=trio.current_time(),
    )


def build_admin(parts: RouterParts, desk: RouterDesk, port: Port) -> AdminServer:
    """Put the server of the admin port together: the desk, and the metrics."""
    tables = parts.embedded.tables
    reading = RouterReading(parts.lane, parts.downstream, parts.observers.tally, desk.why_not_ready, tables)
    collector = TableCollector(EMBEDDING_ROUTER if tables else ROUTER, reading)
    access = AccessPolicy(port.is_loopback, parts.settings.admin_token)
    app = router_app(desk, access, metrics_route(collector), journal=desk.journal)
    return AdminServer(app, port.listeners)
