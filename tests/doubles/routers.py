"""A router on the in-memory network: the parts that the daemon builds, without sockets and signals."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from partitioner.membership.backend import Address, Backend, BackendId
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.losses import LostSessions
from partitioner.membership.pool import first_pool
from partitioner.ops.fanout import Fanout
from partitioner.protocol.grammar import Dialect
from partitioner.routing.core import RouterCore, RouterPolicy
from partitioner.routing.drain import Page
from partitioner.routing.inventory import InventoryPage, ListSessions
from partitioner.routing.succession import Disk, TenurePolicy
from partitioner.transport.backend_connections import HELD_BODY, UpstreamPolicy
from partitioner.transport.canary import Canary
from partitioner.transport.client_connection import Conversation, ConversationPolicy
from partitioner.transport.connector import Connector
from partitioner.transport.observer import Observer
from partitioner.transport.standstill import Standstills
from tests.doubles.backends import ROUTER_NAME, incarnation_of
from tests.doubles.clients import Client
from tests.doubles.network import Network, connection
from tests.doubles.observers import RecordingObserver

CONVERSATION = ConversationPolicy(
    dialect=Dialect.GUARDED,
    exchange=8.0,
    client_idle=60.0,
    max_body=2**26,
    held_body=HELD_BODY,
    tells_applications=True,
)


def backend(number: int) -> Backend:
    """The backend state-1, state-2 ... and its address."""
    return Backend(f"state-{number}", Address(f"10.0.0.{number}", 42424))


WALL_CLOCK_AT_START = 1.7e9
"""What people's clocks show when a router is made: seconds since 1970."""

LONGEST_TEST = 20_000.0
"""Virtual seconds after which a test has failed: nothing that it still waits for will come."""


class MemoryRouter:
    """A router in front of state-1, state-2 ..., with the default time-outs. Who listens is up to tests."""

    def __init__(
        self,
        nursery: trio.Nursery,
        backends: int = 1,
        *,
        copies: int = 1,
        health: HealthPolicy | None = None,
        lost_sessions: LostSessions = LostSessions.NEW,
        lost_after: float = 60.0,
        connections: int = 256,
        ledger: LedgerPolicy | None = None,
        network: Network | None = None,
        began_at: float = float("-inf"),
        body_memory: int = 256 * 1024 * 1024,
        listed: bool = False,
        healed: bool = False,
        watcher: Observer | None = None,
        standstills: Standstills | None = None,
        tenure: TenurePolicy | None = None,
        disk: Disk | None = None,
    ) -> None:
        """`began_at` is when the pool was changed last: the default makes the times settled.

        `listed`: the backends have admin ports; `listings` says what these answer.
        `healed`: they have, `inventories` says what these answer, and the router heals by that.
        `watcher` hears every fact, beside `observer`.
        `tenure`: other routers may serve the same servers; `start` sees whether this one is the active one.
        """
        self._nursery = nursery
        nursery.start_soon(_fail_at_last)
        self.health = health or HealthPolicy()
        self.network = network or Network(nursery)
        self.observer = RecordingObserver()
        self.facts = self.observer if watcher is None else Fanout(self.observer, watcher)
        self.backends = tuple(backend(number + 1) for number in range(backends))
        if listed or healed:
            self.backends = tuple(replace(each, admin=each.address) for each in self.backends)
        self.listings: dict[Address, Callable[[str | None], Awaitable[Page]]] = {}
        self.inventories: dict[Address, ListSessions] = {}
        self.standstills = standstills or Standstills(lambda: 0.0)
        self.connector = Connector(self.network.dial, Canary(ROUTER_NAME), standstills=self.standstills)
        policy = RouterPolicy(
            health=self.health,
            upstream=UpstreamPolicy(1.0, 10.0, connections),
            ledger=ledger or LedgerPolicy(),
            lost_sessions=lost_sessions,
            body_memory=body_memory,
            lost_after=lost_after,
            tenure=tenure,
            wall_clock=lambda: WALL_CLOCK_AT_START + trio.current_time() - built_at,
        )
        built_at = trio.current_time()
        pool = first_pool(self.backends, self.health, copies, began_at)
        self.core = RouterCore(
            pool,
            policy,
            self.connector,
            self.facts,
            nursery,
            _middle,
            self._list_keys,
            disk,
            self._list_sessions if healed else None,
        )
        self.roster = self.core.roster
        self.router = self.core.router
        self.ledger = self.core.ledger
        self.memory = self.core.body_budget

    async def _list_keys(self, admin: Address, cursor: str | None) -> Page:
        return await self.listings[admin](cursor)

    async def _list_sessions(self, admin: Address, first: bytes) -> InventoryPage:
        return await self.inventories[admin](admin, first)

    def take_in(self) -> None:
        """Have all backends UP without a probe, in the incarnation that scripted ones show."""
        for number, each in enumerate(self.backends, 1):
            self.roster.probe_succeeded(each.identity, incarnation_of(number))

    async def start(self) -> None:
        """Begin as a router does, and go on."""
        await self.core.start()
        self._nursery.start_soon(self.core.run)

    async def probe_on(self) -> None:
        """Probe all backends once; go on probing, without jitter, and doing what else goes on."""
        await self.core.probing.first_look()
        self._nursery.start_soon(self.core.run)

    def client(self, peer: str = "192.0.2.1") -> Client:
        """A client that has just connected."""
        near, far = connection()
        conversation = Conversation(far.channel(peer), self.router.respond, CONVERSATION, self.facts)
        self.standstills.listeners.append(lambda duration: conversation.break_off("the router stood still"))
        self._nursery.start_soon(conversation.run)
        return Client(near)

    async def ask_once(self, *asked: bytes) -> bytes:
        """Ask over a connection of its own, one thing after the other; return the last answer.

        In long tests an idle connection would be closed.
        """
        client, answer = self.client(), b""
        for each in asked:
            answer = await client.ask(each)
        client.leave()
        return answer

    @property
    def serving(self) -> set[BackendId]:
        """The backends that are UP."""
        return set(self.roster.pool.eligible)


def _middle(low: float, high: float) -> float:
    return (low + high) / 2


async def _fail_at_last() -> None:
    """Without this a test that waits in vain in virtual time would hang in real time."""
    await trio.sleep(LONGEST_TEST)
    raise AssertionError(f"the test still runs after {LONGEST_TEST:.0f} s")
