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
from starlette.types import ASGIApp

from partitioner.config import Lanes, Settings
from partitioner.daemon.activation import open_port, take_passed
from partitioner.daemon.notify import take_notifier
from partitioner.daemon.process import (
    Steering,
    allow_open_files,
    open_signals,
    repeat_held_back,
    serve_until_stopped,
)
from partitioner.daemon.reload import ReadSettings, Reloader, Report, files_needed
from partitioner.daemon.state_dir import StateDir, open_state_dir
from partitioner.daemon.state_server import StateServerOptions, build_state_server
from partitioner.daemon.status_line import Rate, router_status
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.pool import Pool, first_pool
from partitioner.net.canary import Canary
from partitioner.net.channel import dial_tcp, listen_tcp, listening_address
from partitioner.net.connecting import Connector
from partitioner.net.conversation import ConversationPolicy
from partitioner.net.downstream import Downstream, DownstreamPolicy
from partitioner.net.express.lane import IS_AVAILABLE, ExpressLane
from partitioner.net.express.relay import relay_lane
from partitioner.net.handoff import ListKeys
from partitioner.net.lane import Lane, LanePolicy
from partitioner.net.observer import Observer
from partitioner.net.upstream import HELD_BODY, UpstreamPolicy
from partitioner.ops.admin.desk import RouterDesk
from partitioner.ops.admin.guard import AccessPolicy, check_exposure
from partitioner.ops.admin.listing import HttpListing, LocalListing
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.fanout import Fanout
from partitioner.ops.journal import Journal
from partitioner.ops.log import LogObserver
from partitioner.ops.metrics.catalog import EMBEDDING_ROUTER, ROUTER
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.lag import watch_lag
from partitioner.ops.metrics.router_readings import RouterReading
from partitioner.ops.metrics.tally import Tally
from partitioner.ops.rates import Sampler, sample_of
from partitioner.protocol.grammar import Dialect
from partitioner.sessions.table import SessionTable

_ANY_PORT = Address("127.0.0.1", 0)
LAST_RELEASES = 5.0
"""Seconds for which the release of ghost locks is waited for when all clients have gone."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """What is said when a router begins to serve."""

    listen: Address
    admin: Address
    pool: Pool


async def run_router(
    settings: Settings, announce: Callable[[Welcome], None], read: ReadSettings | None = None
) -> None:
    """Route sessions until a signal says to stop. A reload asks `read` for the settings of then.

    Raises AddressUnavailable or FileUnusable.
    """
    notifier, passed, journal = take_notifier(), take_passed(), Journal()
    with open_signals() as signals:
        beginning = LogObserver(journal=journal)
        port = await open_port("listen", passed.state, settings.listen, beginning)
        admin_port = await open_port("admin", passed.admin, settings.admin, beginning)
        check_exposure(admin_port.addresses, settings.admin_token)
        state_dir = open_state_dir(settings, beginning)
        async with httpx.AsyncClient(trust_env=False) as http, trio.open_nursery() as background:
            tables: dict[Address, SessionTable] = {}  # of embedded servers, by their address
            backends = settings.pool_backends() or await _start_embedded(settings, background, tables)
            ready = sum(backend.intent is Intent.READY for backend in backends)
            observer, tally = LogObserver(ready, settings.lost_sessions, journal), Tally()
            facts = Fanout(observer, tally)
            allow_open_files(files_needed(settings, len(backends)))
            background.start_soon(repeat_held_back, observer)
            background.start_soon(watch_lag, tally.lags)
            listing = LocalListing(tables, HttpListing(http))
            lane = build_lane(settings, backends, facts, background, listing, state_dir)
            observer.follow(lambda: lane.roster.pool)
            express = _maybe_express(settings, lane)
            downstream = Downstream(lane.router.respond, _router_policy(settings), facts, express)
            reloader = Reloader(settings, read, lane, downstream, observer, notifier)
            sampler = Sampler(lambda: sample_of(lane, tally))
            background.start_soon(sampler.run)
            desk = _desk(settings, lane, downstream, reloader, journal, sampler)
            reading = RouterReading(lane, downstream, tally, desk.why_not_ready, tables)
            access = AccessPolicy(admin_port.is_loopback, settings.admin_token)
            admin = AdminServer(_admin_app(desk, reading, access), admin_port.listeners)
            await background.start(admin.run)
            await lane.probing.first_look()
            background.start_soon(lane.run)
            if state_dir is not None:
                background.start_soon(state_dir.keep, lane)
            announce(Welcome(port.address, admin_port.address, lane.roster.pool))
            observer.note_start(settings.name, port.address, len(lane.roster.pool.eligible))
            if express is None and settings.lanes is Lanes.BOTH:
                observer.note("await lane alone", cause="this system has no epoll")
            # What is there now stays: the garbage collector need not look through it again and again.
            gc.freeze()
            requests = Rate(lambda: tally.answered, trio.current_time)
            background.start_soon(
                notifier.keep_telling, lambda: router_status(lane, requests, trio.current_time())
            )
            background.start_soon(notifier.feed_watchdog)
            steering = Steering(signals, notifier, settings.timeouts.shutdown, reloader.reload)
            await serve_until_stopped(downstream, port.listeners, steering, observer)
            with trio.move_on_after(LAST_RELEASES):
                await lane.router.wait_until_given_back()
            await admin.stop()
            background.cancel_scope.cancel()
        if state_dir is not None:
            state_dir.keep_last(lane)
    observer.note_end(tally)


def _maybe_express(settings: Settings, lane: Lane) -> ExpressLane | None:
    """The express lane, if it is wanted and this system has what it needs."""
    if settings.lanes is not Lanes.BOTH or not IS_AVAILABLE:
        return None
    return relay_lane(lane, _router_policy(settings).conversation)


def _desk(
    settings: Settings,
    lane: Lane,
    downstream: Downstream,
    reloader: Reloader,
    journal: Journal,
    sampler: Sampler,
) -> RouterDesk:
    def why_not_served() -> tuple[str, ...]:
        if downstream.is_serving:
            return ()
        return ("it is stopping",) if downstream.is_draining else ("it is starting",)

    async def reload() -> Report:
        return (await reloader.reload("POST /api/v1/reload")).or_raise()

    return RouterDesk(
        settings.name,
        lane,
        settings.hash_key,
        why_not_served,
        reload,
        journal,
        sampler,
        clients=lambda: downstream.connections,
        began_at=trio.current_time(),
    )


def _admin_app(desk: RouterDesk, reading: RouterReading, access: AccessPolicy) -> ASGIApp:
    collector = TableCollector(EMBEDDING_ROUTER if reading.embedded else ROUTER, reading)
    return router_app(desk, access, metrics_route(collector), journal=desk.journal)


def build_lane(
    settings: Settings,
    backends: tuple[Backend, ...],
    observer: Observer,
    background: trio.Nursery,
    list_keys: ListKeys | None = None,
    state_dir: StateDir | None = None,
) -> Lane:
    """Put the router together: nothing is known of its backends, or what the state directory knows."""
    policy = LanePolicy(
        health=settings.health.policy(),
        upstream=_upstream_policy(settings),
        ledger=LedgerPolicy(settings.session_timeout, settings.session_timeout_max, settings.limits.ledger),
        lost_sessions=settings.lost_sessions,
        hash_key=settings.hash_key,
        copy=settings.timeouts.copying,
        body_memory=settings.limits.body_memory,
    )
    pool = first_pool(backends, policy.health, settings.copies_kept(), trio.current_time())
    if state_dir is not None:
        pool = state_dir.recall_pool(pool, policy.health)
    connector = Connector(dial_tcp, Canary(settings.name))
    lane = Lane(pool, policy, connector, observer, background, list_keys=list_keys)
    if state_dir is not None:
        state_dir.recall_rest(lane)
    return lane


async def _start_embedded(
    settings: Settings, background: trio.Nursery, tables: dict[Address, SessionTable]
) -> tuple[Backend, ...]:
    """Start state servers in this process, on free loopback ports; they live as long as `background`.

    Their `tables` are filled in: a drain looks there, so their addresses stand for their admin ports.
    """
    options = StateServerOptions(listen=_ANY_PORT, max_body=settings.limits.body, is_express=False)
    backends = []
    for name in settings.weights():
        listeners = await listen_tcp(options.listen)
        server, downstream = build_state_server(options, LogObserver())
        background.start_soon(server.sweep_forever)
        background.start_soon(downstream.serve, listeners)
        address = listening_address(listeners[0])
        tables[address] = server.table
        backends.append(Backend(name, address, admin=address))
    return tuple(backends)


def _router_policy(settings: Settings) -> DownstreamPolicy:
    conversation = ConversationPolicy(
        dialect=Dialect.GUARDED,
        exchange=settings.timeouts.exchange,
        client_idle=settings.timeouts.client_idle,
        max_body=settings.limits.body,
        held_body=HELD_BODY,
    )
    return DownstreamPolicy(settings.allow_clients, settings.limits.connections, conversation)


def _upstream_policy(settings: Settings) -> UpstreamPolicy:
    return UpstreamPolicy(
        connect=settings.timeouts.connect,
        idle=settings.timeouts.backend_idle,
        connections=settings.limits.per_backend_connections,
    )
