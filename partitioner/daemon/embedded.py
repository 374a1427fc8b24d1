"""State servers inside the router's own process, on free loopback ports: for trying it out."""

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from partitioner.config import Settings
from partitioner.daemon.lanes import has_express
from partitioner.daemon.state_server import StateServerOptions, build_state_server
from partitioner.membership.backend import Address, Backend
from partitioner.net.channel import listen_tcp, listening_address
from partitioner.ops.log import LogObserver
from partitioner.sessions.table import SessionTable

_ANY_PORT = Address("127.0.0.1", 0)


@dataclass(frozen=True, slots=True)
class Embedded:
    """The state servers of this process; most routers have none."""

    backends: tuple[Backend, ...]
    tables: Mapping[Address, SessionTable]  # by the server's address


async def start_embedded(settings: Settings, background: trio.Nursery) -> Embedded:
    """Start as many as are configured, with the lanes that the router has; they live as long as `background`.

    A drain looks into their tables, so their addresses stand for their admin ports.
    """
    options = StateServerOptions(
        listen=_ANY_PORT, max_body=settings.limits.body, is_express=has_express(settings)
    )
    backends, tables = [], {}
    for name in settings.embedded_names():
        listeners = await listen_tcp(options.listen)
        server, downstream = build_state_server(options, LogObserver())
        background.start_soon(server.sweep_forever)
        background.start_soon(downstream.serve, listeners)
        address = listening_address(listeners[0])
        tables[address] = server.table
        backends.append(Backend(name, address, admin=address))
    return Embedded(tuple(backends), tables)
