"""Web servers at work on state servers with a store; what they saw is judged by the simulation's checker."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, cycle

import trio

from partitioner.membership.backend import Address
from tests.doubles.clients import Client
from tests.end_to_end.kills.run import Expected
from tests.end_to_end.kills.wire import Wire
from tests.simulation.checker import Violation, judge
from tests.simulation.history import Exchange, History
from tests.simulation.seeded import ActorRandom
from tests.simulation.web import ORDINARY, Kind, WebServer

_KINDS = {kind: weight for kind, weight in ORDINARY.items() if kind is not Kind.CRASH}


@dataclass(frozen=True)
class LoadPlan:
    """How much is asked. Times are seconds."""

    sessions: int = 40
    workers: int = 12
    pause: float = 0.02  # between two pages of a worker, on average
    longest_work: float = 0.5
    execution_timeout: float = 20.0
    calm: float = 0.5  # of work before and after each fault
    seed: int = 0


@dataclass
class StoreLoad:
    """Workers who run pages, one after the other, on sessions drawn at random."""

    ports: Sequence[int]  # of state servers; connections go to them in turn
    plan: LoadPlan

    def __post_init__(self) -> None:
        self.history = History()
        self.failed: list[Exchange] = []
        self._pages = count(1)
        self._web_servers = count(1)
        self._turns = cycle(self.ports)
        self._wires: list[Wire] = []
        self._is_ending = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Create all sessions, and then work until `end` is called."""
        await self._visit_all(Kind.SAVE)
        async with trio.open_nursery() as working:
            for number in range(self.plan.workers):
                working.start_soon(self._work, number)
            task_status.started()

    def end(self) -> None:
        self._is_ending = True

    async def look_at_all(self) -> None:
        """When all is well: save, and read, every session."""
        self.history.note(trio.current_time(), "the end")
        await self._visit_all(Kind.SAVE)
        await self._visit_all(Kind.READ)

    def close(self) -> None:
        for wire in self._wires:
            wire.close()

    def violations(self) -> tuple[Violation, ...]:
        return judge(Expected(), self.history, self.plan.execution_timeout)

    @property
    def slowest(self) -> float:
        """Seconds that the slowest answered exchange took."""
        times = [each.ended_at - each.began_at for each in self.history.exchanges if each.ended_at]
        return max(times, default=0.0)

    async def _visit_all(self, kind: Kind) -> None:
        sessions = iter(range(self.plan.sessions))

        async def visit() -> None:
            web = self._web_server()
            for session in sessions:
                await web.run_page(next(self._pages), session, kind)

        async with trio.open_nursery() as visiting:
            for _ in range(4):
                visiting.start_soon(visit)

    async def _work(self, number: int) -> None:
        web, dice = self._web_server(), ActorRandom(self.plan.seed, f"worker {number}")
        while not self._is_ending:
            await trio.sleep(dice.expovariate(1 / self.plan.pause))
            (kind,) = dice.choices(list(_KINDS), list(_KINDS.values()))
            await web.run_page(next(self._pages), dice.randrange(self.plan.sessions), kind)

    def _web_server(self) -> WebServer:
        number = next(self._web_servers)
        web = WebServer(self._connect, self.history, ActorRandom(self.plan.seed, f"web server {number}"))
        web.versions = number * 1_000_000
        web.longest_work = self.plan.longest_work
        web.execution_timeout = self.plan.execution_timeout
        web.on_failure = self.failed.append
        return web

    def _connect(self) -> Client:
        wire = Wire(Address("127.0.0.1", next(self._turns)))
        self._wires.append(wire)
        return Client(wire)
