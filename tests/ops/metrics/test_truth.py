"""/metrics: what is told is true, and of whom it is told is clear (design.md 9.4)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.backend import Address, Backend, Intent
from partitioner.ops.metrics.catalog import ROUTER
from partitioner.protocol.messages import Operation
from tests.doubles.sessions import ACQUIRE, GET, SET, request
from tests.ops.metrics.sites import OPENMETRICS, SELDOM_PROBED, Site

# --- what is told is true ---


async def test_requests(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Requests of clients by operation and outcome; exchanges with backends, the router's own among them."""
    site = Site(nursery, health=SELDOM_PROBED)
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
    assert {"/LM/W3SVC/2/ROOT(oXvpnxcu...)": 1, "other": 0} == (
        page.by("application", "application_session_size_bytes_count")
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
    site = Site(nursery, health=SELDOM_PROBED)
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
