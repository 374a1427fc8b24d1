"""Builds a state server of our own, starts its parts in order, and stops them in order.

state server
├── admin port, if there is one
├── broom
└── downstream
    ├── fast path: ordinary exchanges of all clients
    └── conversations, one a client, for a single exchange if there is a fast path
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from partitioner.daemon.activation import take_inherited
from partitioner.daemon.notify import state_server_status, take_notifier
from partitioner.daemon.process import Controls, open_signals, serve_until_stopped
from partitioner.daemon.serving import (
    ServingOptions,
    build_downstream,
    fitted,
    open_ports,
    tell_service_manager,
    watch_over,
)
from partitioner.daemon.state_file import StateFile
from partitioner.fastpath.state_server import state_server_fast_path
from partitioner.membership.backend import Address
from partitioner.ops.client_log import ClientLog
from partitioner.ops.fanout import Fanout
from partitioner.ops.log import Log
from partitioner.ops.metrics.counters import Counters
from partitioner.sessions.table import SessionTable
from partitioner.transport.limits import BytesInFlight
from partitioner.transport.listener import Downstream
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import StateServer

IN_FLIGHT_SHARE = 0.125
"""Of --max-memory, for requests that come in while sessions take all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateServerOptions(ServingOptions):
    """How a state server of our own is run. Sizes are bytes.

    Its admin port is open to those who may connect, and lists no sessions without `admin_token`.
    """

    max_memory: int | None = None
    state_file: Path | None = None  # where sessions are kept between two runs of the process


async def run_state_server(
    options: StateServerOptions, announce: Callable[[Address, Address | None], None]
) -> None:
    """Serve sessions until a signal says to stop; `announce` is told where, and where its admin port is.

    Raises AddressUnavailable or FileUnusable.
    """
    notifier, inherited, log = take_notifier(), take_inherited(), Log()
    state_file = None if options.state_file is None else StateFile(options.state_file, log)
    if state_file is not None:
        state_file.lock()
    with open_signals() as signals:
        ports = await open_ports(options, inherited, log)
        options = fitted(options, log)
        table = SessionTable(options.max_memory)
        if state_file is not None:
            table = state_file.read(options.max_memory)
        counters = Counters()
        server, downstream = build_state_server(options, Fanout(ClientLog(log), counters), table)
        async with trio.open_nursery() as background:
            background.start_soon(server.sweep_forever)
            watch_over(background, log, counters)
            admin = None
            if ports.admin is not None:
                from partitioner.daemon.state_server_admin import build_admin
                from partitioner.ops.admin.guard import AccessPolicy

                access = AccessPolicy(ports.admin.is_loopback, options.admin_token, options.allow)
                admin = build_admin(ports.admin, access, table, counters, downstream)
                await background.start(admin.run)
                if options.admin_token is None:
                    log.warn(
                        "sessions are not listed",
                        cause="there is no --admin-token-file",
                        consequence="routers move sessions off this server only as they are used, and heal "
                        "nothing from it",
                    )
            announce(ports.state.address, None if ports.admin is None else ports.admin.address)
            if not options.is_fast:
                log.note("slow path alone", cause="this system has no epoll")
            tell_service_manager(
                background, notifier, counters, lambda requests: state_server_status(table, requests)
            )
            controls = Controls(
                signals,
                notifier,
                lambda: options.shutdown,
                why_not_stop=lambda: None if state_file is None else state_file.why_not_writable(table),
            )
            await serve_until_stopped(downstream, ports.state.listeners, controls, log)
            if admin is not None:
                await admin.stop()
            background.cancel_scope.cancel()
        if state_file is not None:  # here signals still wait: no second one may cut the writing short
            notifier.tell_stopping(f"writing {len(table)} sessions to {state_file.path}")
            state_file.write(table)
    log.note_end(counters)


def build_state_server(
    options: StateServerOptions, observer: Observer, table: SessionTable | None = None
) -> tuple[StateServer, Downstream]:
    """Put a state server together; it starts with the sessions of `table`, or with none."""
    if table is None:
        table = SessionTable(options.max_memory)
    server = StateServer(table, observer, options.key_of)
    in_flight = BytesInFlight(lambda: _room(server.table))
    downstream = build_downstream(
        options,
        server.respond,
        lambda conversation: state_server_fast_path(server, conversation, observer),
        in_flight,
        observer,
    )
    return server, downstream


def _room(table: SessionTable) -> int | None:
    """How many bytes of requests may be on their way in: what is free, and always a share of all memory.

    A full server still has to take in what replaces a session.
    """
    if table.max_memory is None:
        return None
    return max(table.max_memory - table.used_memory, int(table.max_memory * IN_FLIGHT_SHARE))
