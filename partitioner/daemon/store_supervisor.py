"""Several processes that serve sessions from an engine at one port: builds them, and stops them in order.

supervisor
├── admin port: the sums, and orders for all
└── workers, each a process (store_worker.py)
    ├── engine, giving back, downstream: as in a state server that is alone
    └── the line to the supervisor

The supervisor serves no client. It is the process that the service manager knows: it passes signals on, and
says READY when all workers serve.
"""

from collections.abc import Callable
from dataclasses import replace

import trio

from partitioner.daemon.activation import Port, open_port, take_inherited
from partitioner.daemon.notify import Rate, take_notifier, workers_status
from partitioner.daemon.process import Controls, open_signals, repeat_held_back, serve_until_stopped
from partitioner.daemon.shared_port import open_shared_port
from partitioner.daemon.store import StoreServerOptions
from partitioner.daemon.store_reload import StoreReload, reload_or_refuse
from partitioner.daemon.store_reports import loss_accepted
from partitioner.daemon.store_workers import Workers
from partitioner.errors import WorkerFailed
from partitioner.membership.backend import Address
from partitioner.ops.admin.guard import AccessPolicy, check_exposure
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.reports import Locks, StoreLocation, StoreStatus
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.admin.store_app import store_app
from partitioner.ops.event_log import EventLog
from partitioner.ops.log import Log
from partitioner.ops.metrics.catalog import STORE
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.rates import Sampler, outcomes_sampler


async def run_store_workers(
    count: int,
    options: StoreServerOptions,
    announce: Callable[[Address, Address | None], None],
    log_as_json: bool,
    log_level: str,
) -> None:
    """Have so many workers serve until a signal says to stop; `announce` is told where all listen.

    Raises AddressUnavailable or WorkerFailed.
    """
    notifier, inherited, event_log = take_notifier(), take_inherited(), EventLog()
    log = Log(event_log)
    with open_signals() as signals:
        port = await open_shared_port(inherited.state, options.listen, log)
        admin_port = await open_port("admin", inherited.admin, [options.admin] if options.admin else [], log)
        check_exposure(admin_port.addresses, options.admin_token)
        workers = Workers(count, options, port, log, event_log, log_as_json=log_as_json, log_level=log_level)
        async with trio.open_nursery() as background:
            failure = await workers.start(background)
            if failure is None:
                background.start_soon(repeat_held_back, log)
                reloading = _reloading(options, workers, log)
                sampler = outcomes_sampler(workers.readings)
                background.start_soon(sampler.run)
                admin = _admin(workers, WorkersApi(workers, sampler, reloading), admin_port, options)
                await background.start(admin.run)
                announce(port.address, admin_port.address)
                requests = Rate(lambda: workers.requests, trio.current_time)
                background.start_soon(
                    notifier.keep_telling, lambda: workers_status(workers.status(), requests)
                )
                background.start_soon(notifier.feed_watchdog)
                reload = None if reloading is None else reloading.reload
                controls = Controls(signals, notifier, lambda: options.shutdown, reload)
                await serve_until_stopped(workers, [], controls, log)
                await admin.stop()
            background.cancel_scope.cancel()
        port.close()
    if failure is not None:
        raise WorkerFailed(failure)
    log.repeat_held_back()
    log.note("stopped", workers=count, answered=workers.requests)


def _reloading(options: StoreServerOptions, workers: Workers, log: Log) -> StoreReload | None:
    if options.settings is None or options.read is None:
        return None
    return StoreReload(options.settings, options.read, workers.allow, log)


class WorkersApi:
    """Answers operators for all workers."""

    def __init__(self, workers: Workers, sampler: Sampler, reloading: StoreReload | None) -> None:
        self._workers = workers
        self._sampler = sampler
        self._reloading = reloading

    async def status(self) -> StoreStatus:
        await self._workers.look()
        return replace(self._workers.status(), rates=self._sampler.growth().rates)

    async def locate(self, key: bytes) -> StoreLocation:
        return await self._workers.locate(key)

    async def locks(self) -> Locks:
        """Raises StoreFailure."""
        return await self._workers.locks()

    async def accept_loss(self) -> str:
        return loss_accepted(was_lost=await self._workers.accept_loss())

    async def reload(self) -> object:
        """Raises ConfigurationInvalid or Refused."""
        return await reload_or_refuse(self._reloading)


def _admin(workers: Workers, api: WorkersApi, port: Port, options: StoreServerOptions) -> AdminServer:
    route = metrics_route(TableCollector(STORE, workers.readings), workers.process_numbers, workers.look)
    access = AccessPolicy(port.is_loopback, options.admin_token)
    app = store_app(api, access, route, event_log=workers.event_log)
    return AdminServer(app, port.listeners, options.admin_allow, workers.event_log)
