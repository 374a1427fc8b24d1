"""A desk over a router in memory, as the daemon sets one up."""

from collections.abc import Callable

import trio

from partitioner.errors import Refused
from partitioner.ops.admin.api import Reload, RouterDesk
from partitioner.ops.event_log import Journal
from partitioner.ops.metrics.counters import Tally
from partitioner.ops.rates import Sampler, sample_of
from partitioner.placement.session_id import HashKey
from partitioner.routing.core import Lane


async def reload_nothing() -> object:
    raise Refused("no configuration file was given: nothing to reload")


def desk_of(
    lane: Lane,
    *,
    name: str = "router-1",
    hash_key: HashKey = HashKey.SESSION_ID,
    why_not_served: Callable[[], tuple[str, ...]] = tuple,
    reload: Reload = reload_nothing,
    journal: Journal | None = None,
    tally: Tally | None = None,
    clients: int = 0,
) -> RouterDesk:
    """The desk of a router that has just started."""
    counted = tally or Tally()
    return RouterDesk(
        name,
        lane,
        hash_key,
        why_not_served,
        reload,
        journal or Journal(),
        Sampler(lambda: sample_of(lane, counted)),
        clients=lambda: clients,
        superseded=lambda: counted.superseded_times,
        began_at=trio.current_time(),
    )
