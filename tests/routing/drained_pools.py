"""A router in front of state servers, one of which is to hand its sessions over."""

import trio

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.health import HealthPolicy
from partitioner.protocol.messages import Operation
from partitioner.routing.drain import Drain
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import request, target

SESSIONS = 60
LEAVING = BackendId("state-1")


class Pool:
    """A router in front of state servers that list their sessions, all of them up."""

    def __init__(
        self, nursery: trio.Nursery, *, copies: int = 1, listed: bool = True, servers: int = 3
    ) -> None:
        # Seldom probes: a test that lets hours pass shall not take seconds for it.
        health = HealthPolicy(interval=30.0)
        self.router = MemoryRouter(nursery, servers, copies=copies, listed=listed, health=health)
        self.servers = {
            each.name: MemoryStateServer(self.router.network, each.address) for each in self.router.backends
        }
        for each in self.router.backends:
            self.router.listings[each.address] = self.servers[each.name].list_keys

    async def ask(self, operation: Operation, number: int, body: bytes = b"", cookie: int = 0) -> bytes:
        return await self.router.ask_once(request(operation, target(number), cookie=cookie, body=body))

    async def fill(self) -> None:
        await self.router.probe_on()
        for number in range(SESSIONS):
            await self.save(number, b"content %d" % number)

    async def save(self, number: int, body: bytes, cookie: int = 0) -> None:
        answer = await self.ask(Operation.SET, number, body, cookie)
        assert answer.startswith(b"200 OK")

    async def lost(self) -> list[int]:
        """The sessions whose content does not read back."""
        lost = []
        for number in range(SESSIONS):
            answer = await self.ask(Operation.GET, number)
            if not answer.endswith(b"\r\n\r\ncontent %d" % number):
                lost.append(number)
        return lost

    def on(self, name: str) -> list[int]:
        """The sessions that a server holds."""
        return [number for number in range(SESSIONS) if self.servers[name].holds(target(number))]

    def copies_of(self, number: int) -> int:
        return sum(server.holds(target(number)) for server in self.servers.values())

    def drain(self, name: str = LEAVING) -> None:
        self.router.roster.set_intent(name, Intent.DRAIN)

    @property
    def progress(self) -> Drain:
        return self.router.core.handoff.drains()[LEAVING]

    async def until_drained(self) -> None:
        await self.router.observer.wait_for("drain_ended")
