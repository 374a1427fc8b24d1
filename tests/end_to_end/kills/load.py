"""Everybody who uses the sessions of a run, each over connections of its own.

workers     run pages, one after the other, on sessions drawn at random
touchers    read every session once in each round, so that none is left untouched for long
reloaders   a user whose page has failed asks again at once, and until there is an answer: that is
            how it is known for how long a session was out of reach
"""

from dataclasses import dataclass
from itertools import count

import trio

from partitioner.protocol.messages import Operation
from tests.doubles.clients import Client
from tests.end_to_end.kills.site import Site
from tests.end_to_end.kills.wire import Wire
from tests.simulation.history import Exchange, History
from tests.simulation.seeded import ActorRandom
from tests.simulation.web import END_A_LOCK, ORDINARY, Kind, Page, WebServer

HEARTBEAT = 0.05
RELOAD_AFTER = 0.1
RELOAD_FOR = 60.0
"""Seconds between two tries of a user whose page has failed, and until such a user goes home."""

_NO_CRASHES = {kind: weight for kind, weight in ORDINARY.items() if kind is not Kind.CRASH}
"""The lock of a dead web server is broken by the next page, and among many sessions that may be longer
than T_max. The simulation has such crashes."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How much is asked. Times are seconds."""

    sessions: int
    workers: int
    pause: float  # of a worker between two pages, on average
    touchers: int
    round: float  # in which every session is touched once
    touch_saves: bool  # what is there is saved, not only read
    longest_work: float  # of one page in ten; the others work for half a second at most
    execution_timeout: float


class Load:
    """The users of a site; what they saw is in the history."""

    def __init__(self, plan: LoadPlan, site: Site, seed: int) -> None:
        self.history = History()
        self.closed = 0  # exchanges, so far
        self.lateness: list[tuple[float, float]] = []  # when the heart beat, and how much too late
        self._plan = plan
        self._site = site
        self._seed = seed
        self._pages = count(1)
        self._web_servers = count(1)
        self._is_ending = False
        self._reloading: set[int] = set()  # sessions
        self._wires: list[Wire] = []
        self._nursery: trio.Nursery
        self._touched = 0
        self._touch_at = 0.0

    async def create(self) -> None:
        """Make all sessions exist."""
        await self._visit_all(Kind.SAVE)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until `end` is called; pages under way are finished then."""
        self._touch_at = trio.current_time()
        async with trio.open_nursery() as self._nursery:
            for number in range(self._plan.workers):
                self._nursery.start_soon(self._work, number)
            for _ in range(self._plan.touchers):
                self._nursery.start_soon(self._touch)
            self._nursery.start_soon(self._beat)
            task_status.started()

    async def wait_for_rounds(self, count: int) -> None:
        """Wait until every session has been touched so many times from now on."""
        wanted = self._touched + count * self._plan.sessions
        while self._touched < wanted:
            await trio.sleep(self._plan.round / 10)

    def end(self) -> None:
        self._is_ending = True

    async def look_at_all(self) -> None:
        """When all is well: save, and read, every session."""
        self.history.note(trio.current_time(), "the end")
        await self._visit_all(Kind.SAVE)
        await self._visit_all(Kind.READ)

    def close(self) -> None:
        """Close all connections there have been."""
        for wire in self._wires:
            wire.close()

    async def _visit_all(self, kind: Kind) -> None:
        sessions = iter(range(self._plan.sessions))

        async def visit() -> None:
            web = self._web_server()
            for session in sessions:
                await web.run_page(next(self._pages), session, kind)

        async with trio.open_nursery() as self._nursery:
            for _ in range(self._plan.workers):
                self._nursery.start_soon(visit)

    # --- who uses the sessions ---

    async def _work(self, number: int) -> None:
        web, rng = self._web_server(), ActorRandom(self._seed, f"worker {number}")
        while not self._is_ending:
            await trio.sleep(rng.expovariate(1 / self._plan.pause))
            (kind,) = rng.choices(list(_NO_CRASHES), list(_NO_CRASHES.values()))
            await web.run_page(next(self._pages), rng.randrange(self._plan.sessions), kind)

    async def _touch(self) -> None:
        web = self._web_server()
        interval = self._plan.round / self._plan.sessions
        while not self._is_ending:
            session = self._touched % self._plan.sessions
            self._touched += 1
            # What was missed while all touchers waited for a frozen server is not caught up with.
            self._touch_at = max(self._touch_at + interval, trio.current_time())
            await trio.sleep_until(self._touch_at)
            page = Page(web, next(self._pages), session)
            reply = await page.ask(Operation.GET)
            if self._plan.touch_saves and reply is not None and reply.status in (200, 423):
                cookie = await page.open()
                if cookie:
                    await page.save(cookie)

    async def _reload(self, session: int) -> None:
        web = self._web_server()
        with trio.move_on_after(RELOAD_FOR):
            reply = None
            while reply is None:
                await trio.sleep(RELOAD_AFTER)
                reply = await Page(web, next(self._pages), session).poll(Operation.GET)
        self._reloading.discard(session)

    async def _beat(self) -> None:
        """See how late a process of this machine may be that wants to do something."""
        while not self._is_ending:
            due_at = trio.current_time() + HEARTBEAT
            await trio.sleep_until(due_at)
            now = trio.current_time()
            self.lateness.append((now, now - due_at))

    # --- what they have in common ---

    def _web_server(self) -> WebServer:
        number = next(self._web_servers)
        web = WebServer(self._connect, self.history, ActorRandom(self._seed, f"web server {number}"))
        web.versions = number * 1_000_000
        web.longest_work = self._plan.longest_work
        web.execution_timeout = self._plan.execution_timeout
        web.on_failure = self._note_failed
        return web

    def _connect(self) -> Client:
        wire = Wire(self._site.address)
        self._wires.append(wire)
        return Client(wire)

    def _note_failed(self, exchange: Exchange) -> None:
        self.closed += 1
        if self._leaves_its_lock(exchange):
            self.history.crashed_pages.add(exchange.page)
        if exchange.session not in self._reloading:
            self._reloading.add(exchange.session)
            self._nursery.start_soon(self._reload, exchange.session)

    def _leaves_its_lock(self, exchange: Exchange) -> bool:
        """Whether the router died while it had to do with a lock of this page, so that no page ends it."""
        was_asked_before = exchange.began_at <= self._site.router_died_at
        if exchange.operation in END_A_LOCK:
            return was_asked_before or self._site.router_is_down
        return exchange.operation is Operation.ACQUIRE and was_asked_before
