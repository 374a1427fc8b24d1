"""Builds the router, starts its parts in order, and stops them in order.

    router
    ├── embedded state servers
    ├── probers, one a backend
    ├── watchers, ghost releases
    └── downstream
        └── conversations, one a client

What serves clients is innermost: it is started last and ends first, when everything that it leans on
is still there.
"""

from collections.abc import Callable

import trio

from partitioner.config import Settings
from partitioner.daemon.process import allow_open_files, open_signals, repeat_held_back, serve_until_stopped
from partitioner.daemon.state_server import StateServerOptions, build_state_server
from partitioner.membership.backend import Address, Backend, Intent
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
from partitioner.net.upstream import HELD_BODY, Upstream, UpstreamPolicy
from partitioner.ops.log import LogObserver
from partitioner.protocol.grammar import Dialect

_ANY_PORT = Address("127.0.0.1", 0)
LAST_RELEASES = 5.0
"""Seconds for which the release of ghost locks is waited for when all clients have gone."""
_RETIRE_INTERVAL = 1.0


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
            background.start_soon(repeat_held_back, observer)
            roster = _build_roster(settings, backends, connector, locksmith, observer, background)
            await _start_probing(roster, connector, settings, background)
            announce(listening_address(listeners[0]), roster.pool)
            observer.note_start(settings.name, listening_address(listeners[0]), len(roster.pool.eligible))
            router = Router(roster, RoutingPolicy(settings.hash_key, settings.lost_sessions))
            downstream = Downstream(router.respond, _router_policy(settings), observer)
            shutdown = settings.timeouts.shutdown
            await serve_until_stopped(downstream, listeners, signals, shutdown, observer)
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
        server, downstream = build_state_server(options, LogObserver())
        background.start_soon(server.sweep_forever)
        background.start_soon(downstream.serve, listeners)
        backends.append(Backend(name, listening_address(listeners[0])))
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


async def _retire_idle(upstreams: tuple[Upstream, ...]) -> None:
    while True:
        await trio.sleep(_RETIRE_INTERVAL)
        for upstream in upstreams:
            upstream.retire_idle()
