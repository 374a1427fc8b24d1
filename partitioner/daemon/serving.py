"""What both kinds of state server are as processes, with their sessions in memory or on an engine.

Both listen where clients connect and, if that is wanted, on an admin port; both have a slow path and a fast
one, tell the service manager how they are, and watch their event loop.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import TypeVar

import trio

from partitioner.daemon.activation import InheritedSockets, Port, open_port
from partitioner.daemon.notify import Notifier, Rate
from partitioner.daemon.open_files import ConnectionCounts
from partitioner.daemon.process import fit_to_open_files, repeat_held_back
from partitioner.fastpath.task import IS_AVAILABLE
from partitioner.membership.backend import Address, Network
from partitioner.ops.log import Log
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.lag import watch_lag
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.target import canonical_key, server_key
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.limits import BytesInFlight
from partitioner.transport.listener import Downstream, DownstreamPolicy, FastPath
from partitioner.transport.messages import Responder
from partitioner.transport.observer import Observer

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """How clients are served. Times are seconds, sizes bytes."""

    listen: tuple[Address, ...] = (Address("127.0.0.1", 42424),)
    allow: tuple[Network, ...] = LOOPBACK
    is_liberal: bool = False
    max_body: int = 64 * 1024 * 1024
    connections: int = 10_000
    per_client: int | None = None  # of these, from one address; None: all of them
    exchange: float = 30.0
    client_idle: float = 30.0  # a stock server closes after 15 s; clients after 5 to 10 s
    shutdown: float = 30.0
    is_fast: bool = IS_AVAILABLE  # ordinary exchanges by the fast path, all others by the slow path
    admin: Address | None = None
    admin_token: str | None = field(default=None, repr=False)

    @property
    def key_of(self) -> Callable[[bytes], bytes]:
        """How a session's key is read from a target."""
        return canonical_key if self.is_liberal else server_key


OptionsT = TypeVar("OptionsT", bound=ServingOptions)


@dataclass(frozen=True, slots=True)
class ServerPorts:
    """Where a state server listens."""

    state: Port
    admin: Port | None  # None: there is none


async def open_ports(options: ServingOptions, inherited: InheritedSockets, log: Log) -> ServerPorts:
    """Open what is wanted, or take what was passed. Raises AddressUnavailable."""
    state = await open_port("listen", inherited.state, options.listen, log)
    if options.admin is None and not inherited.admin:
        return ServerPorts(state, None)
    wanted = () if options.admin is None else (options.admin,)
    return ServerPorts(state, await open_port("admin", inherited.admin, wanted, log))


def fitted(options: OptionsT, log: Log) -> OptionsT:
    """The options with as many connections as there can be files."""
    counts = fit_to_open_files(ConnectionCounts(options.connections), log)
    return replace(options, connections=counts.clients)


def build_downstream(
    options: ServingOptions,
    respond: Responder,
    fast_path: Callable[[ConversationPolicy], FastPath],
    in_flight: BytesInFlight,
    observer: Observer,
) -> Downstream:
    """Put together what clients connect to; the fast path is built where the options want one."""
    conversation = ConversationPolicy(
        dialect=Dialect.LIBERAL if options.is_liberal else Dialect.STOCK,
        exchange=options.exchange,
        client_idle=options.client_idle,
        max_body=options.max_body,
        held_body=options.max_body,
        in_flight=in_flight,
    )
    policy = DownstreamPolicy(options.allow, options.connections, conversation, options.per_client)
    return Downstream(respond, policy, observer, fast_path(conversation) if options.is_fast else None)


def watch_over(background: trio.Nursery, log: Log, counters: Counters) -> None:
    """From now on repeat what the log has held back, and measure how late the event loop is."""
    background.start_soon(repeat_held_back, log)
    background.start_soon(watch_lag, counters.lags)


def tell_service_manager(
    background: trio.Nursery, notifier: Notifier, counters: Counters, status: Callable[[Rate], str]
) -> None:
    """From now on tell the service manager how the server is, and that it is alive."""
    requests = Rate(lambda: counters.answered, trio.current_time)
    background.start_soon(notifier.keep_telling, lambda: status(requests))
    background.start_soon(notifier.feed_watchdog)
