"""/metrics: all that the catalogue names and nothing else, and true (design.md 9.4)."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from trio.testing import MockClock

from partitioner.membership.backend import Address, Backend, Intent
from partitioner.net.downstream import Downstream, DownstreamPolicy
from partitioner.net.handoff import Page
from partitioner.net.stateserver import StateServer
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.keys_app import keys_app
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.metrics.catalog import EMBEDDING_ROUTER, PROCESS, ROUTER, STATE_SERVER, Kind, Metric
from partitioner.ops.metrics.collector import SAMPLES_AT_A_TIME, TableCollector
from partitioner.ops.metrics.exposition import LINES_AT_A_TIME, write_page
from partitioner.ops.metrics.readings import state_server_reading
from partitioner.ops.metrics.router_readings import RouterReading, backend_labels
from partitioner.ops.metrics.tally import Tally
from partitioner.protocol.messages import Operation
from partitioner.sessions.table import SessionTable
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import CONVERSATION, MemoryRouter
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, SET, request, whole
from tests.ops.admin.asking import Operator
from tests.ops.admin.desks import desk_of
from tests.ops.metrics.pages import MetricsPage

POLICY = DownstreamPolicy((ip_network("127.0.0.0/8"),), 500, CONVERSATION)
SET_HEAD = whole(SET, 0.0).head
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Site:
    """A router in front of state servers, and the page that Prometheus reads of it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        servers: int = 3,
        *,
        copies: int = 2,
        listed: bool = False,
        embedded: dict[Address, SessionTable] | None = None,
    ) -> None:
        self.tally = Tally(clock=lambda: 1234.5)
        self.router = MemoryRouter(nursery, servers, copies=copies, listed=listed, watcher=self.tally)
        self.lane, self.roster = self.router.lane, self.router.roster
        network = self.router.network
        self.servers = [MemoryStateServer(network, each.address) for each in self.router.backends]
        self.not_served: tuple[str, ...] = ()
        desk = desk_of(self.lane, why_not_served=lambda: self.not_served, reload=self._reload)
        downstream = Downstream(self.router.router.respond, POLICY, self.router.observer)
        reading = RouterReading(self.lane, downstream, self.tally, desk.why_not_ready, embedded or {})
        metrics = EMBEDDING_ROUTER if embedded else ROUTER
        self.collector = TableCollector(metrics, reading)
        access = AccessPolicy(is_loopback=True)
        self.operator = Operator(router_app(desk, access, metrics_route(self.collector)))

    async def scrape(self) -> MetricsPage:
        answer = await self.operator.get("/metrics")
        assert (200, "text/plain; version=0.0.4; charset=utf-8") == (
            answer.status_code,
            answer.headers["content-type"],
        )
        return MetricsPage(answer.text)

    async def ask(self, *asked: bytes) -> None:
        """Have a client ask one thing after the other."""
        client = self.router.client()
        for each in asked:
            await client.ask(each)
        client.leave()

    async def _reload(self) -> object:
        raise AssertionError("nobody reloads over this desk")


def declared(metrics: tuple[Metric, ...]) -> dict[str, tuple[str, str]]:
    """What a page must declare: types and help texts. In the text format an info is a gauge."""
    types = {each.full_name: "gauge" if each.kind is Kind.INFO else each.kind.value for each in metrics}
    return {each.full_name.removesuffix("_total"): (types[each.full_name], each.help) for each in metrics}


def labels_of(metrics: tuple[Metric, ...]) -> dict[str, set[str]]:
    """The labels of each metric's series."""
    return {each.full_name: set(each.labels) for each in metrics}


def shown_labels(page: MetricsPage) -> dict[str, set[str]]:
    """The labels that the series on a page have; of a histogram without the bounds."""
    shown: dict[str, set[str]] = {}
    for family in page.families:
        for sample in family.samples:
            name = family.name if family.type == "histogram" else sample.name
            found = set(sample.labels) - {"le"}
            assert shown.setdefault(name, found) == found
    return {name: labels for name, labels in shown.items() if not name.startswith("process_")}


def check_catalogue(page: MetricsPage, metrics: tuple[Metric, ...]) -> None:
    """Every metric of the catalogue with its type, help and labels; and what is told of the process."""
    found = {family.name: (family.type, family.documentation) for family in page.families}
    process = {name for name in found if name.startswith("process_")}

    assert declared(metrics) == {name: each for name, each in found.items() if name not in process}
    assert labels_of(metrics) == shown_labels(page)
    assert {name.removesuffix("_total") for name in PROCESS} == process


async def test_a_router_shows_the_catalogue(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each metric with its type, its help and its labels, and nothing else but the process's own."""
    site = Site(nursery, listed=True)

    async def page(cursor: str | None) -> Page:
        return Page((), None, 5)

    site.router.listings = {each.address: page for each in site.router.backends}
    await site.router.probe_on()
    site.roster.set_intent("state-1", Intent.DRAIN)
    await trio.sleep(1)

    check_catalogue(await site.scrape(), ROUTER)


async def test_an_embedding_router_shows_what_its_servers_hold(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The sum of all its tables, beside the rest."""
    tables = {Address("127.0.0.1", port): SessionTable() for port in (1, 2)}
    site = Site(nursery, embedded=tables)
    for table in tables.values():
        table.apply(SET_HEAD, b"key", CONTENT, 0.0)
    page = await site.scrape()

    assert (2, 2 * next(iter(tables.values())).used_memory, 0) == (
        page.value("sessions"),
        page.value("session_bytes"),
        page.value("session_bytes_limit"),
    )


async def test_a_state_server_shows_the_catalogue(autojump_clock: MockClock) -> None:
    """Its sessions, and how its clients are served."""
    table, tally = SessionTable(10_000), Tally()
    table.apply(SET_HEAD, b"key", CONTENT, 0.0)
    server = StateServer(table, tally)
    downstream = Downstream(server.respond, POLICY, tally)
    collector = TableCollector(STATE_SERVER, state_server_reading(tally, downstream, table))
    operator = Operator(keys_app(table, AccessPolicy(is_loopback=True), metrics_route(collector)))
    page = MetricsPage((await operator.get("/metrics")).text)

    check_catalogue(page, STATE_SERVER)
    assert (1, table.used_memory, 10_000) == (
        page.value("sessions"),
        page.value("session_bytes"),
        page.value("session_bytes_limit"),
    )


async def test_openmetrics(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whoever asks for OpenMetrics gets it, from a strict writer to a strict reader."""
    site = Site(nursery, 20)
    await site.router.probe_on()
    answer = await site.operator.get("/metrics", accept=OPENMETRICS)
    families = list(text_string_to_metric_families(answer.text))  # type: ignore[no-untyped-call]

    assert answer.headers["content-type"].startswith(OPENMETRICS)
    assert declared(ROUTER).keys() <= {
        family.name + ("_info" if family.type == "info" else "") for family in families
    }


async def test_a_page_in_pieces_is_the_page(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With many backends the same families come in small pieces, and stand on the page once."""
    site = Site(nursery, 50)
    await site.router.probe_on()
    sizes = [len(family.samples) for family, _ in site.collector.pieces()]
    whole = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in site.collector.collect()
        for sample in family.samples
    }
    page = await site.scrape()

    assert max(sizes) <= SAMPLES_AT_A_TIME
    assert whole == {key: each for key, each in page.samples.items() if not key[0].startswith("process_")}
    assert page.text.count("# TYPE partitioner_backend_request_duration_seconds histogram") == 1


@pytest.mark.parametrize("backends", [1, 50])
async def test_others_have_their_turn_while_a_page_is_written(
    backends: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """After a hundred lines or two, and not after each of the many families that have but a few."""
    site = Site(nursery, backends)
    await site.router.probe_on()
    turns = 0

    async def look_on() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    nursery.start_soon(look_on)
    lines = (await write_page(site.collector, "")).content.count(b"\n")

    assert lines / (2 * LINES_AT_A_TIME) - 2 <= turns <= lines / LINES_AT_A_TIME + 2


# --- what is told is true ---


async def test_requests(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Requests of clients by operation and outcome; exchanges with backends, the router's own among them."""
    site = Site(nursery)
    await site.router.probe_on()
    await trio.sleep(3601)
    await site.ask(GET, SET, GET, ACQUIRE, GET, request(Operation.SET, cookie=7))
    page = await site.scrape()
    backends = ["state-1", "state-2", "state-3"]
    asked = {
        name: sum(page.by("outcome", "backend_requests_total", backend=name).values()) for name in backends
    }

    assert {"ok": 1, "miss": 1, "locked": 1, "rejected": 0, "closed": 0} == (
        page.by("outcome", "requests_total", operation="get")
    )
    assert {"ok": 1, "miss": 0, "locked": 1, "rejected": 0, "closed": 0} == (
        page.by("outcome", "requests_total", operation="set")
    )
    assert (1, 1, 1) == (
        page.value("lost_updates_total"),
        page.value("session_size_bytes_count"),
        page.value("session_size_bytes_bucket", le="256.0"),
    )
    assert 3 == page.value("request_duration_seconds_count", operation="get")
    assert 1 == sum(page.by("backend", "copies_written_total", result="ok").values())
    assert sum(asked.values()) >= 7  # six for the client, a copy, and what touches the copy
    assert asked == {
        name: page.value("backend_request_duration_seconds_count", backend=name) for name in backends
    }


async def test_a_backend_goes_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """State, changes, errors, failovers, and how many serve."""
    site = Site(nursery)
    await site.router.probe_on()
    await site.ask(SET)
    place = site.roster.pool.ranking.preference_list(b"bpr4mimb2vjnvtn2jc4yp3uo")[0]
    site.servers[[each.name for each in site.router.backends].index(place)].kill()
    await site.ask(GET)
    await trio.sleep(1)
    await site.ask(GET)
    page = await site.scrape()

    assert 0 == page.value("backend_up", backend=place)
    assert {"up": 0, "down": 1, "recovering": 0, "unknown": 0} == (
        page.by("state", "backend_state", backend=place)
    )
    assert {"up": 1, "down": 1, "recovering": 0} == (
        page.by("state", "backend_state_changes_total", backend=place)
    )
    assert page.by("phase", "backend_errors_total", backend=place)["connecting"] >= 1
    assert (
        sum(page.by("phase", "backend_errors_total", backend=place).values())
        == page.by("outcome", "backend_requests_total", backend=place)["failed"]
    )
    assert (2, 0) == (page.value("backends_serving"), page.value("redundant"))
    assert page.value("failovers_total", backend=place) >= 1


async def test_what_operators_do_changes_health_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that is put to maint is down, which counts once, and so does its return."""
    site = Site(nursery)
    await site.router.probe_on()
    for intent in (Intent.DRAIN, Intent.MAINT, Intent.READY):
        site.roster.set_intent("state-1", intent)
        await trio.sleep(10)
    page = await site.scrape()

    assert {"up": 2, "down": 1, "recovering": 0} == (
        page.by("state", "backend_state_changes_total", backend="state-1")
    )


async def test_locks(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """How many there are, and how old the oldest is."""
    site = Site(nursery)
    await site.router.probe_on()
    before = await site.scrape()
    await site.ask(SET, ACQUIRE)
    await trio.sleep(40)
    page = await site.scrape()

    assert (0, 0) == (before.value("locks_held"), before.value("oldest_lock_seconds"))
    assert (1, 40, 1) == (
        page.value("locks_held"),
        page.value("oldest_lock_seconds"),
        page.value("ledger_keys"),
    )


async def test_redundant(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whether any server may fail, since when, and whether web servers should be sent here."""
    site = Site(nursery)
    before = await site.scrape()
    await site.router.probe_on()
    await trio.sleep(3700)
    page = await site.scrape()

    assert (0, 0, 0) == (
        before.value("ready"),
        before.value("redundant"),
        before.value("redundant_for_seconds"),
    )
    assert (1, 1) == (page.value("ready"), page.value("redundant"))
    assert page.value("redundant_for_seconds") > 0


async def test_t_max(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """How long a session may live, of those that were saved; no less than session_timeout."""
    site = Site(nursery)
    await site.router.probe_on()
    before = await site.scrape()
    await site.ask(request(Operation.SET, minutes=90))
    page = await site.scrape()

    assert (3600, 5400) == (before.value("t_max_seconds"), page.value("t_max_seconds"))


async def test_a_drain(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Progress while a backend is being drained, and no series where none is."""
    site = Site(nursery)
    await site.router.probe_on()
    before = await site.scrape()
    site.roster.set_intent("state-1", Intent.DRAIN)
    await trio.sleep(1)
    page = await site.scrape()

    assert {} == before.by("backend", "drain_sessions_moved")
    assert {"state-1": 0} == page.by("backend", "drain_sessions_moved")
    assert {"ready": 0, "drain": 1, "maint": 0, "removed": 0} == (
        page.by("intent", "backend_intent", backend="state-1")
    )
    assert {"state-1": 0, "state-2": 0.5, "state-3": 0.5} == page.by("backend", "backend_share")


# --- what backends are called ---


def moved_house(site: Site, name: str) -> None:
    """Have a backend of this name at another address, as a reload would."""
    backends = [
        Backend(each.name, Address("10.9.9.9", 42424)) if each.name == name else each
        for each in site.router.backends
    ]
    site.roster.adopt(backends)


async def test_a_removed_backend_keeps_its_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While it is still asked for what it holds."""
    site = Site(nursery)
    await site.router.probe_on()
    site.roster.adopt(site.router.backends[1:])
    page = await site.scrape()

    assert {"state-1": 1, "state-2": 0, "state-3": 0} == page.by(
        "backend", "backend_intent", intent="removed"
    )


async def test_a_backend_that_moves_house(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Two of one name are never one series: the configured one has the name."""
    site = Site(nursery)
    await site.router.probe_on()
    moved_house(site, "state-1")
    page = await site.scrape()

    assert {"state-1": 0, "state-1@10.0.0.1:42424": 1, "state-2": 0, "state-3": 0} == (
        page.by("backend", "backend_intent", intent="removed")
    )


async def test_names_that_look_like_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Even where another backend is called what a removed one would be called."""
    site = Site(nursery)
    await site.router.probe_on()
    odd = Backend("state-1@10.0.0.1:42424", Address("10.8.8.8", 42424))
    site.roster.adopt([*site.router.backends, odd])
    moved = [Backend("state-1", Address("10.9.9.9", 42424)), *site.router.backends[1:], odd]
    site.roster.adopt(moved)
    page = await site.scrape()

    assert {"state-1", "state-2", "state-3", odd.name, f"{odd.name}'"} == set(
        page.by("backend", "backend_up")
    )


HOSTILE = [
    'quote"',
    "back\\slash",
    "line\nfeed",
    "# TYPE x counter",
    "carriage\r# return",
    "}",
    "ümläut\u2028",
]


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
async def test_hostile_names(nursery: trio.Nursery, autojump_clock: MockClock, accept: str) -> None:
    """Whatever a backend is called, it is one label, and no name adds a line."""
    site = Site(nursery)
    names = [f"{name}{number}" for number in range(8) for name in HOSTILE]
    site.roster.adopt([Backend(name, Address("10.7.7.7", port)) for port, name in enumerate(names, 1)])
    answer = await site.operator.get("/metrics", accept=accept)
    text = answer.content.decode()
    up = [line for line in text.split("\n") if line.startswith("partitioner_backend_up{")]
    escaped = [name.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") for name in [*names]]

    assert [f'partitioner_backend_up{{backend="{name}"}} 0.0' for name in escaped] == up[: len(names)]
    assert text.count("# TYPE partitioner_") == len(ROUTER)


# --- one scrape fits together ---


async def test_numbers_are_of_one_moment(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What goes on while a page is being written is on the next one."""
    site = Site(nursery, 30)
    await site.router.probe_on()
    tally = site.tally

    async def serve_on() -> None:
        while True:
            tally.exchange_finished(Operation.GET, 200, 0.001, 0)
            await trio.lowlevel.checkpoint()

    nursery.start_soon(serve_on)
    page = await site.scrape()
    count = page.value("request_duration_seconds_count", operation="get")
    by_now = tally.served[Operation.GET].durations.count

    assert page.by("outcome", "requests_total", operation="get")["ok"] == count
    assert page.value("request_duration_seconds_bucket", operation="get", le="+Inf") == count
    assert by_now > count + 5  # others had their turns meanwhile


async def test_a_scrape_during_a_reload_is_of_one_pool(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Whatever joins and leaves meanwhile: a page tells of one pool, all of its backends and no others."""
    site = Site(nursery, 30)
    await site.router.probe_on()
    pools = {site.roster.pool.epoch: shares_in(site)}

    async def reload_on() -> None:
        while True:
            for count in (30, 12, 25):
                first = replace(site.router.backends[0], weight=count)
                site.roster.adopt([first, *site.router.backends[1:count]])
                pools[site.roster.pool.epoch] = shares_in(site)
                await trio.lowlevel.checkpoint()

    nursery.start_soon(reload_on)
    pages = [await site.scrape() for _ in range(3)]

    assert len(pools) > 20  # it was reloaded while the pages were written
    for page in pages:
        shares = pools[int(page.value("pool_epoch"))]
        ready = page.by("backend", "backend_intent", intent="ready")
        assert shares == page.by("backend", "backend_share")
        assert {name: share > 0 for name, share in shares.items()} == ready
        for name, labels in ONE_OF_EACH.items():
            assert shares.keys() == page.by("backend", name, **labels).keys()


ONE_OF_EACH: dict[str, dict[str, str]] = {
    "backend_up": {},
    "backend_state": {"state": "up"},
    "backend_state_changes_total": {"state": "down"},
    "backend_requests_total": {"outcome": "ok"},
    "backend_request_duration_seconds_count": {},
    "backend_connections": {"state": "idle"},
    "keys_marked": {},
}
"""Metrics of backends, and the labels by which there is one number of each backend."""


def shares_in(site: Site) -> dict[str, float]:
    """Which part of all sessions each backend should hold just now, by what it is called."""
    pool = site.roster.pool
    ready = sum(pool.members[identity].backend.weight for identity in pool.ready)
    return {
        label: pool.members[identity].backend.weight / ready if identity in pool.ready else 0.0
        for identity, label in backend_labels(pool).items()
    }
