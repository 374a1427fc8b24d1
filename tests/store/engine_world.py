"""Web servers, state servers with a store, and engines that fail: a history, and its judgement.

    python -m tests.store.engine_world [--story NAME] [--first SEED] [--seeds N] [--without RULE]

The state servers' side is the product's own, from the client's bytes to the engine's; the engine is a model
(engine_model.py). A story is what happens to engines; the judge is the simulation's.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import click
import trio

from partitioner.membership.losses import LostSessions
from partitioner.protocol.grammar import Dialect
from partitioner.store import policy as store_policy
from partitioner.store.canary import Canary
from partitioner.store.engine import EngineClient
from partitioner.store.giving_back import GivingBack
from partitioner.store.observer import StoreObserver
from partitioner.store.policy import StorePolicy
from partitioner.store.responder import StoreResponder
from partitioner.store.sessions import EngineSessions
from partitioner.transport.client_connection import Conversation, ConversationPolicy
from partitioner.transport.observer import Observer
from tests.doubles.clients import Client
from tests.doubles.network import Network, connection
from tests.end_to_end.store_load import LoadPlan, StoreLoad
from tests.simulation.checker import Kind as ViolationKind
from tests.simulation.checker import Violation
from tests.simulation.seeded import ActorRandom, run_seeded
from tests.store.engine_model import GROUP, Node, SentinelGroup, until
from tests.store.engine_rules import RULES, without

CONVERSATION = ConversationPolicy(
    dialect=Dialect.STOCK, exchange=8.0, client_idle=60.0, max_body=2**24, held_body=2**24
)


class Server:
    """A state server, as far as it serves."""

    def __init__(self, network: Network, policy: StorePolicy) -> None:
        observer = StoreObserver()
        may_go_back = policy.acknowledge is store_policy.Acknowledge.PRIMARY

        def canary_of(name: bytes) -> Canary:
            return Canary(LostSessions.CLOSE, may_go_back=may_go_back)

        self._engine = EngineClient(policy, canary_of, network.dial, observer)
        self._giving_back = GivingBack(self._engine, observer)
        sessions = EngineSessions(self._engine, self._giving_back, observer, policy.prefix)
        self._responder = StoreResponder(sessions)
        self._nursery = network.nursery
        self._nursery.start_soon(self._engine.run)
        self._nursery.start_soon(self._giving_back.run)

    @property
    def is_ready(self) -> bool:
        return self._engine.why_not_ready is None

    def connect(self) -> Client:
        near, far = connection()
        conversation = Conversation(far.channel("web"), self._responder.respond, CONVERSATION, Observer())
        self._nursery.start_soon(conversation.run)
        return Client(near)


class ModelLoad(StoreLoad):
    """The same web servers, before state servers in memory."""

    servers: list[Server]

    def _connect(self) -> Client:
        return self.servers[next(self._turns)].connect()


@dataclass
class Engines:
    """What a story is told about."""

    network: Network
    rng: ActorRandom
    nodes: list[Node]
    group: SentinelGroup | None  # None: one node alone

    @property
    def primary(self) -> Node:
        return self.nodes[0] if self.group is None else self.group.primary

    async def another_is_primary(self, former: Node) -> None:
        """Wait until some Sentinel names another one."""
        await until(lambda: self.primary is not former)

    async def all_are_back(self) -> None:
        """Wait until the primary has all others as its replicas."""
        await until(lambda: len(self.primary.replicas) == len(self.nodes) - 1)


Tell = Callable[[Engines], Awaitable[None]]


@dataclass(frozen=True)
class Story:
    """What happens to engines, and what is expected of state servers."""

    name: str
    tell: Tell
    nodes: int = 2
    lag: float = 0.01
    answer: float = 1.0  # store.timeouts.answer
    rounds: int = 3
    is_shut_out: bool = False  # clients are closed to the end
    execution_timeout: float = 20.0


async def primary_is_killed(engines: Engines) -> None:
    """It dies with what it has not replicated, and comes back as a replica."""
    former = engines.primary
    former.kill()
    await engines.another_is_primary(former)
    former.start()
    await engines.all_are_back()


async def primaries_are_killed_in_turn(engines: Engines) -> None:
    """The next one dies soon after the former one is its replica, and has what was answered without it.

    Before that it would be a pair of faults: what was degraded is in one copy.
    """
    for _ in range(2):
        await primary_is_killed(engines)
        await trio.sleep(engines.rng.uniform(1.0, 2.0))


async def primary_is_frozen(engines: Engines) -> None:
    """It goes on in the moment when another one has taken its place."""
    former = engines.primary
    former.freeze()
    await engines.another_is_primary(former)
    former.thaw()
    await engines.all_are_back()


async def engine_is_frozen_for_moments(engines: Engines) -> None:
    """Each time for longer than it is waited for, and for less than a page waits."""
    engines.primary.freeze()
    await trio.sleep(engines.rng.uniform(1.1, 1.9))
    engines.primary.thaw()
    await trio.sleep(engines.rng.uniform(0.2, 0.9))


async def engine_is_frozen_for_long(engines: Engines) -> None:
    """Pages give up before it goes on."""
    engines.primary.freeze()
    await trio.sleep(15.0)
    engines.primary.thaw()
    await trio.sleep(2.0)


async def engine_is_emptied(engines: Engines) -> None:
    """It is restarted, and keeps nothing on disk."""
    former = engines.primary
    former.kill()
    former.items.clear()
    await trio.sleep(0.3)
    former.start()


async def replica_that_was_away_is_promoted(engines: Engines) -> None:
    """It comes back with what it had, when nobody is left who has more."""
    former = engines.primary
    (other,) = (each for each in engines.nodes if each is not former)
    other.kill()
    await trio.sleep(engines.rng.uniform(0.1, 3.0))
    former.kill()
    other.start()
    await engines.another_is_primary(former)
    former.start()
    await engines.all_are_back()


STORIES = {
    story.name: story
    for story in (
        Story("killed", primary_is_killed, lag=0.05),
        Story("killed, two replicas", primary_is_killed, nodes=3, lag=0.05),
        Story("killed in turn", primaries_are_killed_in_turn, lag=0.02),
        Story("frozen", primary_is_frozen),
        Story("frozen, unnoticed", primary_is_frozen, answer=10.0),
        Story("moments", engine_is_frozen_for_moments, nodes=1, rounds=10, execution_timeout=6.0),
        Story("long", engine_is_frozen_for_long, nodes=1, rounds=1),
        Story("emptied", engine_is_emptied, nodes=1, rounds=1, is_shut_out=True),
        Story("away", replica_that_was_away_is_promoted, rounds=1, is_shut_out=True),
    )
}

PLAN = LoadPlan(sessions=6, workers=8, pause=0.05, longest_work=0.5, calm=2.0)


def live_through(story: Story, seed: int, rule: str | None = None) -> tuple[Violation, ...]:
    """Tell a story once, with a rule switched off if one is named; return what web servers should not see."""
    with ExitStack() as stack:
        if rule is not None:
            stack.enter_context(without(rule))
        load = run_seeded(seed, lambda: _World(story, seed, rule).run())
    return tuple(
        each for each in load.violations() if not (story.is_shut_out and each.kind is ViolationKind.SHUT_OUT)
    )


class _World:
    def __init__(self, story: Story, seed: int, rule: str | None) -> None:
        self._story = story
        self._seed = seed
        self._rule = rule

    async def run(self) -> StoreLoad:
        story, rng = self._story, ActorRandom(self._seed, "engines")
        async with trio.open_nursery() as nursery:
            network = Network(nursery)
            nodes = [Node(network, number, rng, story.lag) for number in range(1, story.nodes + 1)]
            for node in nodes:
                node.start()
            group = SentinelGroup(network, nodes, rng) if story.nodes > 1 else None
            if group is not None:
                nursery.start_soon(group.run)
            plan = LoadPlan(
                **{**vars(PLAN), "seed": self._seed, "execution_timeout": story.execution_timeout}
            )
            load = ModelLoad(range(2), plan)
            load.servers = [Server(network, self._policy(nodes, group)) for _ in range(2)]
            await until(lambda: all(server.is_ready for server in load.servers))
            await self._work(load, Engines(network, rng, nodes, group))
            nursery.cancel_scope.cancel()
        return load

    async def _work(self, load: ModelLoad, engines: Engines) -> None:
        async with trio.open_nursery() as working:
            await working.start(load.run)
            for _ in range(self._story.rounds):
                await trio.sleep(load.plan.calm)
                load.history.note(trio.current_time(), "fault")
                await self._story.tell(engines)
            await trio.sleep(load.plan.calm)
            load.end()
        await load.look_at_all()

    def _policy(self, nodes: Sequence[Node], group: SentinelGroup | None) -> StorePolicy:
        is_one_enough = self._rule == "acknowledgement"
        sentinels = () if group is None else tuple(each.address for each in group.sentinels)
        acknowledge = store_policy.Acknowledge
        return StorePolicy(
            primary=nodes[0].address if group is None else None,
            sentinel=None if group is None else store_policy.SentinelGroup(GROUP, sentinels),
            acknowledge=acknowledge.PRIMARY if is_one_enough else acknowledge.REPLICAS,
            answer_timeout=self._story.answer,
        )


@click.command()
@click.option("--story", "names", type=click.Choice([*STORIES]), multiple=True, help="All, without it.")
@click.option("--first", type=int, default=0, show_default=True)
@click.option("--seeds", type=int, default=20, show_default=True)
@click.option("--without", "rule", type=click.Choice([*RULES]), help="A rule that is switched off.")
def main(names: tuple[str, ...], first: int, seeds: int, rule: str | None) -> None:
    """Tell stories, and judge what web servers saw."""
    for name in names or STORIES:
        found: Counter[str] = Counter()
        caught: list[int] = []
        for seed in range(first, first + seeds):
            violations = live_through(STORIES[name], seed, rule)
            found.update(each.kind.value for each in violations)
            caught += [seed] if violations else []
        click.echo(f"{name}: {dict(found) or 'no violations'}; seeds {caught}")


if __name__ == "__main__":
    main()
