"""What a router tells its operators, and what it does when they say so (design.md 9.3)."""

import time
from dataclasses import dataclass, replace

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import BackendTooSlow, ConfigurationInvalid, Phase, Problem
from partitioner.membership.backend import Intent
from partitioner.membership.health import HealthPolicy, HealthRecord
from partitioner.ops.admin.api import Reload
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.event_log import EventLog
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.out_of_service import IS_FULL
from partitioner.placement.rendezvous import Ranking
from partitioner.placement.session_id import HashKey
from partitioner.protocol.messages import Operation
from partitioner.transport.shortcomings import Shortcoming
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import WALL_CLOCK_AT_START, MemoryRouter
from tests.doubles.sessions import request, target
from tests.identities import STATE_2, STATE_3
from tests.ops.admin.apis import admin_api_of, reload_nothing
from tests.ops.admin.asking import Operator
from tests.ops.logged import FullLog
from tests.tables import each_case

SESSION_ID = "bpr4mimb2vjnvtn2jc4yp3uo"


@dataclass
class Reported:
    """What a reload may answer."""

    added: tuple[str, ...]


SELDOM_PROBED = HealthPolicy(interval=30.0)
"""For a test that lets an hour pass: it does not compute thousands of probes for that."""


class Site:
    """A router in front of three state servers, and its operator."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        hash_key: HashKey = HashKey.SESSION_ID,
        began_at: float = float("-inf"),
        health: HealthPolicy | None = None,
    ) -> None:
        self.counters, self.event_log = Counters(), EventLog(clock=trio.current_time)
        self.router = MemoryRouter(
            nursery, 3, copies=2, began_at=began_at, watcher=self.counters, health=health
        )
        self.servers = [MemoryStateServer(self.router.network, each.address) for each in self.router.backends]
        self.not_served: tuple[str, ...] = ()
        self.reload: Reload = reload_nothing
        admin_api = admin_api_of(
            self.router.core,
            hash_key=hash_key,
            why_not_served=lambda: self.not_served,
            reload=lambda *, force: self.reload(force=force),
            event_log=self.event_log,
            counters=self.counters,
            clients=64,
        )
        self.began_at = trio.current_time()
        self.operator = Operator(
            router_app(admin_api, AccessPolicy(is_loopback=True), event_log=self.event_log)
        )

    async def get(self, path: str) -> object:
        answer = await self.operator.get(path)
        assert answer.status_code == 200
        return answer.json()

    async def error(self, method: str, path: str) -> tuple[int, str]:
        answer = await self.operator.ask(method, path)
        return answer.status_code, answer.json()["error"]


async def test_healthz(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The process lives, whatever else."""
    answer = await Site(nursery).operator.get("/healthz")

    assert (200, "ok\n") == (answer.status_code, answer.text)


async def test_readyz(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Ready while it serves and a server is behind it; otherwise every reason is told."""
    site = Site(nursery)
    before = await site.operator.get("/readyz")
    await site.router.probe_on()
    after = await site.operator.get("/readyz")
    site.not_served = ("it is stopping",)
    stopping = await site.operator.get("/readyz")

    assert (503, ["no backend is up"]) == (before.status_code, before.json()["reasons"])
    assert (200, []) == (after.status_code, after.json()["reasons"])
    assert (503, ["it is stopping"]) == (stopping.status_code, stopping.json()["reasons"])


async def test_a_server_that_web_servers_would_not_take(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What `check --connect` would refuse is shown of the server that does it, and /readyz warns."""
    site = Site(nursery)
    await site.router.probe_on()
    site.router.roster.upstreams[STATE_2].shortcomings.note(Shortcoming.NO_LOCK_COOKIE)
    readyz = await site.operator.get("/readyz")
    answer = (await site.operator.get("/api/v1/backends")).json()["backends"]
    page = (await site.operator.get("/")).text

    seen = "handed out a lock without a LockCookie"
    assert (200, [f"state-2 {seen}"]) == (readyz.status_code, readyz.json()["warnings"])
    assert [[], [seen], []] == [each["shortcomings"] for each in answer]
    assert 1 == page.count(seen)


async def test_a_server_that_is_full(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The page and /readyz say so; the router is ready, because other servers have room."""
    site = Site(nursery)
    await site.router.probe_on()
    for server in site.servers[:2]:
        server.fill()
    client = site.router.client()
    for number in range(20):
        await client.ask(request(Operation.SET, target(number)))
    readyz = await site.operator.get("/readyz")
    answer = (await site.operator.get("/api/v1/backends")).json()["backends"]
    page = (await site.operator.get("/")).text

    assert (200, [f"state-1 {IS_FULL}", f"state-2 {IS_FULL}"]) == (
        readyz.status_code,
        readyz.json()["warnings"],
    )
    assert [IS_FULL, IS_FULL, None] == [each["why_out"] for each in answer]
    assert 2 == page.count(IS_FULL)


async def test_a_server_that_was_entered_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Others serve, so the router is ready; /readyz warns, and the second entry's trouble says the same."""
    site = Site(nursery)
    first, second, _ = site.router.backends
    site.router.network.alias(second.address, first.address)
    await site.router.probe_on()
    await trio.sleep(10.0)
    readyz = await site.operator.get("/readyz")
    answer = (await site.operator.get("/api/v1/backends")).json()["backends"]
    [alias] = [each for each in answer if not each["serves"]]
    other = second if alias["name"] == first.name else first

    trouble = f"is the same server as {other.name} ({other.address})"
    assert (200, [f"{alias['name']} {trouble}"]) == (readyz.status_code, readyz.json()["warnings"])
    assert ("down", trouble) == (alias["health"], alias["trouble"])


STATUS = (
    *("name", "ready", "not_ready", "copies", "t_max", "locks_held", "oldest_lock", "keys_marked"),
    *("serving", "drains", "redundant_since", "not_redundant"),
)


async def test_status(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The whole on one page, with ages in seconds."""
    site = Site(nursery, began_at=trio.current_time())
    in_an_hour = time.strftime("%H:%M", time.localtime(WALL_CLOCK_AT_START + 3600.0))
    await site.router.probe_on()
    client = site.router.client()
    await client.ask(request(Operation.SET, target(1)))
    await client.ask(request(Operation.ACQUIRE, target(1)))
    await trio.sleep(10)
    status = (await site.operator.get("/api/v1/status")).json()

    assert {
        "name": "router-1",
        "ready": True,
        "not_ready": [],
        "copies": 2,
        "t_max": 3600.0,
        "locks_held": 1,
        "oldest_lock": 10.0,
        "keys_marked": 0,
        "serving": 3,
        "drains": [],
        "redundant_since": None,
        "not_redundant": [
            "the router was started 10s ago; sessions untouched since then may lack a copy; "
            f"redundant by {in_an_hour} at the latest (state-1, state-2 and state-3 lack an `admin` address, "
            "so only time tells)"
        ],
    } == {key: status[key] for key in STATUS}
    assert ["state-1", "state-2", "state-3"] == [each["name"] for each in status["backends"]]


async def test_redundant_since(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """T_max after the last change every session that lives has its copies."""
    site = Site(nursery, began_at=trio.current_time(), health=SELDOM_PROBED)
    await site.router.probe_on()
    await trio.sleep(3600 + 7)
    status = (await site.operator.get("/api/v1/status")).json()

    assert 2.0 <= status["redundant_since"] <= 7.0  # it is looked at every 5 s
    assert [] == status["not_redundant"]
    assert [True] * 3 == [each["safe_to_stop"] for each in status["backends"]]


async def test_requests_are_told_by_what_became_of_them(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A second, over the last minute; with how many clients there are, and for how long the router runs."""
    site = Site(nursery)
    await site.router.probe_on()
    client = site.router.client()
    await client.ask(request(Operation.SET, target(1)))
    await client.ask(request(Operation.ACQUIRE, target(1)))
    await client.ask(request(Operation.ACQUIRE, target(1)))
    await client.ask(request(Operation.GET, target(2)))
    await client.ask(b"NONSENSE /x HTTP/1.1\r\n\r\n")
    await trio.sleep_until(site.began_at + 20)
    status = (await site.operator.get("/api/v1/status")).json()

    expected = {"ok": 0.1, "miss": 0.05, "locked": 0.05, "rejected": 0.05, "closed": 0.0}
    assert expected == status["requests"]
    assert (64, 20.0) == (status["clients"], status["uptime"])


async def test_for_how_long_sessions_are_on_the_move(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """At T_max after a change of the pool each is where it belongs."""
    site = Site(nursery, health=SELDOM_PROBED)
    await site.router.probe_on()
    await trio.sleep(10)
    before = (await site.operator.get("/api/v1/status")).json()["unsettled_for"]
    await trio.sleep(3600)
    after = (await site.operator.get("/api/v1/status")).json()["unsettled_for"]

    assert (3590.0, None) == (before, after)


async def test_what_each_backend_is_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its part of the traffic, how long it takes, what failed, and its last probe, if that was good."""
    site = Site(nursery)
    await site.router.probe_on()
    client = site.router.client()
    for number in range(40):
        await client.ask(request(Operation.SET, target(number)))
    site.servers[1].freeze()
    await site.router.observer.wait_for("backend_ejected")
    found = (await site.operator.get("/api/v1/backends")).json()["backends"]
    traffic = [each["traffic"] for each in found]

    assert 1.0 == pytest.approx(sum(each["share"] for each in traffic))
    assert all(0.2 < each["share"] < 0.5 and each["rate"] > 1.0 for each in traffic)
    assert all(0.0 <= each["p50"] <= each["p99"] <= 0.001 for each in traffic)
    assert [0.0, None, 0.0] == [each["probe"] for each in found]


async def test_an_exchange_that_failed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Is counted for its backend alone."""
    site = Site(nursery)
    await site.router.probe_on()
    client = site.router.client()
    for number in range(40):
        await client.ask(request(Operation.SET, target(number)))
    site.servers[1].kill()
    for number in range(40):
        await client.ask(request(Operation.GET, target(number)))
    found = (await site.operator.get("/api/v1/backends")).json()["backends"]

    failed = [each["traffic"]["failed"] for each in found]
    assert (0, 0) == (failed[0], failed[2])
    assert failed[1] > 0


async def test_events(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The youngest first; what the log calls cause and consequence stands by itself."""
    site = Site(nursery)
    log = FullLog(event_log=site.event_log)
    log.backend_ejected(site.router.backends[0], HealthRecord(since=0.0), "refused the connection", 2)
    await trio.sleep(7)
    log.log.note("stopping now")
    events = (await site.operator.get("/api/v1/events")).json()["events"]

    assert [("stopping now", 0.0, None), ("backend is down", 7.0, "refused the connection")] == [
        (each["event"], each["ago"], each["cause"]) for each in events
    ]
    assert {"backend": "state-1", "address": "10.0.0.1:42424"} == events[1]["facts"]


async def test_who_was_refused_is_an_event(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The page shows it as the log does: once a minute for each who asks."""
    site = Site(nursery)
    for _ in range(3):
        await site.operator.ask("GET", "/api/v1/status", host="example.org")
    [event] = (await site.operator.get("/api/v1/events")).json()["events"]

    assert ("warning", "admin request refused", "its Host 'example.org' is not this machine") == (
        event["level"],
        event["event"],
        event["cause"],
    )
    assert {"client": "127.0.0.1", "status": "403"} == event["facts"]


async def test_backends(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each with what is wanted of it, what is seen, and what it holds; what is over is no trouble."""
    site = Site(nursery)
    await site.router.probe_on()
    site.servers[1].kill()
    await site.router.observer.wait_for("backend_ejected")
    answer = (await site.operator.get("/api/v1/backends")).json()["backends"]
    site.router.roster.exchange_failed(BackendTooSlow(STATE_3, Phase.READING, "no answer"))
    at_once = (await site.operator.get("/api/v1/backends")).json()["backends"]
    site.router.roster.adopt((site.router.backends[0], site.router.backends[2]), 2)
    await trio.sleep(5.0)
    later = (await site.operator.get("/api/v1/backends")).json()["backends"]

    assert [("up", True, None), ("down", False, "refused"), ("up", True, None)] == [
        (each["health"], each["serves"], each["trouble"]) for each in answer
    ]
    assert [None, "refused", "timed out"] == [each["trouble"] for each in at_once]
    assert {("state-1", None), ("state-2", None), ("state-3", None)} == {
        (each["name"], each["trouble"]) for each in later
    }
    assert ["10.0.0.1:42424", "10.0.0.2:42424", "10.0.0.3:42424"] == [each["address"] for each in answer]
    assert pytest.approx(1.0) == sum(each["share"] for each in answer)


async def test_locate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """As `partitioner locate --json` says it."""
    expected = Ranking(dict.fromkeys(("state-1", "state-2", "state-3"), 1.0)).preference_list(
        SESSION_ID.encode()
    )

    assert {"key": SESSION_ID, "session_id": SESSION_ID, "backends": list(expected)} == await Site(
        nursery
    ).get(f"/api/v1/locate?key={SESSION_ID}")


async def test_locks_name_no_session(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Held where and how long, the oldest first; neither the key nor the cookie is told."""
    site = Site(nursery)
    await site.router.probe_on()
    for number in (1, 2):
        client = site.router.client()
        await client.ask(request(Operation.SET, target(number)))
        await client.ask(request(Operation.ACQUIRE, target(number)))
        await trio.sleep(5)
    answer = await site.operator.get("/api/v1/locks")

    told = answer.json()
    assert (2, [10.0, 5.0]) == (told["held"], [each["age"] for each in told["locks"]])
    assert {"key", "server", "reachable", "age"} == set(told["locks"][0])
    assert [8, 8] == [len(each["key"]) for each in told["locks"]]
    assert "s0000" not in answer.text


async def test_an_order_is_carried_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Drain, maint and ready; the answer is the backend as it is now."""
    site = Site(nursery)
    await site.router.probe_on()
    seen = []
    for order in ("drain", "maint", "ready"):
        answer = await site.operator.post(f"/api/v1/backends/state-2/{order}")
        seen.append((answer.status_code, answer.json()["intent"]))

    assert [(200, "drain"), (200, "maint"), (200, "ready")] == seen
    assert Intent.READY is site.router.roster.pool.members[STATE_2].backend.intent


FORCE = b'{"force": true}'


async def test_an_order_that_would_lose_sessions(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """409 with the number at stake, null where it is unknown; with `force` it is done all the same."""
    site = Site(nursery, began_at=trio.current_time())
    await site.router.probe_on()
    refused = await site.operator.post("/api/v1/backends/state-2/maint")
    intent = site.router.roster.pool.members[STATE_2].backend.intent
    forced = await site.operator.post_body("/api/v1/backends/state-2/maint", FORCE)

    assert (409, Intent.READY) == (refused.status_code, intent)
    assert {"error", "sessions_at_stake"} == set(refused.json())
    assert refused.json()["sessions_at_stake"] is None
    assert "state-2 holds an unknown number of sessions" in refused.json()["error"]
    assert refused.json()["error"].endswith("`partitioner maint state-2 --force` does it all the same")
    assert (200, "maint") == (forced.status_code, forced.json()["intent"])


async def test_a_server_in_doubt_is_trusted_by_force_only(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """`ready` is what is wanted of it already; that it has missed nothing the operator has to say."""
    site = Site(nursery)
    await site.router.probe_on()
    site.router.roster.suspect(STATE_2)
    plain = await site.operator.post("/api/v1/backends/state-2/ready")
    forced = await site.operator.post_body("/api/v1/backends/state-2/ready", FORCE)

    assert ("recovering", "up") == (plain.json()["health"], forced.json()["health"])


@each_case(
    ("body", "sentence"),
    [
        (b"force", "the body is not JSON"),
        (b"[true]", "the body says something else"),
        (b'{"forced": true}', "the body says something else"),
        (b'{"force": "yes"}', "force is neither true nor false"),
        (b"[" * 60_000, "the body is not JSON"),
    ],
)
async def test_an_order_s_body(
    nursery: trio.Nursery, autojump_clock: MockClock, body: bytes, sentence: str
) -> None:
    """It is empty or says `force`; whatever else it says might have been meant, so nothing is done."""
    site = Site(nursery)
    await site.router.probe_on()
    answers = [
        await site.operator.post_body(f"/api/v1/{path}", body)
        for path in ("backends/state-2/maint", "reload")
    ]

    assert [400, 400] == [each.status_code for each in answers]
    for answer in answers:
        assert answer.json()["error"] == f'{sentence}; expected an empty body, or {{"force": true}}'
    assert Intent.READY is site.router.roster.pool.members[STATE_2].backend.intent


async def test_a_drain_is_followed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its progress is told with its backend and with the whole; what has handed all off is safe to stop."""
    site = Site(nursery)
    site.router.roster.adopt([replace(each, admin=each.address) for each in site.router.backends])
    for each, server in zip(site.router.backends, site.servers, strict=True):
        site.router.listings[each.address] = server.list_keys
    await site.router.probe_on()
    await site.operator.post("/api/v1/backends/state-1/drain")
    await site.router.observer.wait_for("drain_ended")
    status = (await site.operator.get("/api/v1/status")).json()

    (drain,) = status["drains"]
    assert ("state-1", 0, 0, True, None) == (
        drain["backend"], drain["moved"], drain["left"], drain["done"], drain["stalled"],
    )  # fmt: skip
    assert [True, True, True] == [each["safe_to_stop"] for each in status["backends"]]


REFUSED = {
    ("GET", "/nowhere"): (404, "there is nothing at /nowhere"),
    ("GET", "/healthz/"): (404, "there is nothing at /healthz/"),
    ("POST", "/api/v1/status"): (405, "POST is not for /api/v1/status; expected GET"),
    ("GET", "/api/v1/reload"): (405, "GET is not for /api/v1/reload; expected POST"),
    ("GET", "/api/v1/backends/state-1/drain"): (405, "expected POST"),
    ("POST", "/api/v1/backends/stat-2/drain"): (
        404,
        "no backend is called 'stat-2'; did you mean 'state-2'?",
    ),
    ("POST", "/api/v1/backends/x/maint"): (404, "expected one of state-1, state-2, state-3"),
    ("POST", "/api/v1/backends/state-1/kill"): (
        404,
        "'kill' is not an order; expected drain, ready or maint",
    ),
    ("GET", "/api/v1/locate"): (400, "expected one key"),
    ("GET", "/api/v1/locate?key="): (400, "expected one key"),
    ("GET", "/api/v1/locate?key=a&key=b"): (400, "expected one key"),
    ("POST", "/api/v1/reload"): (409, "no configuration file was given: nothing to reload"),
}


@each_case(("asked", "answer"), REFUSED.items())
async def test_what_cannot_be_is_refused_in_a_sentence(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: tuple[str, str], answer: tuple[int, str]
) -> None:
    """A status that programs understand, a sentence that people do."""
    status, sentence = await Site(nursery).error(*asked)

    assert answer[0] == status
    assert answer[1] in sentence


async def test_a_bare_session_id_has_no_place_where_targets_are_hashed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """As on the command line."""
    site = Site(nursery, hash_key=HashKey.TARGET)
    status, sentence = await site.error("GET", f"/api/v1/locate?key={SESSION_ID}")

    assert 400 == status
    assert "is a bare session ID" in sentence


async def test_the_last_ready_server_is_not_drained(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No server would be there to take its sessions: 409 with the reason, and nothing has changed."""
    site = Site(nursery)
    await site.router.probe_on()
    await site.operator.post("/api/v1/backends/state-1/drain")
    await site.operator.post("/api/v1/backends/state-2/maint")
    status, sentence = await site.error("POST", "/api/v1/backends/state-3/drain")

    assert 409 == status
    assert "no backend would be ready any more" in sentence
    assert Intent.READY is site.router.roster.pool.members[STATE_3].backend.intent


async def test_a_reload_reports(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whatever the reload says is the answer; all problems of a file are told at once."""

    async def well(*, force: bool) -> object:
        return Reported(added=("state-4",))

    async def invalid(*, force: bool) -> object:
        raise ConfigurationInvalid([Problem("listen", "one"), Problem("copies", "two")])

    site = Site(nursery)
    site.reload = well
    done = await site.operator.post("/api/v1/reload")
    site.reload = invalid
    refused = await site.operator.post("/api/v1/reload")

    assert (200, {"added": ["state-4"]}) == (done.status_code, done.json())
    assert (422, ["listen: one", "copies: two"]) == (refused.status_code, refused.json()["problems"])
