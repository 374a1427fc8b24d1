"""Runs a scenario: a router, its servers, its web farm, and what goes wrong."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import trio

from partitioner.errors import Refused
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.pool import first_pool
from partitioner.net.canary import Canary
from partitioner.net.channel import Channel
from partitioner.net.connecting import Connector
from partitioner.net.conversation import Conversation
from partitioner.net.lane import Lane, LanePolicy
from partitioner.net.upstream import UpstreamPolicy
from partitioner.protocol.messages import Answer, Operation, RequestHead
from partitioner.protocol.target import server_key
from partitioner.sessions.session import Session
from tests.doubles.backends import ROUTER_NAME
from tests.doubles.clients import Client
from tests.doubles.network import Network, connection
from tests.doubles.routers import CONVERSATION
from tests.doubles.sessions import target
from tests.simulation.checker import BAD_COPY, NEVER, Violation, judge
from tests.simulation.dice import Dice, run_seeded
from tests.simulation.faults import Trouble
from tests.simulation.history import Exchange, History
from tests.simulation.scenario import Scenario, draw
from tests.simulation.stock import StockServer
from tests.simulation.telling import TellingObserver
from tests.simulation.web import END_A_LOCK, LONGEST_TIMEOUT, SHORTEST_TIMEOUT, Kind, WebServer

HEALTH = HealthPolicy()
LONGEST_WAIT = 300.0
"""Virtual seconds until a world without trouble must be redundant again."""

SETTLED = float("-inf")
AFTERMATH = 10.0
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


def simulate(seed: int, mutations: Sequence[str] = ()) -> Outcome:
    """Run the history of a seed and judge it; with these rules of the router broken."""
    from tests.simulation.mutations import broken

    scenario = draw(seed)
    with ExitStack() as stack:
        for name in mutations:
            stack.enter_context(broken(name))
        history = run_seeded(seed, lambda: World(scenario).run())
    return Outcome(scenario, history, judge(scenario, history))


class World:
    """One world, from its first moment to its last."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.history = History()
        self.backends: list[Backend] = []  # that are configured
        self.servers: dict[str, StockServer] = {}
        self.network: Network
        self.lane: Lane
        self._nursery: trio.Nursery
        self._router: trio.Nursery | None = None
        self._channels: list[Channel] = []
        self._pages = 0
        self._is_ending = False
        self._is_calm = False
        self._router_died_at = float("-inf")
        self._cut_off: set[int] = set()  # sessions that a dying router was at: nobody finishes their copies
        self._dice = Dice(scenario.seed, "world")

    async def run(self) -> History:
        """Live through the scenario; answer what the clients saw."""
        async with trio.open_nursery() as self._nursery:
            self.network = Network(self._nursery)
            for _ in range(self.scenario.servers):
                self.backends.append(self._new_server().backend)
            await self.router_begins(SETTLED if self.scenario.is_settled else None)
            self._nursery.start_soon(self._watch)
            async with trio.open_nursery() as working:
                for number in range(self.scenario.workers):
                    working.start_soon(self._work, number)
                await self._live_through_troubles()
                self._is_ending = True  # pages that have begun go on to their end
            await self._look_at_the_end()
            self._nursery.cancel_scope.cancel()
        return self.history

    def note(self, text: str) -> None:
        self.history.note(trio.current_time(), text)

    # --- the router ---

    async def router_begins(self, changed_at: float | None = None) -> None:
        """Start a router that knows nothing but its configuration."""
        started = trio.Event()
        self._nursery.start_soon(self._run_router, changed_at, started)
        await started.wait()

    async def _run_router(self, changed_at: float | None, started: trio.Event) -> None:
        async with trio.open_nursery() as background:
            began_at = trio.current_time() if changed_at is None else changed_at
            policy = LanePolicy(
                HEALTH,
                UpstreamPolicy(1.0, 10.0, 64),
                LedgerPolicy(SHORTEST_TIMEOUT, 3600.0, self.scenario.ledger),
                self.scenario.lost_sessions,
            )
            pool = first_pool(self.backends, HEALTH, self.scenario.copies, began_at)
            dice = Dice(self.scenario.seed, "router")
            canary = Canary(ROUTER_NAME, lambda: f"{dice.getrandbits(128):032x}")
            connector = Connector(self._dial, canary)
            self.lane = Lane(pool, policy, connector, TellingObserver(self.note), background, dice.uniform)
            await self.lane.probing.first_look()
            background.start_soon(self.lane.run)
            self._router = background
            started.set()
            await trio.sleep_forever()

    def router_dies(self) -> None:
        """End its process: every connection that it has is closed."""
        assert self._router is not None
        self._router.cancel_scope.cancel()
        self._router = None
        self._router_died_at = trio.current_time()
        self._cut_off |= {each.session for each in self.history.exchanges if each.ended_at is None}
        for channel in self._channels:
            channel.close()
        self._channels.clear()

    async def _dial(self, address: Address) -> Channel:
        channel = await self.network.dial(address)
        self._channels.append(channel)
        return channel

    def _connect(self) -> Client | None:
        if self._router is None:
            return None
        near, far = connection()
        conversation = Conversation(
            far.channel("web"), self.lane.router.respond, CONVERSATION, self.lane.observer
        )
        self._router.start_soon(conversation.run)
        return Client(near)

    # --- operators ---

    def set_intent(self, server: StockServer, intent: Intent) -> None:
        self.note(f"{server.backend.name} shall be {intent.value}")
        try:
            self.lane.roster.set_intent(server.backend.name, intent)
        except (Refused, KeyError) as refusal:  # of several things that happen at once
            self.note(f"refused: {refusal}")

    def adopt(self, backends: list[Backend]) -> None:
        """Reload with these backends."""
        self.note("the pool shall be " + ", ".join(f"{each.name}={each.weight:g}" for each in backends))
        try:
            self.lane.roster.adopt(backends)
            self.backends = backends
        except Refused as refusal:
            self.note(f"refused: {refusal}")

    def join(self) -> None:
        self.adopt([*self.backends, self._new_server().backend])

    def leave(self, server: StockServer) -> None:
        self.adopt([each for each in self.backends if each.name != server.backend.name])

    async def wait_until_redundant(self) -> None:
        """Wait until the next server may fail, and see whether it may.

        If that does not come, the history says so, and is judged for it.
        """
        await trio.sleep(AFTERMATH)
        await self._wait_until(self._is_redundant)
        if self.scenario.copies > 1:
            self.audit()

    async def wait_until_safe_to_stop(self, server: StockServer) -> None:
        """Wait until nothing is lost if this server stops; single copies have to move or expire first."""
        name, roster = server.backend.name, self.lane.roster

        def is_safe() -> bool:
            if self.scenario.copies == 1:
                return self._is_redundant()
            members = roster.pool.members.items()  # it may be removed meanwhile, and forgotten in the end
            identities = [each for each, member in members if member.backend.name == name]
            why_not = roster.redundancy.why_not_safe_to_stop
            return not any(why_not(each, trio.current_time()) for each in identities)

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
            pool, now = self.lane.roster.pool, trio.current_time()
            for number in self._known_sessions():
                key = server_key(target(number))
                marks = self.lane.ledger.marks(key)
                acting = pool.acting_set(self.lane.bookkeeper.placement_of(key), marks)
                if acting is None or not self.lane.gate.is_free(key):
                    continue
                primary, *copies = (
                    self._look_at(each, key, now) for each in (acting.primary, *acting.copies)
                )
                for identity, copy in zip(acting.copies, copies, strict=True):
                    if identity not in marks and primary and copy and copy.body != primary.body:
                        seen = f"{primary.body[:12]!r}, and on {identity} {copy.body[:12]!r}"
                        self.note(f"{BAD_COPY}: on {acting.primary} it is {seen}")

    def _known_sessions(self) -> list[int]:
        return [number for number in range(self.scenario.sessions) if number not in self._cut_off]

    def _look_at(self, identity: str, key: bytes, now: float) -> Session | None:
        return self.servers[self.lane.roster.pool.members[identity].backend.name].look_at(key, now)

    def audit(self) -> None:
        """Hold what the servers have against what the router says: of each session a good copy elsewhere."""
        pool, now = self.lane.roster.pool, trio.current_time()
        for number in self._known_sessions():
            key = server_key(target(number))
            acting = pool.acting_set(self.lane.bookkeeper.placement_of(key))
            if acting is None or not self.lane.gate.is_free(key):
                continue
            on = {
                identity: self.servers[each.backend.name].look_at(key, now)
                for identity, each in pool.members.items()
            }
            primary = on.pop(acting.primary)
            if primary is None or primary.expires_at < now + WINDOW:
                continue
            good = [
                identity
                for identity, session in on.items()
                if session is not None
                and pool.members[identity].is_readable
                and session.body == primary.body
                and session.expires_at >= primary.expires_at - WINDOW
            ]
            bad = [each for each in acting.copies if (copy := on[each]) and copy.body != primary.body]
            if bad or len(good) < min(len(acting.copies), 1):
                held = {each: session and session.body[:12] for each, session in on.items()}
                self.note(f"{BAD_COPY}: s{number} is {primary.body[:12]!r} on {acting.primary}, and {held}")

    def _is_redundant(self) -> bool:
        """Whether the router says that the next server may fail; of single copies, whether all are well."""
        roster, now = self.lane.roster, trio.current_time()
        if self.scenario.copies > 1:
            return roster.redundancy.redundant_since(now) is not None
        is_old = now - roster.pool.changed_at > self.lane.ledger.longest_life
        return is_old and self.lane.ledger.keys_marked == 0 and roster.pool.eligible == roster.pool.ready

    # --- servers ---

    def _new_server(self) -> StockServer:
        number = len(self.servers) + 1
        backend = Backend(f"state-{number}", Address(f"10.0.0.{number}", 42424))
        server = StockServer(self.network, backend, Dice(self.scenario.seed, backend.name))
        self.servers[backend.name] = server

        def tell(head: RequestHead, answer: Answer) -> None:
            if b"canary" not in head.target:
                number = int(head.target[-23:])
                cookie = "" if head.lock_cookie is None else f" cookie {head.lock_cookie}"
                self.note(
                    f"    {backend.name} s{number} {head.operation.value}{cookie} -> {answer.status.code}"
                    f" {answer.body[:12].decode('latin-1')}"
                    + ("" if answer.lock_cookie is None else f" cookie {answer.lock_cookie}")
                )

        server.on_applied = tell
        server.start()
        return server

    async def _live_through_troubles(self) -> None:
        async with trio.open_nursery() as nursery:
            for trouble in self.scenario.troubles:
                await trio.sleep(trouble.after)
                server, other = self._victims(trouble)
                self.note(f"{server.backend.name}: {trouble}")
                if self.scenario.overlap:
                    nursery.start_soon(trouble.happen, self, server, other)
                    continue
                await trouble.happen(self, server, other)
                self.note(f"{server.backend.name}: over")
                await self.wait_until_redundant()
                self.note("redundant again")
        await trio.sleep(self._dice.uniform(1.0, 5.0))

    def _victims(self, trouble: Trouble) -> tuple[StockServer, StockServer]:
        names = [each.name for each in self.backends]
        name = names.pop(int(trouble.server * len(names)))
        return self.servers[name], self.servers[names[int(trouble.other * len(names))]]

    # --- clients ---

    async def _work(self, number: int) -> None:
        """One of those who keep a web server busy with pages."""
        dice = Dice(self.scenario.seed, f"worker {number}")
        web = self._web_server(dice)
        web.versions, mix = number * 10_000, self.scenario.mix
        web.impatience, web.large_share = self.scenario.impatience, self.scenario.large_share
        while True:
            await trio.sleep(dice.expovariate(1 / self.scenario.pause) * (CALM if self._is_calm else 1.0))
            if self._is_ending:
                return
            (kind,) = dice.choices(list(mix), list(mix.values()))
            await web.run_page(self._next_page(), dice.randrange(self.scenario.sessions), kind)

    async def _look_at_the_end(self) -> None:
        """When all is well again, every session must be readable.

        A server that is not read yet may have a session that is missed, so all of them have to be.
        """
        await self.wait_until_redundant()
        await self._wait_until(lambda: self.lane.roster.pool.eligible == self.lane.roster.pool.ready)
        self.note("the end")
        web = self._web_server(Dice(self.scenario.seed, "the end"))
        web.versions = 1_000_000
        for session in range(self.scenario.sessions):
            await web.run_page(self._next_page(), session, Kind.SAVE)
            await web.run_page(self._next_page(), session, Kind.READ)

    def _web_server(self, dice: Dice) -> WebServer:
        web = WebServer(self._connect, self.history, dice, self.scenario.timeouts)
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
        if self._router is None and exchange.operation in END_A_LOCK:
            self.history.crashed_pages.add(exchange.page)

    def _next_page(self) -> int:
        self._pages += 1
        return self._pages

    def _look_for_good_copies(self, exchange: Exchange) -> None:
        """Of a session that was not found, note who had it and could have been asked."""
        if exchange.status != 404 or exchange.operation not in (Operation.GET, Operation.ACQUIRE):
            return
        key, now = server_key(target(exchange.session)), trio.current_time()
        marks = self.lane.ledger.marks(key)
        found = []
        for identity, member in self.lane.roster.pool.members.items():
            server = self.servers[member.backend.name]
            is_there = server.look_at(key, now) is not None
            is_good = member.is_readable and now - member.record.since > GOOD_FOR and identity not in marks
            if is_there and is_good and server.is_running and not server.is_frozen:
                found.append(identity)
        exchange.good_copies = tuple(found)
