"""Builds a state server of our own, starts its parts in order, and stops them in order.

state server
├── admin port, if there is one
├── broom
└── downstream
    ├── fast path: ordinary exchanges of all clients
    └── conversations, one a client, for a single exchange if there is a fast path
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

import trio

from partitioner.daemon.activation import InheritedSockets, Port, open_port, take_inherited
from partitioner.daemon.notify import Rate, state_server_status, take_notifier
from partitioner.daemon.open_files import ConnectionCounts
from partitioner.daemon.process import (
    Controls,
    fit_to_open_files,
    open_signals,
    repeat_held_back,
    serve_until_stopped,
)
from partitioner.daemon.state_file import StateFile
from partitioner.fastpath.state_server import state_server_fast_path
from partitioner.fastpath.task import IS_AVAILABLE
from partitioner.membership.backend import Address, Network
from partitioner.ops.fanout import Fanout
from partitioner.ops.log import LogObserver
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.lag import watch_lag
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.target import canonical_key, server_key
from partitioner.sessions.table import SessionTable
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.limits import BytesInFlight
from partitioner.transport.listener import Downstream, DownstreamPolicy
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import StateServer

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


IN_FLIGHT_SHARE = 0.125
"""Of --max-memory, for requests that come in while sessions take all of it."""


@dataclass(frozen=True, slots=True)
class StateServerOptions:
    """How a state server of our own is run. Times are seconds, sizes bytes."""

    listen: Address = Address("127.0.0.1", 42424)
    allow: tuple[Network, ...] = LOOPBACK
    max_memory: int | None = None
    state_file: Path | None = None  # where sessions are kept between two runs of the process
    is_liberal: bool = False
    max_body: int = 64 * 1024 * 1024
    connections: int = 10_000
    exchange: float = 30.0
    client_idle: float = 30.0  # a stock server closes after 15 s; clients after 5 to 10 s
    shutdown: float = 30.0
    admin: Address | None = None  # open to the same networks
    admin_token: str | None = field(default=None, repr=False)  # without it no listing is given
    is_fast: bool = IS_AVAILABLE  # ordinary exchanges by the fast path, all others by the slow path


async def run_state_server(
    options: StateServerOptions, announce: Callable[[Address, Address | None], None]
) -> None:
    """Serve sessions until a signal says to stop; `announce` is told where, and where its admin port is.

    Raises AddressUnavailable or FileUnusable.
    """
    notifier, inherited, observer = take_notifier(), take_inherited(), LogObserver()
    state_file = None if options.state_file is None else StateFile(options.state_file, observer)
    if state_file is not None:
        state_file.lock()
    with open_signals() as signals:
        port = await open_port("listen", inherited.state, options.listen, observer)
        admin_port = await _open_admin(options, inherited, observer)
        fitted = fit_to_open_files(ConnectionCounts(options.connections), observer)
        options = replace(options, connections=fitted.clients)
        table = SessionTable(options.max_memory)
        if state_file is not None:
            table = state_file.read(options.max_memory)
        counters = Counters()
        server, downstream = build_state_server(options, Fanout(observer, counters), table)
        async with trio.open_nursery() as background:
            background.start_soon(server.sweep_forever)
            background.start_soon(repeat_held_back, observer)
            background.start_soon(watch_lag, counters.lags)
            admin = None
            if admin_port is not None:
                from partitioner.daemon.state_server_admin import build_admin
                from partitioner.ops.admin.guard import AccessPolicy

                access = AccessPolicy(admin_port.is_loopback, options.admin_token, options.allow)
                admin = build_admin(admin_port, access, table, counters, downstream)
                await background.start(admin.run)
                if options.admin_token is None:
                    observer.warn(
                        "sessions are not listed",
                        cause="there is no --admin-token-file",
                        consequence="routers move sessions off this server only as they are used, and heal "
                        "nothing from it",
                    )
            announce(port.address, None if admin_port is None else admin_port.address)
            if not options.is_fast:
                observer.note("slow path alone", cause="this system has no epoll")
            requests = Rate(lambda: counters.answered, trio.current_time)
            background.start_soon(notifier.keep_telling, lambda: state_server_status(table, requests))
            background.start_soon(notifier.feed_watchdog)
            controls = Controls(signals, notifier, options.shutdown)
            await serve_until_stopped(downstream, port.listeners, controls, observer)
            if admin is not None:
                await admin.stop()
            background.cancel_scope.cancel()
        if state_file is not None:  # here signals still wait: no second one may cut the writing short
            notifier.tell_stopping(f"writing {len(table)} sessions to {state_file.path}")
            state_file.write(table)
    observer.note_end(counters)


async def _open_admin(
    options: StateServerOptions, inherited: InheritedSockets, observer: LogObserver
) -> Port | None:
    if options.admin is None and not inherited.admin:
        return None
    return await open_port("admin", inherited.admin, options.admin, observer)


def build_state_server(
    options: StateServerOptions, observer: Observer, table: SessionTable | None = None
) -> tuple[StateServer, Downstream]:
    """Put a state server together; it starts with the sessions of `table`, or with none."""
    if table is None:
        table = SessionTable(options.max_memory)
    key_of = canonical_key if options.is_liberal else server_key
    server = StateServer(table, observer, key_of)
    conversation = ConversationPolicy(
        dialect=Dialect.LIBERAL if options.is_liberal else Dialect.STOCK,
        exchange=options.exchange,
        client_idle=options.client_idle,
        max_body=options.max_body,
        held_body=options.max_body,
        in_flight=BytesInFlight(lambda: _room(server.table)),
    )
    policy = DownstreamPolicy(options.allow, options.connections, conversation)
    fast_path = state_server_fast_path(server, conversation, observer) if options.is_fast else None
    return server, Downstream(server.respond, policy, observer, fast_path)


def _room(table: SessionTable) -> int | None:
    """How many bytes of requests may be on their way in: what is free, and always a share of all memory.

    A full server still has to take in what replaces a session.
    """
    if table.max_memory is None:
        return None
    return max(table.max_memory - table.used_memory, int(table.max_memory * IN_FLIGHT_SHARE))
