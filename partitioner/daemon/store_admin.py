"""What operators of a state server with a store connect to, put together: the API, and the metrics."""

from dataclasses import replace

import trio

from partitioner.daemon.activation import Port
from partitioner.daemon.store import StoreParts
from partitioner.daemon.store_reload import StoreReload, reload_or_refuse
from partitioner.daemon.store_reports import StoreReports, loss_accepted
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.reports import Locks, StoreLocation, StoreStatus
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.admin.store_app import store_app
from partitioner.ops.metrics.catalog import STORE
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.store_counters import store_reading
from partitioner.ops.rates import Sampler, outcomes_sampler


class StoreApi:
    """Answers operators of a process that serves by itself."""

    def __init__(self, reports: StoreReports, sampler: Sampler, reloading: StoreReload | None) -> None:
        self._reports = reports
        self._sampler = sampler
        self._reloading = reloading

    async def status(self) -> StoreStatus:
        return replace(self._reports.status(), rates=self._sampler.growth().rates)

    async def locate(self, key: bytes) -> StoreLocation:
        return self._reports.locate(key)

    async def locks(self) -> Locks:
        return await self._reports.locks()

    async def accept_loss(self) -> str:
        return loss_accepted(was_lost=self._reports.accept_loss())

    async def reload(self) -> object:
        return await reload_or_refuse(self._reloading)


def build_store_admin(
    parts: StoreParts, port: Port, reloading: StoreReload | None, background: trio.Nursery
) -> AdminServer:
    """Put the server of the admin port together: the API, the page, and the metrics."""
    reading = store_reading(parts.counters, parts.store_counters, parts.downstream, parts.store.engine)
    sampler = outcomes_sampler(reading)
    background.start_soon(sampler.run)
    api = StoreApi(StoreReports(parts), sampler, reloading)
    access = AccessPolicy(port.is_loopback, parts.options.admin_token)
    app = store_app(api, access, metrics_route(TableCollector(STORE, reading)), event_log=parts.event_log)
    return AdminServer(app, port.listeners, parts.options.admin_allow, parts.event_log)
