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
from dataclasses import replace

import trio

from partitioner.daemon.activation import open_port, take_inherited
from partitioner.daemon.notify import Rate, store_status, take_notifier
from partitioner.daemon.open_files import ConnectionCounts
from partitioner.daemon.process import (
    Controls,
    fit_to_open_files,
    open_signals,
    repeat_held_back,
    serve_until_stopped,
)
from partitioner.daemon.store import StoreParts, StoreServerOptions, build_store
from partitioner.daemon.store_canary import canary_opener
from partitioner.fastpath.store import store_fast_path
from partitioner.fastpath.task import IS_AVAILABLE
from partitioner.membership.backend import Address
from partitioner.ops.admin.guard import check_exposure
from partitioner.ops.event_log import EventLog
from partitioner.ops.fanout import Fanout, StoreFanout
from partitioner.ops.log import LogObserver
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.lag import watch_lag
from partitioner.ops.metrics.store_counters import StoreCounters
from partitioner.ops.store_log import StoreLog
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.target import canonical_key, server_key
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.limits import BytesInFlight
from partitioner.transport.listener import Downstream, DownstreamPolicy


async def run_store_server(
    options: StoreServerOptions, announce: Callable[[Address, Address | None], None]
) -> None:
    """Serve sessions until a signal says to stop; `announce` is told where, and where the admin port is.

    Raises AddressUnavailable or FileUnusable.
    """
    notifier, inherited, event_log = take_notifier(), take_inherited(), EventLog()
    observer = LogObserver(event_log=event_log)
    with open_signals() as signals:
        port = await open_port("listen", inherited.state, options.listen, observer)
        admin_port = None
        if options.admin is not None or inherited.admin:
            admin_port = await open_port("admin", inherited.admin, options.admin, observer)
            check_exposure(admin_port.addresses, options.admin_token)
        fitted = fit_to_open_files(ConnectionCounts(options.connections), observer)
        options = replace(options, connections=fitted.clients)
        parts = _build(options, observer, event_log)
        store, downstream, counters = parts.store, parts.downstream, parts.counters
        async with trio.open_nursery() as background:
            store.start(background)
            background.start_soon(repeat_held_back, observer)
            background.start_soon(watch_lag, counters.lags)
            reloading, reload = None, None
            if options.settings is not None and options.read is not None:
                from partitioner.daemon.store_reload import Reloading

                reloading = Reloading(parts, options.settings, options.read)
                reload = reloading.reload
            admin = None
            if admin_port is not None:
                from partitioner.daemon.store_admin import build_store_admin

                admin = build_store_admin(parts, admin_port, reloading)
                await background.start(admin.run)
            announce(port.address, None if admin_port is None else admin_port.address)
            requests = Rate(lambda: counters.answered, trio.current_time)
            background.start_soon(notifier.keep_telling, lambda: store_status(store.engine, requests))
            background.start_soon(notifier.feed_watchdog)
            controls = Controls(signals, notifier, options.shutdown, reload)
            await serve_until_stopped(downstream, port.listeners, controls, observer)
            await store.stop()
            if admin is not None:
                await admin.stop()
            background.cancel_scope.cancel()
    observer.note_end(counters)


def _build(options: StoreServerOptions, log: LogObserver, event_log: EventLog) -> StoreParts:
    counters, store_counters = Counters(), StoreCounters()
    key_of = canonical_key if options.is_liberal else server_key
    store_observer = StoreFanout(StoreLog(log), store_counters)
    canaries = canary_opener(options.store, options.canary_place, options.name, log)
    store = build_store(options.store, store_observer, canaries, key_of)
    conversation = ConversationPolicy(
        dialect=Dialect.LIBERAL if options.is_liberal else Dialect.STOCK,
        exchange=options.exchange,
        client_idle=options.client_idle,
        max_body=options.max_body,
        held_body=options.max_body,
        in_flight=BytesInFlight(lambda: options.store.waiting_memory),
    )
    policy = DownstreamPolicy(options.allow, options.connections, conversation, options.per_client)
    observer = Fanout(log, counters)
    fast = (
        store_fast_path(store.sessions, conversation, observer) if options.is_fast and IS_AVAILABLE else None
    )
    downstream = Downstream(store.responder.respond, policy, observer, fast)
    return StoreParts(options, store, downstream, log, event_log, counters, store_counters)
