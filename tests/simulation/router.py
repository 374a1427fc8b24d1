"""One process of a router: how it begins, is paused, stops in order and dies, and what it leaves behind.

Everything here that depends on how a router keeps what it knows is in `_build` and `_leave_word`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from partitioner.errors import NotListening
from partitioner.membership.backend import Address, Backend
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.legacy import Legacy, read_legacy, write_legacy
from partitioner.membership.pool import first_pool
from partitioner.routing.core import RouterCore, RouterPolicy
from partitioner.routing.drain import ListKeys
from partitioner.routing.inventory import ListSessions
from partitioner.routing.succession import TenurePolicy
from partitioner.transport.backend_connections import UpstreamPolicy
from partitioner.transport.canary import Canary
from partitioner.transport.channel import Channel
from partitioner.transport.client_connection import Conversation
from partitioner.transport.connector import Connector
from partitioner.transport.observer import Observer
from tests.doubles.backends import ROUTER_NAME
from tests.doubles.clients import Client
from tests.doubles.network import Network, connection
from tests.doubles.routers import CONVERSATION
from tests.simulation.pausing import Pauses
from tests.simulation.scenario import Scenario
from tests.simulation.seeded import ActorRandom
from tests.simulation.web import SHORTEST_TIMEOUT

HEALTH = HealthPolicy()

LAST_EXCHANGES = 30.0
"""Seconds for which a router that is asked to stop waits for its clients."""

LAST_RELEASES = 5.0

LOST_AFTER = 20.0

WALL = 1_700_000_000.0
"""Seconds since 1970 when a world begins."""


class Disk:
    """What a router keeps for the next one on the same machine. This is a Disk of routing.tenure."""

    def __init__(self) -> None:
        self.written: bytes | None = None
        self.locks_and_marks: bytes | None = None

    async def save(self, written: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.written = written

    def record(self) -> bytes | None:
        return self.written

    def ledger(self) -> Legacy | None:
        return None if self.locks_and_marks is None else read_legacy(self.locks_and_marks)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a router process stands on."""

    network: Network
    pauses: Pauses
    disk: Disk | None
    observer: Observer
    list_keys: ListKeys
    list_sessions: ListSessions | None


class RouterProcess:
    """A router from its first moment to its last."""

    core: RouterCore

    def __init__(self, name: str, machine: Machine, scenario: Scenario) -> None:
        """`name` tells it from other processes of the same history."""
        self.name = name
        self.is_running = False
        self._is_accepting = False
        self._machine = machine
        self._scenario = scenario
        self._rng = ActorRandom(scenario.seed, name)
        self._nursery: trio.Nursery
        self._channels: list[Channel] = []  # to backends and to clients
        self._conversations: dict[Conversation, None] = {}
        self._on_going_on = trio.Event()
        self._on_end = trio.Event()  # of a conversation

    def __repr__(self) -> str:
        return f"<RouterProcess {self.name}, {len(self._conversations)} clients>"

    # --- from its beginning to its end ---

    async def run(
        self,
        backends: Sequence[Backend],
        copies: int,
        changed_at: float | None,
        started: trio.Event,
    ) -> None:
        """Be a process; it has started when each backend has been looked at.

        `changed_at` is when the pool was changed last, where that is known to be long ago.
        """
        async with trio.open_nursery() as self._nursery:
            self.is_running = True
            self.core = self._build(backends, copies, changed_at)
            await self.core.start()
            self._nursery.start_soon(self.core.run)
            self._is_accepting = True
            started.set()
            await trio.sleep_forever()

    def crash(self) -> None:
        """Die on the spot: every connection is closed, and nothing that was not sent is sent any more."""
        if not self.is_running:
            return
        self.is_running = self._is_accepting = False
        self._nursery.cancel_scope.cancel()
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        self.resume()

    async def stop(self) -> None:
        """Stop in order: finish what is under way, and write down how things are."""
        self._is_accepting = False
        for conversation in tuple(self._conversations):
            conversation.end_when_idle()
        with trio.move_on_after(LAST_EXCHANGES):
            while self._conversations:
                await self._on_end.wait()
        with trio.move_on_after(LAST_RELEASES):
            await self.core.undelivered_locks.wait_until_given_back()
        if self.is_running:
            await self._leave_word()
        self.crash()

    def pause(self) -> None:
        """Stand still, until `resume`: connections and bytes arrive, and nothing is made of them."""
        if self.is_running:
            self._machine.pauses.pause(self._nursery)

    def resume(self) -> None:
        self._machine.pauses.resume(self._nursery)
        going_on, self._on_going_on = self._on_going_on, trio.Event()
        going_on.set()

    @property
    def is_paused(self) -> bool:
        return self.is_running and self._machine.pauses.is_paused(self._nursery)

    async def wait_until_going_on(self) -> None:
        """Operators get no answer from a process that stands still."""
        while self.is_paused:
            await self._on_going_on.wait()

    # --- its connections ---

    def connect(self) -> Client | None:
        """A client that has just connected; None where nothing listens."""
        if not self._is_accepting:
            return None
        near, far = connection()
        channel = far.channel("web")
        self._channels.append(channel)
        conversation = Conversation(channel, self.core.router.respond, CONVERSATION, self.core.observer)
        self._conversations[conversation] = None
        self._nursery.start_soon(self._converse, conversation)
        return Client(near)

    async def _converse(self, conversation: Conversation) -> None:
        try:
            await conversation.run()
        finally:
            del self._conversations[conversation]
            ended, self._on_end = self._on_end, trio.Event()
            ended.set()

    async def _dial(self, address: Address) -> Channel:
        channel = await self._machine.network.dial(address)
        if not self.is_running:
            channel.close()
            raise NotListening("is dialled by a process that is dead")
        self._channels.append(channel)
        return channel

    # --- what it knows ---

    def _build(self, backends: Sequence[Backend], copies: int, changed_at: float | None) -> RouterCore:
        """A router that knows its configuration, and finds out the rest when it starts."""
        now = trio.current_time()
        policy = RouterPolicy(
            HEALTH,
            UpstreamPolicy(1.0, 10.0, 64),
            LedgerPolicy(SHORTEST_TIMEOUT, 3600.0, self._scenario.ledger),
            self._scenario.lost_sessions,
            body_memory=self._scenario.body_memory,
            tenure=TenurePolicy(ROUTER_NAME, LOST_AFTER, _wall_clock, self._draw_word),
        )
        pool = first_pool(backends, HEALTH, copies, now if changed_at is None else changed_at)
        canary = Canary(ROUTER_NAME, lambda: f"{self._rng.getrandbits(128):032x}")
        machine = self._machine
        return RouterCore(
            pool,
            policy,
            Connector(self._dial, canary),
            machine.observer,
            self._nursery,
            self._rng.uniform,
            machine.list_keys,
            machine.disk,
            machine.list_sessions,
        )

    async def _leave_word(self) -> None:
        """Tell the next router how things are, as daemon/router.py does."""
        core, disk = self.core, self._machine.disk
        assert core.tenure is not None
        order = await core.tenure.stop()
        if order is not None and disk is not None:
            disk.locks_and_marks = write_legacy(core.ledger, order, trio.current_time())

    def _draw_word(self) -> str:
        return f"{self._rng.getrandbits(32):08x}"


def _wall_clock() -> float:
    return WALL + trio.current_time()
