"""The admin port of a state server, put together: which sessions it holds, and its metrics.

It takes an HTTP server, and all that one is made of. A state server without an admin port imports nothing of
that: it starts sooner, and takes less memory.
"""

from partitioner.daemon.activation import Port
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
    port: Port, access: AccessPolicy, table: SessionTable, counters: Counters, downstream: Downstream
) -> AdminServer:
    """Put the server of the admin port together."""
    collector = TableCollector(STATE_SERVER, state_server_reading(counters, downstream, table))
    app = keys_app(table, access, metrics_route(collector))
    assert access.allow is not None  # which a router's alone is not
    return AdminServer(app, port.listeners, access.allow)
