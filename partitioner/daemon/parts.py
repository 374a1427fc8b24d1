"""The parts of a router, put together: observers, lanes, what clients connect to, and the reloader.

Embedded state servers run already, because their addresses are known only then. Nothing else does.
"""

from dataclasses import dataclass

import httpx
import trio

from partitioner.config import Settings
from partitioner.daemon.embedded import Embedded, start_embedded
from partitioner.daemon.lanes import build_downstream, build_lane
from partitioner.daemon.notify import Notifier
from partitioner.daemon.observers import Observers, build_observers
from partitioner.daemon.process import allow_open_files
from partitioner.daemon.reload import ReadSettings, Reloader, files_needed
from partitioner.daemon.state_dir import StateDir
from partitioner.net.downstream import Downstream
from partitioner.net.lane import Lane
from partitioner.ops.admin.listing import HttpListing, LocalListing
from partitioner.ops.journal import Journal


@dataclass(frozen=True, slots=True)
class Footing:
    """What a router stands on: it is there before the router is built, and when it has ended."""

    settings: Settings
    read: ReadSettings | None  # the settings of another time; None where there is no file
    notifier: Notifier
    journal: Journal
    state_dir: StateDir | None


@dataclass(frozen=True, slots=True)
class RouterParts:
    """What a router is made of."""

    settings: Settings
    embedded: Embedded
    observers: Observers
    lane: Lane
    downstream: Downstream
    reloader: Reloader
    state_dir: StateDir | None


async def build_parts(footing: Footing, http: httpx.AsyncClient, background: trio.Nursery) -> RouterParts:
    """Put a router together; what it does in the background it will do in that nursery.

    Raises AddressUnavailable if no port is left for an embedded state server.
    """
    settings = footing.settings
    embedded = await start_embedded(settings, background)
    backends = settings.pool_backends() or embedded.backends
    observers = build_observers(settings, backends, footing.journal)
    allow_open_files(files_needed(settings, len(backends)))
    listing = LocalListing(embedded.tables, HttpListing(http))
    lane = build_lane(settings, backends, observers.fanout, background, listing, footing.state_dir)
    observers.log.follow(lambda: lane.roster.pool)
    downstream = build_downstream(settings, lane, observers.fanout)
    reloader = Reloader(settings, footing.read, lane, downstream, observers.log, footing.notifier)
    return RouterParts(settings, embedded, observers, lane, downstream, reloader, footing.state_dir)
