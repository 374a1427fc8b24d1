"""A router on the in-memory network: the parts that the daemon builds, without sockets and signals."""

import trio

from partitioner.membership.backend import Address, Backend
from partitioner.membership.health import HealthPolicy
from partitioner.membership.losses import LostSessions
from partitioner.membership.pool import first_pool
from partitioner.net.canary import Canary
from partitioner.net.connecting import Connector
from partitioner.net.conversation import Conversation, ConversationPolicy
from partitioner.net.locksmith import Locksmith
from partitioner.net.prober import Prober
from partitioner.net.roster import Roster
from partitioner.net.router import Router, RoutingPolicy
from partitioner.net.upstream import HELD_BODY, Upstream, UpstreamPolicy
from partitioner.placement.session_id import HashKey
from partitioner.protocol.grammar import Dialect
from tests.doubles.backends import LIFE, ROUTER_NAME
from tests.doubles.clients import Client
from tests.doubles.network import Network, connection
from tests.doubles.observers import RecordingObserver

CONVERSATION = ConversationPolicy(
    dialect=Dialect.GUARDED, exchange=8.0, client_idle=60.0, max_body=2**26, held_body=HELD_BODY
)


def backend(number: int) -> Backend:
    """The backend state-1, state-2 ... and its address."""
    return Backend(f"state-{number}", Address(f"10.0.0.{number}", 42424))


class MemoryRouter:
    """A router in front of state-1, state-2 ..., with the default time-outs. Who listens is up to tests."""

    def __init__(
        self,
        nursery: trio.Nursery,
        backends: int = 1,
        *,
        health: HealthPolicy | None = None,
        lost_sessions: LostSessions = LostSessions.NEW,
        connections: int = 256,
    ) -> None:
        self._nursery = nursery
        self.health = health or HealthPolicy()
        self.network = Network(nursery)
        self.observer = RecordingObserver()
        self.backends = tuple(backend(number + 1) for number in range(backends))
        self.connector = Connector(self.network.dial, Canary(ROUTER_NAME))
        self.locksmith = Locksmith(self.connector, self.observer, nursery)
        self.roster = Roster(first_pool(self.backends, self.health), self.health, self.observer)
        for each in self.backends:
            self.roster.upstreams[each.name] = Upstream(
                each, self.connector, UpstreamPolicy(1.0, 10.0, connections), self.locksmith, nursery
            )
        self.router = Router(self.roster, RoutingPolicy(HashKey.SESSION_ID, lost_sessions))

    def take_in(self, life: bytes = LIFE) -> None:
        """Have all backends UP in this life without a probe."""
        for each in self.backends:
            self.roster.probe_succeeded(each.name, life)

    async def probe_on(self) -> None:
        """Probe all backends once, and go on probing, without jitter."""
        probers = [
            Prober(each, self.connector, self.roster, self.health, lambda low, high: (low + high) / 2)
            for each in self.backends
        ]
        async with trio.open_nursery() as first_look:
            for prober in probers:
                first_look.start_soon(prober.probe)
        for prober in probers:
            self._nursery.start_soon(prober.run)

    def client(self, peer: str = "192.0.2.1") -> Client:
        """A client that has just connected."""
        near, far = connection()
        conversation = Conversation(far.channel(peer), self.router.respond, CONVERSATION, self.observer)
        self._nursery.start_soon(conversation.run)
        return Client(near)

    @property
    def serving(self) -> set[str]:
        """The names of the backends that are UP."""
        return set(self.roster.pool.eligible)
