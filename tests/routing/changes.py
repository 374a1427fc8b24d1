"""A farm with one session, and how operators change its pool."""

import trio

from partitioner.membership.backend import BackendId
from partitioner.membership.health import Health
from tests.doubles.backends import ok
from tests.doubles.farms import MemoryFarm

OLD, NEW = b"old content", b"new content"
ANSWER = ok(OLD, b"Timeout: 20")


async def farm_of(nursery: trio.Nursery, servers: int = 3, copies: int = 2) -> MemoryFarm:
    farm = MemoryFarm(nursery, servers, copies)
    await farm.start()
    await farm.save(OLD)
    return farm


def health(farm: MemoryFarm, identity: BackendId) -> Health:
    return farm.router.roster.pool.members[identity].record.health
