"""A router in front of real state servers in memory, seen from one session: its primary, its copy, others."""

import trio

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.losses import LostSessions
from partitioner.placement.session_id import HashKey, SessionRef
from partitioner.protocol.messages import Answer, Operation
from partitioner.sessions.session import Session
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import CONTENT, ID, TARGET, request

T_MAX = 120.0
"""Seconds; short, so that probes can go on for as long as that."""


class MemoryFarm:
    """Servers are spoken of by their place in the preference list of TARGET: 0 is its primary, 1 its copy."""

    def __init__(
        self,
        nursery: trio.Nursery,
        servers: int = 3,
        copies: int = 2,
        *,
        lost_sessions: LostSessions = LostSessions.NEW,
        ledger: LedgerPolicy | None = None,
    ) -> None:
        self.nursery = nursery
        self.router = MemoryRouter(
            nursery,
            servers,
            copies=copies,
            lost_sessions=lost_sessions,
            ledger=ledger or LedgerPolicy(T_MAX, T_MAX),
        )
        self.observer = self.router.observer
        self.ledger = self.router.ledger
        self.session_ref = SessionRef.of(TARGET, HashKey.SESSION_ID)
        self.key = self.session_ref.key
        by_name = {
            each.name: MemoryStateServer(self.router.network, each.address) for each in self.router.backends
        }
        self.names = [BackendId(name) for name in self.router.roster.pool.ranking.preference_list(ID)]
        self.servers = [by_name[name] for name in self.names]

    # --- what goes on ---

    async def start(self) -> None:
        """Have the router take all servers in, and go on as routers do."""
        await self.router.probe_on()

    async def settle(self) -> None:
        """Let T_max pass."""
        await trio.sleep(self.ledger.longest_life + 1)

    async def ask(self, asked: bytes) -> bytes:
        """Have a client ask, over a connection of its own; nothing if it was hung up on."""
        client = self.router.client()
        answer = await client.ask(asked)
        client.leave()
        return answer

    async def save(self, content: bytes = CONTENT, cookie: int = 0) -> bytes:
        return await self.ask(request(Operation.SET, cookie=cookie, body=content))

    async def eject(self, place: int) -> None:
        """Kill a server, and wait until the router knows."""
        self.servers[place].kill()
        await self._until_down(place)

    async def freeze(self, place: int) -> None:
        """Freeze a server, and wait until the router has ejected it."""
        self.servers[place].freeze()
        await self._until_down(place)

    async def thaw(self, place: int) -> None:
        """Let a frozen server go on, and wait until it is back."""
        self.servers[place].thaw()
        await self._until_up(place)

    async def restart(self, place: int) -> None:
        """Start a server that was killed anew, empty, and wait until it is back."""
        self.servers[place].start()
        await self._until_up(place)

    def set_intent(self, place: int, intent: Intent) -> None:
        """Have the operator say what a server is for."""
        self.router.roster.set_intent(self.names[place], intent)

    async def _until_down(self, place: int) -> None:
        while self._answers(place):
            await self.router.roster.wait_for_change()

    async def _until_up(self, place: int) -> None:
        while not self._answers(place):
            await self.router.roster.wait_for_change()

    def _answers(self, place: int) -> bool:
        return self.router.roster.pool.members[self.names[place]].record.answers

    # --- what there is ---

    @property
    def contents(self) -> list[bytes | None]:
        """What each server holds of the session, by place; what has expired is not there."""
        found = [self.session(place) for place in range(len(self.servers))]
        return [None if each is None else each.body for each in found]

    def session(self, place: int) -> Session | None:
        """The session as a server holds it."""
        return self.servers[place].maybe_session(TARGET)

    @property
    def marked(self) -> set[int]:
        """The places of the servers that are marked for the session."""
        return {self.names.index(server) for server in self.ledger.marks(self.key)}

    def tell(self, place: int, asked: bytes) -> Answer:
        """Have a server carry out a request of which the router knows nothing."""
        return self.servers[place].tell(asked)

    def asked_of(self, place: int) -> list[Operation]:
        """What the router has asked of a server, canaries aside."""
        return [operation for operation, _ in self.servers[place].requests]

    def forget_requests(self) -> None:
        for server in self.servers:
            server.requests.clear()
