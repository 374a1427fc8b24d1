"""A router with the page that Prometheus reads of it."""

from ipaddress import ip_network

import trio

from partitioner.membership.backend import Address
from partitioner.membership.health import HealthPolicy
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.metrics.catalog import EMBEDDING_ROUTER, ROUTER
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.router_readings import RouterReading
from partitioner.sessions.table import SessionTable
from partitioner.transport.listener import Downstream, DownstreamPolicy
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import CONVERSATION, MemoryRouter
from tests.ops.admin.apis import admin_api_of
from tests.ops.admin.asking import Operator
from tests.ops.metrics.pages import MetricsPage

POLICY = DownstreamPolicy((ip_network("127.0.0.0/8"),), 500, CONVERSATION)
SELDOM_PROBED = HealthPolicy(interval=30.0)
"""For a test that lets an hour pass: it does not compute thousands of probes for that."""

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Site:
    """A router in front of state servers, and the page that Prometheus reads of it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        servers: int = 3,
        *,
        copies: int = 2,
        listed: bool = False,
        embedded: dict[Address, SessionTable] | None = None,
        health: HealthPolicy | None = None,
    ) -> None:
        self.counters = Counters(clock=lambda: 1234.5)
        self.router = MemoryRouter(
            nursery, servers, copies=copies, listed=listed, watcher=self.counters, health=health
        )
        self.core, self.roster = self.router.core, self.router.roster
        network = self.router.network
        self.servers = [MemoryStateServer(network, each.address) for each in self.router.backends]
        self.not_served: tuple[str, ...] = ()
        admin_api = admin_api_of(self.core, why_not_served=lambda: self.not_served, reload=self._reload)
        downstream = Downstream(self.router.router.respond, POLICY, self.router.observer)
        reading = RouterReading(self.core, downstream, self.counters, admin_api.why_not_ready, embedded or {})
        metrics = EMBEDDING_ROUTER if embedded else ROUTER
        self.collector = TableCollector(metrics, reading)
        access = AccessPolicy(is_loopback=True)
        self.operator = Operator(router_app(admin_api, access, metrics_route(self.collector)))

    async def scrape(self) -> MetricsPage:
        answer = await self.operator.get("/metrics")
        assert (200, "text/plain; version=0.0.4; charset=utf-8") == (
            answer.status_code,
            answer.headers["content-type"],
        )
        return MetricsPage(answer.text)

    async def ask(self, *asked: bytes) -> None:
        """Have a client ask one thing after the other."""
        await self.router.ask_once(*asked)

    async def _reload(self, *, force: bool) -> object:
        raise AssertionError("nobody reloads over this admin API")
