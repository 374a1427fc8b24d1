"""Puts a store together: the engine's client, the sessions on it, and who answers requests from them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from partitioner.daemon.serving import LOOPBACK, ServingOptions
from partitioner.membership.backend import Network
from partitioner.ops.event_log import EventLog
from partitioner.ops.log import Log
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.store_counters import StoreCounters
from partitioner.protocol.target import server_key
from partitioner.store.engine import Canaries, EngineClient
from partitioner.store.giving_back import GivingBack
from partitioner.store.observer import StoreObserver
from partitioner.store.policy import StorePolicy
from partitioner.store.responder import StoreResponder
from partitioner.store.sessions import EngineSessions
from partitioner.transport.channel import dial_tcp
from partitioner.transport.listener import Downstream

if TYPE_CHECKING:  # a state server starts without all that reads a configuration
    from partitioner.config import Settings
    from partitioner.daemon.state_dir import StatePlace

LAST_LOCKS = 5.0
"""Seconds for which locks that have to be given back are waited for when all clients have gone."""


@dataclass(frozen=True, slots=True)
class Store:
    """What a store is made of."""

    engine: EngineClient
    giving_back: GivingBack
    sessions: EngineSessions
    responder: StoreResponder

    def start(self, background: trio.Nursery) -> None:
        """Begin to reach for the engine."""
        background.start_soon(self.engine.run)
        background.start_soon(self.giving_back.run)

    async def stop(self) -> None:
        """Give back the locks of pages that have failed, as far as there is time."""
        with trio.move_on_after(LAST_LOCKS):
            await self.giving_back.wait_until_done()


def build_store(
    policy: StorePolicy,
    observer: StoreObserver,
    canaries: Canaries,
    key_of: Callable[[bytes], bytes] = server_key,
) -> Store:
    """Put a store together."""
    engine = EngineClient(policy, canaries, dial_tcp, observer)
    giving_back = GivingBack(engine, observer)
    sessions = EngineSessions(engine, giving_back, observer, policy.prefix, key_of)
    return Store(engine, giving_back, sessions, StoreResponder(sessions))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreServerOptions(ServingOptions):
    """How it is run. Times are seconds, sizes bytes."""

    store: StorePolicy
    max_body: int = 16 * 1024 * 1024  # a save holds the engine up for 20 ms a MiB, and with it everybody
    exchange: float = 8.0  # a client gives up after 10 s
    name: str = "state-server"
    admin_allow: tuple[Network, ...] = LOOPBACK
    worker: str = ""  # which one it is of several that serve at one port
    canary_place: "StatePlace | None" = None  # where it is remembered whose sessions the engine has
    settings: "Settings | None" = None  # what all this was made of, where it was a file
    read: "Callable[[], Settings] | None" = None  # the file of another time


@dataclass(frozen=True, slots=True)
class StoreParts:
    """What such a state server is made of."""

    options: StoreServerOptions
    store: Store
    downstream: Downstream
    log: Log
    event_log: EventLog
    counters: Counters
    store_counters: StoreCounters
