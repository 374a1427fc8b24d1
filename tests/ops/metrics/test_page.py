"""/metrics: all that the catalogue names and nothing else, and each page fits together (design.md 9.4)."""

from dataclasses import replace

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from trio.testing import MockClock

from partitioner.membership.backend import Address, Intent
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.keys_app import keys_app
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.metrics.catalog import PROCESS, ROUTER, STATE_SERVER, Kind, Metric
from partitioner.ops.metrics.collector import SAMPLES_AT_A_TIME, TableCollector
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.exposition import LINES_AT_A_TIME, write_page
from partitioner.ops.metrics.readings import state_server_reading
from partitioner.ops.metrics.router_readings import backend_labels
from partitioner.protocol.messages import Operation
from partitioner.routing.drain import Page
from partitioner.sessions.table import SessionTable
from partitioner.transport.listener import Downstream
from partitioner.transport.state_server import StateServer
from tests.doubles.sessions import CONTENT, SET, whole
from tests.ops.admin.asking import Operator
from tests.ops.metrics.pages import MetricsPage
from tests.ops.metrics.sites import OPENMETRICS, POLICY, Site

SET_HEAD = whole(SET, 0.0).head


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
    table, counters = SessionTable(10_000), Counters()
    table.apply(SET_HEAD, b"key", CONTENT, 0.0)
    server = StateServer(table, counters)
    downstream = Downstream(server.respond, POLICY, counters)
    collector = TableCollector(STATE_SERVER, state_server_reading(counters, downstream, table))
    operator = Operator(keys_app(table, AccessPolicy(is_loopback=True), metrics_route(collector)))
    page = MetricsPage((await operator.get("/metrics")).text)

    check_catalogue(page, STATE_SERVER)
    assert (1, table.used_memory, 10_000) == (
        page.value("sessions"),
        page.value("session_bytes"),
        page.value("session_bytes_limit"),
    )


async def test_openmetrics(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A scraper that asks for OpenMetrics gets it, from a strict writer to a strict reader."""
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


# --- one scrape fits together ---


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


async def test_numbers_are_of_one_moment(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What goes on while a page is being written is on the next one."""
    site = Site(nursery, 30)
    await site.router.probe_on()
    counters = site.counters

    async def serve_on() -> None:
        while True:
            counters.exchange_finished(Operation.GET, 200, 0.001, 0)
            await trio.lowlevel.checkpoint()

    nursery.start_soon(serve_on)
    page = await site.scrape()
    count = page.value("request_duration_seconds_count", operation="get")
    by_now = counters.served[Operation.GET].durations.count

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
