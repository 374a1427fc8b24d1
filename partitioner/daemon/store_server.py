"""A state server that keeps its sessions on an engine: builds it, starts its parts in order, and stops them.

state server
├── admin port, if there is one
├── engine: connections to the primary
├── giving back: locks of pages that have failed
└── downstream
    ├── fast path: ordinary exchanges of all clients
    └── conversations, one a client, for a single exchange if there is a fast path
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from partitioner.daemon.activation import take_inherited
from partitioner.daemon.notify import store_status, take_notifier
from partitioner.daemon.process import Controls, open_signals, serve_until_stopped
from partitioner.daemon.serving import (
    build_downstream,
    fitted,
    open_ports,
    tell_service_manager,
    watch_over,
)
from partitioner.daemon.store import StoreParts, StoreServerOptions, build_store
from partitioner.daemon.store_canary import canary_opener
from partitioner.fastpath.store import store_fast_path
from partitioner.membership.backend import Address, Network
from partitioner.ops.admin.guard import check_exposure
from partitioner.ops.client_log import ClientLog
from partitioner.ops.event_log import EventLog
from partitioner.ops.fanout import Fanout, StoreFanout
from partitioner.ops.log import Log
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.store_counters import StoreCounters
from partitioner.ops.store_log import StoreLog
from partitioner.transport.limits import BytesInFlight

if TYPE_CHECKING:  # it reads a configuration
    from partitioner.daemon.store_reload import StoreReload


async def run_store_server(
    options: StoreServerOptions, announce: Callable[[Address, Address | None], None]
) -> None:
    """Serve sessions until a signal says to stop; `announce` is told where, and where the admin port is.

    Raises AddressUnavailable or FileUnusable.
    """
    notifier, inherited, event_log = take_notifier(), take_inherited(), EventLog()
    log = Log(event_log)
    with open_signals() as signals:
        ports = await open_ports(options, inherited, log)
        if ports.admin is not None:
            check_exposure(ports.admin.addresses, options.admin_token)
        parts = build_store_parts(fitted(options, log), log, event_log)
        store, downstream, counters = parts.store, parts.downstream, parts.counters
        async with trio.open_nursery() as background:
            store.start(background)
            watch_over(background, log, counters)
            reloading = _reloading(parts)
            admin = None
            if ports.admin is not None:
                from partitioner.daemon.store_admin import build_store_admin

                admin = build_store_admin(parts, ports.admin, reloading, background)
                await background.start(admin.run)
            announce(ports.state.address, None if ports.admin is None else ports.admin.address)
            tell_service_manager(
                background, notifier, counters, lambda requests: store_status(store.engine, requests)
            )
            reload = None if reloading is None else reloading.reload
            controls = Controls(signals, notifier, lambda: options.shutdown, reload)
            await serve_until_stopped(downstream, ports.state.listeners, controls, log)
            await store.stop()
            if admin is not None:
                await admin.stop()
            background.cancel_scope.cancel()
    log.note_end(counters)


def _reloading(parts: StoreParts) -> "StoreReload | None":
    """What a reload does; None where there is no file."""
    options = parts.options
    if options.settings is None or options.read is None:
        return None
    from partitioner.daemon.store_reload import StoreReload

    async def allow(networks: tuple[Network, ...]) -> None:
        parts.downstream.allow(networks)

    return StoreReload(options.settings, options.read, allow, parts.log)


def build_store_parts(options: StoreServerOptions, log: Log, event_log: EventLog) -> StoreParts:
    """Put such a state server together. Raises FileUnusable."""
    counters, store_counters = Counters(), StoreCounters()
    store_observer = StoreFanout(StoreLog(log), store_counters)
    canaries = canary_opener(options.store, options.canary_place, options.name, log, options.worker)
    store = build_store(options.store, store_observer, canaries, options.key_of)
    observer = Fanout(ClientLog(log), counters)
    downstream = build_downstream(
        options,
        store.responder.respond,
        lambda conversation: store_fast_path(store.sessions, conversation, observer),
        BytesInFlight(lambda: options.store.waiting_memory),
        observer,
    )
    return StoreParts(options, store, downstream, log, event_log, counters, store_counters)
