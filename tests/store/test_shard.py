"""What becomes of requests while a primary is looked at first, and while replicas are slow."""

import hiredis
import trio
from trio.testing import MockClock

from partitioner.errors import EngineUnfit, StoreFailure
from partitioner.membership.losses import LostSessions
from partitioner.store import policy as store_policy
from partitioner.store.calls import OtherCall, Reply
from partitioner.store.canary import Canary
from partitioner.store.engine import EngineClient
from partitioner.store.observer import StoreObserver
from partitioner.store.policy import StorePolicy
from partitioner.store.scripts import GET, NO_ID
from tests.doubles.network import Network
from tests.simulation.seeded import ActorRandom
from tests.store.engine_model import GROUP, Node, SentinelGroup
from tests.tables import each_case

PASSING = (
    "MOVED 5 10.1.0.2:6379",
    "ASK 5 10.1.0.2:6379",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN later",
)


class Refusing(Node):
    """An engine that does not tell its canary until two seconds have passed, or never takes one."""

    refusal = ""
    refused = b"GET"

    def _reply(self, name: bytes, words: list[bytes]) -> object:
        is_canary = name == self.refused and words[0] == b"aspnet:canary"
        if is_canary and trio.current_time() < 2.0:
            return hiredis.ReplyError(self.refusal)
        return super()._reply(name, words)


async def outcome_of(
    refusal: str, refused: bytes, nursery: trio.Nursery
) -> tuple[Reply | StoreFailure, float]:
    """What becomes of a request that comes at once, and when."""
    network = Network(nursery)
    node = Refusing(network, 1, ActorRandom(0, "node"), 0.0)
    node.refusal, node.refused = refusal, refused
    node.start()
    policy = StorePolicy(primary=node.address)
    engine = EngineClient(policy, lambda _: Canary(LostSessions.CLOSE), network.dial, StoreObserver())
    nursery.start_soon(engine.run)
    await trio.sleep(0.5)
    found: list[Reply | StoreFailure] = []
    settled = trio.Event()

    def take(outcome: Reply | StoreFailure) -> None:
        found.append(outcome)
        settled.set()

    now = trio.current_time()
    engine.submit(OtherCall(GET, b"aspnet:session", (NO_ID,), now, now + 8.0, take))
    await settled.wait()
    return found[0], trio.current_time()


@each_case("refusal", PASSING)
@each_case("refused", [b"GET", b"SET"])
async def test_a_refusal_that_passes_is_waited_for(
    refusal: str, refused: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A slot that is handed over, or a Cluster that settles: requests wait, and no client is closed."""
    reply, at = await outcome_of(refusal, refused, nursery)

    assert 404 == reply
    assert 2.0 < at < 4.0


async def test_a_refusal_that_stays_closes_clients_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An ACL has to be mended first."""
    reply, at = await outcome_of("NOPERM no permissions to run the 'get' command", b"GET", nursery)

    assert isinstance(reply, EngineUnfit)
    assert at < 1.0


class Degraded(StoreObserver):
    """Notes when requests were answered that not all replicas had."""

    def __init__(self) -> None:
        self.last_at = 0.0

    def calls_degraded(self, count: int) -> None:
        self.last_at = trio.current_time()


async def test_a_slow_replica_is_waited_for_again_when_it_is_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """While one is away it is not waited for long; one that needs a tenth of a second gets its time again."""
    network, rng = Network(nursery), ActorRandom(0, "nodes")
    primary, replica = (Node(network, number, rng, 0.1) for number in (1, 2))
    primary.start()
    replica.start()
    group = SentinelGroup(network, [primary, replica], rng)
    addresses = tuple(each.address for each in group.sentinels)
    policy = StorePolicy(sentinel=store_policy.SentinelGroup(GROUP, addresses))
    degraded = Degraded()
    engine = EngineClient(policy, lambda _: Canary(LostSessions.CLOSE), network.dial, degraded)
    nursery.start_soon(engine.run)

    async def ask_for(seconds: float) -> None:
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            now = trio.current_time()
            engine.submit(OtherCall(GET, b"aspnet:session", (NO_ID,), now, now + 8.0))
            await trio.sleep(0.02)

    await ask_for(5.0)
    replica.kill()
    await ask_for(5.0)
    assert degraded.last_at > 9.0
    replica.start()
    replica.follow(primary)
    await ask_for(20.0)

    assert degraded.last_at < 20.0
