"""What operators of a router connect to, put together: their desk, and the server of the admin port."""

import trio

from partitioner.daemon.activation import Port
from partitioner.daemon.parts import RouterParts
from partitioner.daemon.reload import Report
from partitioner.ops.admin.desk import RouterDesk
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.metrics.catalog import EMBEDDING_ROUTER, ROUTER
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.router_readings import RouterReading
from partitioner.ops.rates import Sampler, sample_of


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
