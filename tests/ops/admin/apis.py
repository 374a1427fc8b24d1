"""An admin API over a router in memory, as the daemon sets one up."""

from collections.abc import Callable

import trio

from partitioner.errors import Refused
from partitioner.ops.admin.api import Reload, RouterAdminApi
from partitioner.ops.admin.backend_reports import BackendReporter
from partitioner.ops.event_log import EventLog
from partitioner.ops.history import History, look_at
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.rates import Sampler, sample_of
from partitioner.placement.session_id import HashKey
from partitioner.routing.core import RouterCore


async def reload_nothing(*, force: bool) -> object:
    raise Refused("no configuration file was given: nothing to reload")


def admin_api_of(
    core: RouterCore,
    *,
    name: str = "router-1",
    hash_key: HashKey = HashKey.SESSION_ID,
    why_not_served: Callable[[], tuple[str, ...]] = tuple,
    reload: Reload = reload_nothing,
    event_log: EventLog | None = None,
    counters: Counters | None = None,
    clients: int = 0,
) -> RouterAdminApi:
    """The admin API of a router that has just started."""
    counted = counters or Counters()
    return RouterAdminApi(
        name,
        core,
        BackendReporter(core, counted.is_full),
        hash_key,
        why_not_served,
        reload,
        event_log or EventLog(),
        Sampler(lambda: sample_of(core, counted)),
        History(lambda: look_at(core, counted)),
        held_by=lambda backend: None,
        clients=lambda: clients,
        superseded=lambda: counted.superseded_times,
        began_at=trio.current_time(),
    )
