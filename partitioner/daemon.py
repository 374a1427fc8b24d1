"""Builds the parts, starts them in order, and stops them in order.

    router                            state server
    ├── embedded state servers        ├── broom
    ├── probers, one a backend        └── downstream
    ├── watchers, ghost releases          └── conversations, one a client
    └── downstream
        └── conversations, one a client

What serves clients is innermost: it is started last and ends first, when everything that it leans on
is still there. The first SIGTERM or SIGINT drains: nobody is accepted any more, exchanges under way
are finished, idle connections are closed. The second one, or the end of the shutdown time, stops.
"""

import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from ipaddress import ip_network

import trio

from partitioner.config import Settings
from partitioner.membership.backend import Address, Backend, Intent, Network
from partitioner.membership.pool import Pool, first_pool
from partitioner.net.canary import Canary
from partitioner.net.channel import dial_tcp, listen_tcp, listening_address
from partitioner.net.connecting import Connector
from partitioner.net.conversation import ConversationPolicy
from partitioner.net.downstream import Downstream, DownstreamPolicy
from partitioner.net.locksmith import Locksmith
from partitioner.net.prober import Prober
from partitioner.net.roster import Roster
from partitioner.net.router import Router, RoutingPolicy
from partitioner.net.stateserver import StateServer
from partitioner.net.upstream import HELD_BODY, Upstream, UpstreamPolicy
from partitioner.ops.log import ONCE_A_MINUTE, LogObserver
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.target import canonical_key, server_key
from partitioner.sessions.table import SessionTable
from partitioner.units import format_duration

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_ANY_PORT = Address("127.0.0.1", 0)
FILES_BESIDE_CONNECTIONS = 256
LAST_RELEASES = 5.0
"""Seconds for which the release of ghost locks is waited for when all clients have gone."""
_RETIRE_INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class StateServerOptions:
    """How a state server of our own is run. Times are seconds, sizes bytes."""

    listen: Address = Address("127.0.0.1", 42424)
    allow: tuple[Network, ...] = LOOPBACK
    max_memory: int | None = None
    is_liberal: bool = False
    max_body: int = 64 * 1024 * 1024
    connections: int = 10_000
    exchange: float = 30.0
    client_idle: float = 30.0  # a stock server closes after 15 s; clients after 5 to 10 s
    shutdown: float = 30.0


async def run_state_server(options: StateServerOptions, announce: Callable[[Address], None]) -> None:
    """Serve sessions until a signal says to stop.

    Raises AddressUnavailable.
    """
    observer = LogObserver()
    with open_signals() as signals:
        listeners = await listen_tcp(options.listen)
        allow_open_files(options.connections)
        server, downstream = _state_server(options, observer)
        async with trio.open_nursery() as background:
            background.start_soon(server.sweep_forever)
            background.start_soon(_repeat_held_back, observer)
            announce(listening_address(listeners[0]))
            await _serve_until_stopped(downstream, listeners, signals, options.shutdown, observer)
            background.cancel_scope.cancel()
    observer.note_end()


async def run_router(settings: Settings, announce: Callable[[Address, Pool], None]) -> None:
    """Route sessions until a signal says to stop.

    Raises AddressUnavailable.
    """
    with open_signals() as signals:
        listeners = await listen_tcp(settings.listen)
        async with trio.open_nursery() as background:
            backends = settings.pool_backends() or await _start_embedded(settings, background)
            ready = sum(backend.intent is Intent.READY for backend in backends)
            observer = LogObserver(ready, settings.lost_sessions)
            limits = settings.limits
            allow_open_files(limits.connections + len(backends) * limits.per_backend_connections)
            connector = Connector(dial_tcp, Canary(settings.name))
            locksmith = Locksmith(connector, observer, background)
            background.start_soon(_repeat_held_back, observer)
            roster = _build_roster(settings, backends, connector, locksmith, observer, background)
            await _start_probing(roster, connector, settings, background)
            announce(listening_address(listeners[0]), roster.pool)
            observer.note_start(settings.name, listening_address(listeners[0]), len(roster.pool.eligible))
            router = Router(roster, RoutingPolicy(settings.hash_key, settings.lost_sessions))
            downstream = Downstream(router.respond, _router_policy(settings), observer)
            shutdown = settings.timeouts.shutdown
            await _serve_until_stopped(downstream, listeners, signals, shutdown, observer)
            with trio.move_on_after(LAST_RELEASES):
                await locksmith.wait_until_done()
            background.cancel_scope.cancel()
    observer.note_end()


def _build_roster(
    settings: Settings,
    backends: tuple[Backend, ...],
    connector: Connector,
    locksmith: Locksmith,
    observer: LogObserver,
    background: trio.Nursery,
) -> Roster:
    health = settings.health.policy()
    roster = Roster(first_pool(backends, health), health, observer)
    for name in roster.pool.ready:
        backend = roster.pool.members[name].backend
        upstream = Upstream(backend, connector, _upstream_policy(settings), locksmith, background)
        roster.upstreams[name] = upstream
    background.start_soon(_retire_idle, tuple(roster.upstreams.values()))
    return roster


async def _start_probing(
    roster: Roster, connector: Connector, settings: Settings, background: trio.Nursery
) -> None:
    """Probe every backend once, all at the same time, and go on doing so in the background."""
    async with trio.open_nursery() as first_look:
        for upstream in roster.upstreams.values():
            prober = Prober(upstream.backend, connector, roster, settings.health.policy())
            first_look.start_soon(prober.probe)
            background.start_soon(prober.run)


async def _start_embedded(settings: Settings, background: trio.Nursery) -> tuple[Backend, ...]:
    """Start state servers in this process, on free loopback ports; they live as long as `background`."""
    options = StateServerOptions(listen=_ANY_PORT, max_body=settings.limits.body)
    backends = []
    for name in settings.weights():
        listeners = await listen_tcp(options.listen)
        server, downstream = _state_server(options, LogObserver())
        background.start_soon(server.sweep_forever)
        background.start_soon(downstream.serve, listeners)
        backends.append(Backend(name, listening_address(listeners[0])))
    return tuple(backends)


def _state_server(options: StateServerOptions, observer: LogObserver) -> tuple[StateServer, Downstream]:
    key_of = canonical_key if options.is_liberal else server_key
    server = StateServer(SessionTable(options.max_memory), observer, key_of)
    conversation = ConversationPolicy(
        dialect=Dialect.LIBERAL if options.is_liberal else Dialect.STOCK,
        exchange=options.exchange,
        client_idle=options.client_idle,
        max_body=options.max_body,
        held_body=options.max_body,
    )
    policy = DownstreamPolicy(options.allow, options.connections, conversation)
    return server, Downstream(server.respond, policy, observer)


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


async def _repeat_held_back(observer: LogObserver) -> None:
    while True:
        await trio.sleep(ONCE_A_MINUTE)
        observer.repeat_held_back()


async def _retire_idle(upstreams: tuple[Upstream, ...]) -> None:
    while True:
        await trio.sleep(_RETIRE_INTERVAL)
        for upstream in upstreams:
            upstream.retire_idle()


def open_signals() -> AbstractContextManager[AsyncIterator[int]]:
    """Receive the signals that steer a daemon, from now on instead of their defaults."""
    return trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def _serve_until_stopped(
    downstream: Downstream,
    listeners: list[trio.SocketListener],
    signals: AsyncIterator[int],
    shutdown: float,
    observer: LogObserver,
) -> None:
    """Serve; drain on the first signal, and stop on the second or when the time for draining is over."""
    async with trio.open_nursery() as serving:

        async def obey_signals() -> None:
            name = await _next_stop(signals, observer)
            under_way, at_most = downstream.exchanges_under_way, format_duration(shutdown)
            observer.note("draining", cause=name, exchanges_under_way=under_way, at_most=at_most)
            downstream.drain()
            cause = "the time for draining is over"
            with trio.move_on_after(shutdown):
                cause = f"a second signal, {await _next_stop(signals, observer)}"
            observer.note("stopping now", cause=cause, exchanges_cut_off=downstream.exchanges_under_way)
            serving.cancel_scope.cancel()

        serving.start_soon(obey_signals)
        await downstream.serve(listeners)
        serving.cancel_scope.cancel()


async def _next_stop(signals: AsyncIterator[int], observer: LogObserver) -> str:
    """Wait for a signal to stop; answer its name."""
    while (number := await anext(signals)) == signal.SIGHUP:
        observer.note("SIGHUP ignored", cause="this version does not reload; restart it instead")
    return signal.Signals(number).name


def allow_open_files(connections: int) -> None:
    """Raise this process's limit of open files as far as so many connections need and it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDE_CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems have a lower limit of their own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
