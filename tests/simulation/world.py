"""Runs a scenario: a router, its servers, its web farm, and what goes wrong."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import trio

from partitioner.errors import ListingFailed, NoBackendLeft, Refused
from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.ops.fanout import Fanout
from partitioner.protocol.messages import Answer, Operation, RequestHead
from partitioner.protocol.target import server_key
from partitioner.routing.core import RouterCore
from partitioner.routing.drain import Page
from partitioner.routing.inventory import InventoryPage
from partitioner.sessions.session import Session
from tests.doubles.clients import Client
from tests.doubles.network import Network
from tests.doubles.sessions import target
from tests.simulation.checker import BAD_COPY, NEVER, Violation, judge
from tests.simulation.faults import Trouble
from tests.simulation.history import Exchange, History
from tests.simulation.observers import ClaimObserver, HistoryObserver
from tests.simulation.pausing import Pauses
from tests.simulation.reloads import another_spelling
from tests.simulation.router import Disk, Machine, RouterProcess
from tests.simulation.scenario import Scenario, draw
from tests.simulation.seeded import ActorRandom, run_seeded
from tests.simulation.stock_server import OWN_ITEMS, StockServer
from tests.simulation.web import END_A_LOCK, LARGE, LONGEST_TIMEOUT, Kind, WebServer

LONGEST_WAIT = 300.0
"""Virtual seconds until a world without trouble must be redundant again."""

SETTLED = float("-inf")
COOL_DOWN = 10.0
"""Seconds after a trouble in which pages come as often as before; then there is only waiting left."""

WINDOW = LONGEST_TIMEOUT / 20 + 1.0
"""Seconds by which a copy may lag behind its primary's expiry, until it is touched (design.md 7.2)."""

CALM = 5.0
"""How many times longer the pauses between pages are then."""

AUDIT_INTERVAL = 0.7

GOOD_FOR = 10.0
"""Seconds for which a server must have been up before a session of it that is not found is called a lie."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A history and the judgement on it."""

    scenario: Scenario
    history: History
    violations: tuple[Violation, ...]


def simulate(
    seed: int, mutations: Sequence[str] = (), theme: str | None = None, *, is_told: bool = True
) -> Outcome:
    """Run the history of a seed and judge it; with these rules of the router broken.

    A history that is not told has the exchanges and what is judged, and no word on what happened inside.
    """
    from tests.simulation.mutations import broken

    scenario = draw(seed, theme)
    with ExitStack() as stack:
        for name in mutations:
            stack.enter_context(broken(name))
        history = run_seeded(seed, lambda: World(scenario, is_told=is_told).run())
    return Outcome(scenario, history, judge(scenario, history))


class World:
    """One world, from its first moment to its last."""

    def __init__(self, scenario: Scenario, *, is_told: bool = True) -> None:
        """`is_told`: what servers and routers do is noted as well, for somebody to read."""
        self.scenario = scenario
        self.history = History()
        self.backends: list[Backend] = []  # that are configured
        self.copies = scenario.copies
        self.servers: dict[str, StockServer] = {}
        self.network: Network
        self.core: RouterCore  # of the router that clients connect to, or have connected to last
        self.router: RouterProcess
        self.standby: RouterProcess | None = None
        self.disk = Disk() if scenario.has_disk else None
        self.rng = ActorRandom(scenario.seed, "operator")
        self._is_told = is_told
        self._nursery: trio.Nursery
        self._pauses: Pauses
        self._processes: list[RouterProcess] = []
        self._pages = 0
        self._addresses = 0
        self._is_ending = False
        self._is_calm = False
        self._router_died_at = float("-inf")
        self._rng = ActorRandom(scenario.seed, "world")

    async def run(self) -> History:
        """Live through the scenario; return what the clients saw."""
        async with trio.open_nursery() as self._nursery:
            self.network, self._pauses = Network(self._nursery), Pauses()
            for _ in range(self.scenario.servers):
                self.backends.append(self.new_server())
            await self.router_begins(SETTLED if self.scenario.is_settled else None)
            self._nursery.start_soon(self._watch)
            async with trio.open_nursery() as working:
                for number in range(self.scenario.workers):
                    working.start_soon(self._work, number)
                await self._live_through_troubles()
                self._is_ending = True  # pages that have begun go on to their end
            await self._look_at_the_end()
            for process in self._processes:
                process.resume()
            self._nursery.cancel_scope.cancel()
        return self.history

    def note(self, text: str) -> None:
        self.history.note(trio.current_time(), text)

    def tell(self, text: str) -> None:
        """Note what nobody judges."""
        if self._is_told:
            self.note(text)

    # --- routers ---

    async def router_begins(self, changed_at: float | None = None) -> None:
        """Start a router that knows its configuration and its disk, and have clients connect to it."""
        self._be_active(await self._new_router(self.disk, changed_at))

    async def standby_begins(self) -> None:
        """Start a router beside the other one, on a machine of its own, to which no client connects yet."""
        self.standby = await self._new_router(Disk() if self.scenario.has_disk else None)

    def standby_takes_over(self) -> None:
        """Have clients connect to the standby from now on; what is connected stays where it is."""
        assert self.standby is not None
        self.router, self.standby = self.standby, self.router
        self._be_active(self.router)

    async def router_stops(self) -> None:
        """Stop the router in order."""
        await self.router.stop()
        self._router_died_at = trio.current_time()

    def router_crashes(self) -> None:
        """End the process of the router: every connection that it has is closed."""
        self._router_died_at = trio.current_time()
        self.history.cut_off |= {each.session for each in self.history.exchanges if each.ended_at is None}
        self.router.crash()

    async def _new_router(self, disk: Disk | None, changed_at: float | None = None) -> RouterProcess:
        number = len(self._processes) + 1
        told = (HistoryObserver(self.note),) if self._is_told else ()
        observer = Fanout(ClaimObserver(self.history.claims), *told)
        list_sessions = self._list_sessions if self.scenario.is_healed else None
        machine = Machine(self.network, self._pauses, disk, observer, self._list_keys, list_sessions)
        process = RouterProcess("router" if number == 1 else f"router {number}", machine, self.scenario)
        self._processes.append(process)
        started = trio.Event()
        self._nursery.start_soon(process.run, tuple(self.backends), self.copies, changed_at, started)
        await started.wait()
        return process

    def _be_active(self, process: RouterProcess) -> None:
        self.router, self.core = process, process.core

    def _connect(self) -> Client | None:
        return self.router.connect()

    async def _list_keys(self, admin: Address, cursor: str | None) -> Page:
        server = self.maybe_server_at(admin)
        if server is None:
            raise ListingFailed("nobody listens there")
        return await server.list_keys(cursor)

    async def _list_sessions(self, admin: Address, first: bytes) -> InventoryPage:
        server = self.maybe_server_at(admin)
        if server is None:
            raise ListingFailed("nobody listens there")
        return await server.list_sessions(first)

    # --- operators ---

    def set_intent(self, server: StockServer, intent: Intent) -> None:
        self.note(f"{server.name} shall be {intent.value}")
        entry = self.maybe_entry_of(server)
        if entry is None:
            return
        for process in self._running():
            try:
                process.core.roster.set_intent(entry.name, intent)
            except (Refused, KeyError) as refusal:  # of several things that happen at once
                self.note(f"refused: {refusal}")

    def adopt(self, backends: list[Backend], copies: int | None = None) -> None:
        """Reload with these backends, and so many copies."""
        entries = ", ".join(f"{each.name}={each.weight:g}@{each.address}" for each in backends)
        self.note(f"the pool shall be {entries}; copies {copies or self.copies}")
        for process in self._running():
            try:
                process.core.roster.adopt(backends, copies)
            except Refused as refusal:
                self.note(f"refused: {refusal}")
                return
        self.backends = backends
        self.copies = self.copies if copies is None else copies

    def join(self) -> None:
        self.adopt([*self.backends, self.new_server()])

    def leave(self, server: StockServer) -> None:
        self.adopt([each for each in self.backends if self.server_of(each) is not server])

    def server_of(self, backend: Backend) -> StockServer:
        """The server that an entry of the configuration leads to."""
        server = self.maybe_server_at(backend.address)
        assert server is not None
        return server

    def maybe_server_at(self, address: Address) -> StockServer | None:
        """The server that can be found at an address, however that is spelt; None if there is none."""
        address = self.network.resolve(address)
        return next((each for each in self.servers.values() if each.address == address), None)

    def maybe_entry_of(self, server: StockServer) -> Backend | None:
        """The first entry of the configuration that leads to a server; None if there is none."""
        return next((each for each in self.backends if self.maybe_server_at(each.address) is server), None)

    def leads_to(self, backend: Backend, server: StockServer) -> bool:
        """Whether an entry of the configuration leads to a server."""
        return self.maybe_server_at(backend.address) is server

    def spelling_of(self, server: StockServer) -> Address:
        """Another way to spell the address of a server."""
        spelt = another_spelling(server.address)
        self.network.alias(spelt, server.address)
        return spelt

    def new_address(self) -> Address:
        """An address at which nothing has been yet."""
        self._addresses += 1
        return Address(f"10.0.1.{self._addresses}", 42424)

    def has_spare(self) -> bool:
        """Whether a server may leave."""
        return len(self.backends) > max(2, self.copies)

    def is_read(self, server: StockServer) -> bool:
        """Whether the router reads a server of the configuration."""
        entry, pool = self.maybe_entry_of(server), self.core.roster.pool
        return entry is not None and pool.places[entry.name] in pool.eligible

    def _running(self) -> list[RouterProcess]:
        return [each for each in self._processes if each.is_running]

    async def wait_until_redundant(self) -> None:
        """Wait until the next server may fail, and see whether it may.

        If that does not come, the history says so, and is judged for it.
        """
        await trio.sleep(COOL_DOWN)
        if self.scenario.is_short:
            return
        await self._wait_until(self._is_redundant)
        if self.copies > 1:
            self.audit()

    async def wait_until_safe_to_stop(self, server: StockServer) -> None:
        """Wait until nothing is lost if this server stops; single copies have to move or expire first."""
        entry, roster = self.maybe_entry_of(server), self.core.roster
        name = "" if entry is None else entry.name

        def is_safe() -> bool:
            if self.copies == 1:
                return self._is_redundant()
            members = roster.pool.members.items()  # it may be removed meanwhile, and forgotten in the end
            identities = [each for each, member in members if member.backend.name == name]
            why_not = roster.redundancy.why_not_safe_to_stop
            return not any(why_not((each,), trio.current_time()) for each in identities)

        await self._wait_until(is_safe)

    async def _wait_until(self, is_so: Callable[[], bool]) -> None:
        give_up_at = trio.current_time() + LONGEST_WAIT
        self._is_calm = True
        while not is_so():
            if trio.current_time() > give_up_at:
                self.note(NEVER)
                break
            await trio.sleep(1.0)
        self._is_calm = False

    async def _watch(self) -> None:
        """Again and again: whoever is written for a session, and may be read, has what its primary has."""
        while True:
            await trio.sleep(AUDIT_INTERVAL)
            if not self._is_active():
                continue
            pool, now = self.core.roster.pool, trio.current_time()
            for number in self._known_sessions():
                key = server_key(target(number))
                marks = self.core.ledger.marks(key)
                acting = pool.acting_set(self.core.ledger_keeper.placement_of(key), marks)
                if acting is None or not self.core.gate.is_free(key):
                    continue
                if not pool.members[acting.primary].is_readable:
                    continue  # it has not been seen since the router's start, and answers nobody yet
                primary, *copies = (
                    self._look_at(each, key, now) for each in (acting.primary, *acting.copies)
                )
                for identity, copy in zip(acting.copies, copies, strict=True):
                    if identity not in marks and primary and copy and copy.body != primary.body:
                        seen = f"{primary.body[:12]!r}, and on {identity} {copy.body[:12]!r}"
                        self.note(f"{BAD_COPY}: on {acting.primary} it is {seen}")

    def _is_active(self) -> bool:
        """Whether the router that clients connect to is the active one; a standby knows nothing."""
        return self.core.tenure is not None and self.core.tenure.is_active

    def _known_sessions(self) -> list[int]:
        return [number for number in range(self.scenario.sessions) if number not in self.history.cut_off]

    def _look_at(self, identity: BackendId, key: bytes, now: float) -> Session | None:
        server = self.maybe_server_at(self.core.roster.pool.members[identity].backend.address)
        return None if server is None or now < server.old_until else server.look_at(key, now)

    def audit(self) -> None:
        """Hold what the servers have against what the router says: of each session a good copy elsewhere.

        A session whose time-out has passed since a client asked for it last is over. Its primary may have it
        still, because its clock stood still or because repair has asked for it; copies are not owed then.
        """
        pool, now = self.core.roster.pool, trio.current_time()
        for number in self._known_sessions():
            key = server_key(target(number))
            acting = pool.acting_set(self.core.ledger_keeper.placement_of(key))
            if acting is None or not self.core.gate.is_free(key):
                continue
            on = {identity: self._look_at(identity, key, now) for identity in pool.members}
            primary = on.pop(acting.primary)
            if primary is None or primary.expires_at < now + WINDOW:
                continue
            lives_until = self._last_asked_at(number) + 60.0 * primary.timeout_minutes
            if lives_until < now + WINDOW:
                continue
            good = [
                identity
                for identity, session in on.items()
                if session is not None
                and pool.members[identity].is_readable
                and session.body == primary.body
                and session.expires_at >= min(primary.expires_at, lives_until) - WINDOW
            ]
            bad = [each for each in acting.copies if (copy := on[each]) and copy.body != primary.body]
            if bad or len(good) < min(len(acting.copies), 1):
                held = {each: session and session.body[:12] for each, session in on.items()}
                self.note(f"{BAD_COPY}: s{number} is {primary.body[:12]!r} on {acting.primary}, and {held}")

    def _last_asked_at(self, session: int) -> float:
        """When a client's last exchange of this session ended, whatever came of it."""
        now = trio.current_time()
        asked = [each.ended_at or now for each in self.history.exchanges if each.session == session]
        return max(asked, default=float("-inf"))

    def _is_redundant(self) -> bool:
        """Whether the router says that the next server may fail; of single copies, whether all are well."""
        roster, now = self.core.roster, trio.current_time()
        if self.copies > 1:
            return roster.redundancy.redundant_since(now) is not None
        is_old = now - roster.pool.changed_at > self.core.ledger.longest_life
        return is_old and self.core.ledger.keys_marked == 0 and roster.pool.eligible == roster.pool.ready

    # --- servers ---

    def new_server(self) -> Backend:
        """Start one more server; the entry that it has in a configuration."""
        number = len(self.servers) + 1
        name, address = f"state-{number}", Address(f"10.0.0.{number}", 42424)
        server = StockServer(self.network, name, address, ActorRandom(self.scenario.seed, name))
        self.servers[name] = server
        if self._is_told:
            server.on_applied = lambda head, answer: self._note_applied(name, head, answer)
        server.start()
        return Backend(name, address, admin=address if self.scenario.is_listed else None)

    def _note_applied(self, name: str, head: RequestHead, answer: Answer) -> None:
        if OWN_ITEMS in head.target:
            return
        number = int(head.target[-23:])
        cookie = "" if head.lock_cookie is None else f" cookie {head.lock_cookie}"
        granted = "" if answer.lock_cookie is None else f" cookie {answer.lock_cookie}"
        self.note(
            f"    {name} s{number} {head.operation.value}{cookie} -> {answer.status.code}"
            f" {answer.body[:12].decode('latin-1')}{granted}"
        )

    async def _live_through_troubles(self) -> None:
        async with trio.open_nursery() as nursery:
            for trouble in self.scenario.troubles:
                await trio.sleep(trouble.after)
                began_at = trio.current_time()
                server, other = self._victims(trouble)
                self.note(f"{server.name}: {trouble}")
                if self.scenario.overlap:
                    nursery.start_soon(trouble.happen, self, server, other)
                    continue
                await trouble.happen(self, server, other)
                self.note(f"{server.name}: over")
                await self.wait_until_redundant()
                self.note("redundant again")
                if not trouble.is_harmless:
                    lasted = (began_at, trio.current_time())
                    self.history.failures.append(lasted)
                    if self.scenario.copies == 1:
                        self.history.beyond.append(lasted)
        await trio.sleep(self._rng.uniform(1.0, 5.0))

    def _victims(self, trouble: Trouble) -> tuple[StockServer, StockServer]:
        """The server that a trouble is about, and another one; in a pool of one it is the same."""
        servers = list(dict.fromkeys(self.server_of(each) for each in self.backends))
        server = servers.pop(int(trouble.server * len(servers)))
        return server, servers[int(trouble.other * len(servers))] if servers else server

    # --- clients ---

    async def _work(self, number: int) -> None:
        """One of those who keep a web server busy with pages."""
        rng = ActorRandom(self.scenario.seed, f"worker {number}")
        web = self._web_server(rng)
        web.versions, mix = number * 10_000, self.scenario.mix
        web.impatience, web.large_share = self.scenario.impatience, self.scenario.large_share
        if self.scenario.body_memory < LARGE:  # the flag of a new session of that size may get lost
            web.largest_new = self.scenario.body_memory
        while True:
            await trio.sleep(rng.expovariate(1 / self.scenario.pause) * (CALM if self._is_calm else 1.0))
            if self._is_ending:
                return
            (kind,) = rng.choices(list(mix), list(mix.values()))
            await web.run_page(self._next_page(), rng.randrange(self.scenario.sessions), kind)

    async def _look_at_the_end(self) -> None:
        """When all is well again, every session must be readable.

        A server that is not read yet may have a session that is missed, so all of them have to be; and locks
        of a router before this one may be on servers that have lost them (design.md 7.7).
        """
        tenure = self.core.tenure
        assert tenure is not None
        while not tenure.is_active:
            with suppress(NoBackendLeft):
                await tenure.claim("the end")
            await trio.sleep(1.0)
        await self._wait_until(lambda: tenure.maybe_quarantine() is None)
        await self.wait_until_redundant()
        await self._wait_until(lambda: self.core.roster.pool.eligible == self.core.roster.pool.ready)
        self.note("the end")
        web = self._web_server(ActorRandom(self.scenario.seed, "the end"))
        web.versions = 1_000_000
        for session in range(self.scenario.sessions):
            await web.run_page(self._next_page(), session, Kind.SAVE)
            await web.run_page(self._next_page(), session, Kind.READ)

    def _web_server(self, rng: ActorRandom) -> WebServer:
        web = WebServer(self._connect, self.history, rng, self.scenario.timeouts)
        web.on_answer = self._look_for_good_copies
        web.on_failure = self._note_crashed
        return web

    def _note_crashed(self, exchange: Exchange) -> None:
        """A page that finds no router when it wants to unlock its session leaves it locked.

        So may one whose lock was just being granted when the router died.
        """
        had_begun = exchange.began_at <= self._router_died_at
        if had_begun and exchange.operation in (*END_A_LOCK, Operation.ACQUIRE):
            self.history.crashed_pages.add(exchange.page)
        if not self.router.is_running and exchange.operation in END_A_LOCK:
            self.history.crashed_pages.add(exchange.page)

    def _next_page(self) -> int:
        self._pages += 1
        return self._pages

    def _look_for_good_copies(self, exchange: Exchange) -> None:
        """Of a session that was not found, note who had it and could have been asked."""
        if exchange.status != 404 or exchange.operation not in (Operation.GET, Operation.ACQUIRE):
            return
        key, now = server_key(target(exchange.session)), trio.current_time()
        marks = self.core.ledger.marks(key)
        found = []
        for identity, member in self.core.roster.pool.members.items():
            server = self.maybe_server_at(member.backend.address)
            if server is None:
                continue
            is_there = server.look_at(key, now) is not None
            is_good = member.is_readable and now - member.record.since > GOOD_FOR and identity not in marks
            if is_there and is_good and server.is_running and not server.is_frozen:
                found.append(identity)
        exchange.good_copies = tuple(found)
