"""A farm soon after its router's start, with a session on some of its servers."""

import trio

from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.losses import LostSessions
from partitioner.protocol.messages import Operation
from tests.doubles.backends import ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import request

OLD, NEW = b"old content", b"new content"
STORE_OLD = request(Operation.SET, body=OLD)
RELEASE, REMOVE = request(Operation.RELEASE), request(Operation.REMOVE)
ANSWER = ok(OLD, b"Timeout: 20")
LONG = LedgerPolicy()  # an hour: times stay unsettled for as long as a test may take


def status(answer: bytes) -> int:
    """The status of an answer; 0 where the client was hung up on."""
    return int(answer[:3] or b"0")


async def farm_with(
    nursery: trio.Nursery,
    *stored_on: int,
    servers: int = 4,
    copies: int = 2,
    lost_sessions: LostSessions = LostSessions.NEW,
) -> MemoryFarm:
    """A farm soon after the router's start, with the old content on these servers."""
    farm = MemoryFarm(nursery, servers, copies, lost_sessions=lost_sessions, ledger=LONG)
    await farm.start()
    for place in stored_on:
        farm.tell(place, STORE_OLD)
    return farm
