"""The admin port of a state server, put together: which sessions it holds, and its metrics.

It takes an HTTP server, and all that one is made of. A state server without an admin port imports nothing of
that: it starts sooner, and takes less memory.
"""

from partitioner.daemon.activation import Port
from partitioner.membership.backend import Network
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.keys_app import keys_app
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.metrics.catalog import STATE_SERVER
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.readings import state_server_reading
from partitioner.sessions.table import SessionTable
from partitioner.transport.listener import Downstream


def build_admin(
    port: Port, allow: tuple[Network, ...], table: SessionTable, counters: Counters, downstream: Downstream
) -> AdminServer:
    """Put the server of the admin port together; it is open to the networks that may connect anyway."""
    collector = TableCollector(STATE_SERVER, state_server_reading(counters, downstream, table))
    app = keys_app(table, AccessPolicy(port.is_loopback, allow=allow), metrics_route(collector))
    return AdminServer(app, port.listeners, allow)
