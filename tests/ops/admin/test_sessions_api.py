"""What operators are told of single sessions, and how they release a lock (design.md 9.1)."""

import json
from hashlib import sha256
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.keys_app import keys_app
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.admin.session_routes import session_routes
from partitioner.ops.admin.session_source import HttpSessions, LocalSessions
from partitioner.ops.admin.sessions_api import SessionsApi
from partitioner.ops.event_log import EventLog
from partitioner.payload import outline_of
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from partitioner.routing.inspection import Inspection
from partitioner.routing.item_weights import OTHERS
from partitioner.routing.memory_survey import MOST_KINDS, MemorySurvey
from tests.doubles.backends import ROUTER_NAME, MemoryStateServer
from tests.doubles.routers import WALL_CLOCK_AT_START, MemoryRouter
from tests.doubles.sessions import APPLICATION, ID, TARGET, request, target
from tests.ops.admin.apis import admin_api_of
from tests.ops.admin.asking import Operator
from tests.payload.bodies import class_record, compressed, content, library, nrbf, string
from tests.tables import each_case

TOKEN = "f81c1d33a8fe1f4e"
GIVEN = {"authorization": f"Bearer {TOKEN}"}
ACCESS = AccessPolicy(False, TOKEN, (ip_network("127.0.0.0/8"),))
BASKET = content([("user", string("Ada")), ("basket", nrbf(library(), class_record("Shop.Basket")))])
OTHER_APPLICATION = b"%2fLM%2fW3SVC%2f3%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS855%3d)%2f"
COOKIE = 2  # of the first lock


class Site:
    """A router in front of three state servers, a web server, and an operator who has the token."""

    def __init__(self, nursery: trio.Nursery, *, own: bool) -> None:
        """`own`: the state servers have admin ports, which are asked over HTTP; else they are any others."""
        self.router = MemoryRouter(nursery, 3, copies=2, healed=own, began_at=0.0)
        self.servers = {
            each.name: MemoryStateServer(self.router.network, each.address) for each in self.router.backends
        }
        for each in self.router.backends:
            self.router.inventories[each.address] = self.servers[each.name].list_sessions
        by_address = {each.address: each._table for each in self.servers.values()}
        apps = {
            f"http://{address}": httpx.ASGITransport(
                keys_app(
                    table, AccessPolicy(False, TOKEN, (ip_network("127.0.0.0/8"),)), clock=trio.current_time
                )
            )
            for address, table in list(by_address.items())[1:]
        }
        http = httpx.AsyncClient(mounts=apps)
        local = dict(list(by_address.items())[:1])  # one of them is embedded
        source = LocalSessions(local, HttpSessions(http, TOKEN), trio.current_time)
        self.event_log = EventLog(clock=trio.current_time)
        inspection = Inspection(self.router.core, ROUTER_NAME, source, lambda: [APPLICATION])
        self.survey = MemorySurvey(self.router.core, ROUTER_NAME, source)
        api = SessionsApi(self.router.core, inspection, self.survey, self.event_log)
        self.operator = Operator(
            router_app(
                admin_api_of(self.router.core),
                AccessPolicy(is_loopback=True, token=TOKEN),
                *session_routes(api),
                event_log=self.event_log,
            )
        )

    async def start(self) -> None:
        await self.router.probe_on()
        await trio.sleep(10)  # until a walk has counted

    async def ask(self, operation: Operation, of: bytes = TARGET, **more: Any) -> bytes:
        return await self.router.ask_once(request(operation, of, **more))

    async def session(self, key: str = ID.decode()) -> Any:
        answer = await self.operator.get(f"/api/v1/session?key={key}", **GIVEN)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def unlock(self, **order: object) -> tuple[int, Any]:
        answer = await self.operator.ask(
            "POST", "/api/v1/unlock", content=json.dumps({"target": TARGET.decode(), **order}), **GIVEN
        )
        return answer.status_code, answer.json()

    def left_of(self, name: str) -> float:
        session = self.servers[name].maybe_session(TARGET)
        assert session is not None
        return session.expires_at - trio.current_time()


@each_case("body", [BASKET, compressed(BASKET)], ["as it is", "compressed"])
@each_case("own", [True, False], ["our own servers", "any other servers"])
async def test_a_session_is_shown_with_all_its_copies(
    nursery: trio.Nursery, autojump_clock: MockClock, own: bool, body: bytes
) -> None:
    """Where it is and should be, each copy, and names, types and sizes of its items; no value.

    To look at it changes nothing on a server of our own; any other one starts its time-out anew.
    """
    site = Site(nursery, own=own)
    await site.start()
    await site.ask(Operation.SET, body=body)
    await trio.sleep(300)
    told = await site.session()
    [session] = told["sessions"]
    held = [each for each in session["copies"] if each["held"]]
    names = [each["server"] for each in held]

    assert ID.decode() == told["key"]
    assert "/LM/W3SVC/2/ROOT(oXvpnxcu...)" == session["application"]
    assert TARGET.decode() == session["target"]
    assert names == session["belongs"]
    assert (True, None) == (session["settled"], session["lock"])
    assert [(len(body), 20)] * 2 == [(each["size"], each["timeout_minutes"]) for each in held]
    session_there = site.servers[names[0]].maybe_session(TARGET)
    assert session_there is not None
    assert {f"{session_there.digest:016x}"} == {each["digest"] for each in held}
    left = 900 if own else 1200
    assert [pytest.approx(left, abs=1)] * 2 == [each["left"] for each in held]
    assert [pytest.approx(left, abs=1)] * 2 == [site.left_of(name) for name in names]
    assert [("user", "System.String", 5), ("basket", "Shop.Basket", 119)] == [
        (each["name"], each["type"], each["size"]) for each in session["contents"]["items"]
    ]
    assert (body != BASKET, None) == (session["contents"]["compressed"], session["contents"]["unread"])
    assert "Ada" not in json.dumps(told)


@each_case("own", [True, False], ["our own servers", "any other servers"])
async def test_a_locked_session(nursery: trio.Nursery, autojump_clock: MockClock, own: bool) -> None:
    """Its lock is told, with cookie, age and since when; servers of our own tell of its items, too."""
    site = Site(nursery, own=own)
    await site.start()
    await site.ask(Operation.SET, body=BASKET)
    await site.ask(Operation.ACQUIRE)
    since = WALL_CLOCK_AT_START + trio.current_time()
    await trio.sleep(200)
    [session] = (await site.session())["sessions"]
    locked = [each["lock"] for each in session["copies"] if each["lock"]]
    looked_into = session["contents"]

    assert COOKIE == session["lock"]["cookie"]
    assert 200 == pytest.approx(session["lock"]["age"], abs=1)
    assert "2023-11-14T22:13:30+00:00" == session["lock"]["since"], since
    assert [COOKIE] == [each["cookie"] for each in locked]
    assert looked_into is not None
    assert 2 == len(looked_into["items"])


async def test_a_new_session_stays_new(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its one-shot flag is given back where looking at it has consumed it: its page is still to get that."""
    site = Site(nursery, own=False)
    await site.start()
    await site.ask(Operation.CREATE_UNINITIALIZED)
    [session] = (await site.session())["sessions"]
    answer = await site.ask(Operation.ACQUIRE)

    assert {True} == {each["is_new"] for each in session["copies"] if each["held"]}
    assert b"\r\nActionFlags: 1\r\n" in answer


async def test_an_id_that_two_applications_have(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Both sessions are shown; a target names one of them. Of an ID that nobody has nothing is shown."""
    site = Site(nursery, own=True)
    await site.start()
    await site.ask(Operation.SET)
    await site.ask(Operation.SET, OTHER_APPLICATION + ID)
    both = (await site.session())["sessions"]
    one = (await site.session(TARGET.decode().replace("%", "%25")))["sessions"]
    none = await site.session("nobody")
    site.servers["state-1"].kill()
    await trio.sleep(10)
    away = await site.session("nobody")

    assert {TARGET.decode(), (OTHER_APPLICATION + ID).decode()} == {each["target"] for each in both}
    assert [TARGET.decode()] == [each["target"] for each in one]
    assert ([], {}) == (none["sessions"], none["not_searched"])
    assert {"state-1": "it is away"} == away["not_searched"]


@each_case("own", [True, False], ["our own servers", "any other servers"])
async def test_a_lock_is_released_with_the_cookie_that_was_seen(
    nursery: trio.Nursery, autojump_clock: MockClock, own: bool
) -> None:
    """Behind the gate, through the router, as its page would; a page may hold a young one. It is logged."""
    site = Site(nursery, own=own)
    await site.start()
    outcomes = [await site.unlock(cookie=COOKIE)]
    await site.ask(Operation.SET)
    outcomes.append(await site.unlock(cookie=COOKIE))
    await site.ask(Operation.ACQUIRE)
    await trio.sleep(60)
    outcomes.append(await site.unlock(cookie=COOKIE))
    await trio.sleep(60)
    outcomes.append(await site.unlock(cookie=COOKIE + 1))
    released = await site.unlock(cookie=COOKIE)
    next_page = await site.ask(Operation.ACQUIRE)
    outcomes.append(await site.unlock(cookie=COOKIE, force=True))
    forced = await site.unlock(cookie=COOKIE + 1, force=True)
    too_late = await site.ask(Operation.SET, cookie=COOKIE + 1)
    lines = [(each.what, dict(each.facts)) for each in site.event_log.events()]

    assert [
        (409, "there is no such session"),
        (409, "the session is not locked"),
        (409, "the lock is 60 s old, and a page may run for 110 s"),
        (409, "the session was locked anew: its lock has cookie 2, not 3"),
        (409, "the session was locked anew: its lock has cookie 3, not 2"),
    ] == [(status, told["error"].split(": what")[0]) for status, told in outcomes]
    assert (200, COOKIE) == (released[0], released[1]["lock"]["cookie"])
    assert b"200 OK" == next_page[:6]
    assert 200 == forced[0]
    assert b"200 OK" == too_late[:6]  # of a session that is not locked any more: protocol.md 6, row 16
    assert 2 == sum(what == "lock released by an operator" for what, _ in lines)
    assert {("127.0.0.1", "admin_token", "POST /api/v1/unlock")} == {
        (facts["client"], facts["identity"], facts["order"]) for what, facts in lines if what == "admin order"
    }
    assert ID.decode() not in repr(lines)


def basket(number: int) -> bytes:
    """Baskets that grow, beside a name."""
    return content([("user", string("Ada")), ("basket", string("x" * 100 * number))])


async def test_what_takes_the_memory(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The largest sessions with their largest items, what each application takes, and names of items.

    A session is named by a hash, as in `partitioner locks`. A server that cannot be asked is named, with why.
    """
    site = Site(nursery, own=True)
    await site.start()
    for number in range(1, 31):
        await site.ask(Operation.SET, target(number), body=basket(number))
    await site.ask(Operation.SET, OTHER_APPLICATION + ID, body=b"damaged")
    largest = (await site.operator.get("/api/v1/sessions?largest=2", **GIVEN)).json()
    items = (await site.operator.get("/api/v1/sessions/items?largest=2", **GIVEN)).json()
    all_bytes = sum(len(basket(number)) for number in range(1, 31))
    first, second = largest["largest"]

    assert (31, 2 * (all_bytes + 7), True) == (largest["sessions"], largest["bytes"], largest["complete"])
    assert [(30, 2 * all_bytes), (1, 14)] == [
        (each["sessions"], each["bytes"]) for each in largest["applications"]
    ]
    assert (len(basket(30)), len(basket(29))) == (first["bytes"], second["bytes"])
    assert [("user", 5), ("basket", 3003)] == [(each["name"], each["size"]) for each in first["items"]]
    assert sha256(server_key(target(30))).hexdigest()[:8] == first["session"]
    assert 2 == len(first["servers"])
    assert (62, 2 * (all_bytes + 7), 2, True) == (
        items["sessions"],
        items["bodies"],
        items["unread"],
        items["complete"],
    )
    assert [("basket", "System.String", 60), ("user", "System.String", 60)] == [
        (each["name"], each["type"], each["count"]) for each in items["items"]
    ]
    assert sum(each["bytes"] for each in items["items"]) == items["bytes"]
    assert 2 * sum(outlined_size(basket(number)) for number in range(1, 31)) == items["items"][0]["bytes"]
    assert ({}, {}, 0) == (largest["refused"], items["refused"], items["left_out"])
    assert target(30).decode()[-20:] not in json.dumps([largest, items])


def outlined_size(body: bytes) -> int:
    """Of the basket in it."""
    size = outline_of(body).items[1].size
    assert size is not None
    return size


async def test_surveys_are_bounded(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One at a time, and of names that are made up by the thousand; who cannot be asked is told."""
    site = Site(nursery, own=True)
    await site.start()
    for number in range(12):
        made_up = content([(f"{number} {index}", b"\x15") for index in range(1000)])
        await site.ask(Operation.SET, target(number), body=made_up)
    site.servers["state-2"].restart()  # what its admin port tells is of the memory before
    await trio.sleep(10)
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await site.operator.get("/api/v1/sessions/items?largest=1000", **GIVEN))

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        asking.start_soon(ask)
    told, refused = sorted(answers, key=lambda each: each.status_code)
    kinds = (await site.survey.by_kind()).kinds

    assert (200, 409) == (told.status_code, refused.status_code)
    assert "another survey of all sessions goes on" in refused.json()["error"]
    assert len(kinds) <= MOST_KINDS + 1
    assert OTHERS in {kind.name for kind in kinds}
    assert {"state-2": "its admin port is another server's, or it was restarted just now"} == told.json()[
        "refused"
    ]


OF_ANOTHER_SERVER = "its admin port is another server's, or it was restarted just now"

BAD = [
    ("GET", "/api/v1/sessions?largest=0", "", "expected 1 to 1000"),
    ("GET", "/api/v1/sessions/items?largest=10000000000000", "", "expected 1 to 1000"),
    ("GET", "/api/v1/session", "", "expected one key"),
    ("GET", "/api/v1/session?key=%2fa%20b", "", "is not the target of a request"),
    ("GET", "/api/v1/session?key=%252fpartitioner%252frouter-1%252fcanary", "", "kept for routers"),
    ("POST", "/api/v1/unlock", "", "the body is not JSON"),
    ("POST", "/api/v1/unlock", "[]", "the body says something else"),
    ("POST", "/api/v1/unlock", '{"target": "%2fa", "cookie": true}', "the body says something else"),
    ("POST", "/api/v1/unlock", '{"target": "%2fa", "cookie": 1, "to": 1}', "the body says something else"),
    ("POST", "/api/v1/unlock", '{"target": "nobody", "cookie": 1}', "is not the target of a request"),
]


@each_case(("method", "path", "body", "sentence"), BAD)
async def test_bad_orders_are_explained(
    nursery: trio.Nursery, autojump_clock: MockClock, method: str, path: str, body: str, sentence: str
) -> None:
    """400 and a sentence; what concerns no session is looked at nowhere."""
    site = Site(nursery, own=False)
    await site.start()
    answer = await site.operator.ask(method, path, content=body, **GIVEN)

    assert (400, True) == (answer.status_code, sentence in answer.json()["error"]), answer.text
