"""Routers of one farm over the same state servers in memory."""

from itertools import count

import trio

from partitioner.membership.items import Term
from partitioner.membership.legacy import Legacy, read_legacy, write_legacy
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target, server_key
from partitioner.protocol.writer import write_request
from partitioner.routing.succession import TenurePolicy
from partitioner.routing.tenure import Tenure
from partitioner.transport.standstill import Standstills
from tests.doubles.backends import ROUTER_NAME, MemoryStateServer
from tests.doubles.network import Network
from tests.doubles.routers import MemoryRouter, backend
from tests.doubles.sessions import CONTENT, request

ITEMS = f"/partitioner/{ROUTER_NAME}/"


class MemoryDisk:
    """A state directory in memory. This is a Disk."""

    def __init__(self) -> None:
        self.written: bytes | None = None
        self.left: bytes | None = None

    async def save(self, written: bytes) -> None:
        self.written = written

    def record(self) -> bytes | None:
        return self.written

    def ledger(self) -> Legacy | None:
        return None if self.left is None else read_legacy(self.left)


class Site:
    """Three state servers, and the routers that tests start in front of them; the farm has two copies."""

    def __init__(self, nursery: trio.Nursery, servers: int = 3, first_word: int = 1) -> None:
        self.nursery = nursery
        self.network = Network(nursery)
        self.servers = [
            MemoryStateServer(self.network, backend(number + 1).address) for number in range(servers)
        ]
        self._words = count(first_word)

    async def router(
        self,
        disk: MemoryDisk | None = None,
        lost_after: float = 60.0,
        runs_in: trio.Nursery | None = None,
        standstills: Standstills | None = None,
    ) -> MemoryRouter:
        """A router that has just been started. It runs as long as the site, or as the nursery given."""
        router = self.new_router(disk, lost_after, runs_in, standstills)
        await router.start()
        return router

    def new_router(
        self,
        disk: MemoryDisk | None = None,
        lost_after: float = 60.0,
        runs_in: trio.Nursery | None = None,
        standstills: Standstills | None = None,
    ) -> MemoryRouter:
        """The same, to be started yet."""
        policy = TenurePolicy(ROUTER_NAME, lost_after, self._wall_clock, lambda: f"word{next(self._words)}")
        return MemoryRouter(
            runs_in or self.nursery,
            len(self.servers),
            copies=2,
            network=self.network,
            tenure=policy,
            disk=disk,
            standstills=standstills,
        )

    @property
    def servers_by_name(self) -> set[str]:
        """The names under which routers know the servers."""
        return {backend(number + 1).name for number in range(len(self.servers))}

    def item(self, number: int, name: str) -> bytes | None:
        """What a server holds of an item, `canary` or `term`."""
        answer = self.servers[number].tell(
            write_request(Operation.GET, encode_target(ITEMS + name), host="partitioner")
        )
        return answer.body if answer.status.code == 200 else None

    def records(self, number: int) -> set[str]:
        """The terms of which a server holds records."""
        begin = f"{ITEMS}record-".encode()
        keys = (server_key(target) for target in self.servers[number].targets())
        return {key.removeprefix(begin).decode() for key in keys if key.startswith(begin)}

    def store(self, number: int, target: str, content: bytes) -> None:
        """Have a server hold this under this key."""
        storing = write_request(
            Operation.SET,
            encode_target(target),
            host="partitioner",
            timeout_minutes=60,
            lock_cookie=0,
            body=content,
        )
        assert self.servers[number].tell(storing).status.code == 200

    def terms(self) -> list[int]:
        """The number of the term on each server; 0 where there is none."""
        items = [self.item(number, "term") or b"0" for number in range(len(self.servers))]
        return [int(item.partition(b" ")[0]) for item in items]

    def _wall_clock(self) -> float:
        return 1_700_000_000.0 + trio.current_time()


def tenure_of(router: MemoryRouter) -> Tenure:
    assert router.core.tenure is not None
    return router.core.tenure


async def ask(router: MemoryRouter, asked: bytes) -> bytes:
    """Have a client ask over a connection of its own; nothing if it was closed."""
    client = router.client()
    answer = await client.ask(asked)
    client.leave()
    return answer


async def save(router: MemoryRouter, content: bytes = CONTENT) -> bytes:
    return await ask(router, request(Operation.SET, body=content))


async def stop(router: MemoryRouter, disk: MemoryDisk | None = None) -> None:
    """Have a router say that it stops, and be no more: its servers hear nothing of it."""
    order = await tenure_of(router).stop()
    assert order is not None
    if disk is not None:
        disk.left = write_legacy(router.ledger, order, trio.current_time())
    crash(router)


def crash(router: MemoryRouter) -> None:
    """Have a router say nothing any more: it cuts its connections, and no client asks it again."""
    tenure_of(router).authority.supersede(Term(10**9, "none"))
