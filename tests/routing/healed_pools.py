"""A router that heals, in front of state servers that list what they hold."""

import trio
import trio.testing

from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from partitioner.routing.verification import Findings
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import request, target

SESSIONS = 60


class HealedPool:
    """A router and its servers, all of them up."""

    def __init__(self, nursery: trio.Nursery, *, copies: int = 2, servers: int = 3) -> None:
        self.router = MemoryRouter(nursery, servers, copies=copies, healed=True, began_at=0.0)
        self.servers = {
            each.name: MemoryStateServer(self.router.network, each.address) for each in self.router.backends
        }
        for each in self.router.backends:
            self.router.inventories[each.address] = self.servers[each.name].list_sessions

    @property
    def healing(self) -> bool:
        """Whether a walk has counted since the pool changed last."""
        return self.router.core.healing.is_done

    async def fill(self, sessions: int = SESSIONS) -> None:
        """Save so many sessions, and let the first walk end."""
        await self.router.probe_on()
        for number in range(sessions):
            await self.save(number, b"content %d" % number)
        await self.until_healed()

    async def save(self, number: int, body: bytes) -> None:
        answer = await self.ask(Operation.SET, number, body)
        assert answer.startswith(b"200 OK")

    async def ask(self, operation: Operation, number: int, body: bytes = b"", cookie: int = 0) -> bytes:
        return await self.router.ask_once(request(operation, target(number), cookie=cookie, body=body))

    async def until_healed(self) -> None:
        """Wait until a walk counts."""
        while not self.healing:
            walks = len(self.router.observer.named("healing_ended"))
            await self.router.observer.wait_for("healing_ended", walks + 1)
            await trio.testing.wait_all_tasks_blocked()

    async def begin_anew(self, name: str) -> None:
        """Kill a server, start it empty, and wait until it serves again."""
        epoch = self.router.roster.pool.epoch
        self.servers[name].restart()
        while self.router.roster.pool.epoch == epoch or name not in self.router.serving:
            await self.router.roster.wait_for_change()

    @property
    def removes_asked(self) -> int:
        """How often a server was told to remove something."""
        asked = [request[0] for server in self.servers.values() for request in server.requests]
        return asked.count(Operation.REMOVE)

    def copies_of(self, number: int) -> int:
        return sum(server.holds(target(number)) for server in self.servers.values())

    def on(self, name: str) -> list[int]:
        """The sessions that a server holds."""
        return [number for number in range(SESSIONS) if self.servers[name].holds(target(number))]

    async def lost(self) -> list[int]:
        """The sessions whose content does not read back."""
        lost = []
        for number in range(SESSIONS):
            answer = await self.ask(Operation.GET, number)
            if not answer.endswith(b"\r\n\r\ncontent %d" % number):
                lost.append(number)
        return lost

    def primary_and_copy(self, number: int) -> tuple[str, str]:
        """The servers of a session while all of them serve."""
        key = server_key(target(number))
        acting = self.router.roster.pool.acting_set(self.router.core.ledger_keeper.placement_of(key))
        assert acting is not None
        return acting.primary, acting.copies[0]

    def content_on(self, name: str, number: int) -> bytes | None:
        session = self.servers[name].maybe_session(target(number))
        return None if session is None else session.body

    def want_walk(self) -> None:
        """Change the pool in a way that moves nothing."""
        roster = self.router.roster
        roster.adopt([member.backend for member in roster.pool.members.values()])

    async def heal_again(self) -> None:
        self.want_walk()
        await trio.testing.wait_all_tasks_blocked()
        await self.until_healed()

    async def verified(self) -> Findings:
        """What a verification finds."""
        self.router.core.verification.begin()
        await trio.sleep(1)
        findings = self.router.core.verification.findings
        assert findings is not None
        assert findings.is_done
        return findings
