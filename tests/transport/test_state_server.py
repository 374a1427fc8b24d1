"""The state server as a responder: the table's answers as bytes, and a broom for what has expired."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import RouterSuperseded
from partitioner.membership.fencing import RouterConnection
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import canonical_key
from partitioner.sessions.table import SessionTable
from partitioner.transport.state_server import SWEEP_BATCH, SWEEP_INTERVAL, StateServer
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import (
    ACQUIRE,
    CONTENT,
    CREATE,
    GET,
    HEAD,
    RELEASE,
    SET,
    request,
    target,
    whole,
)
from tests.tables import each_case


class Setting:
    """A state server whose clock stands still until it is set."""

    def __init__(self, max_memory: int | None = None) -> None:
        self.now = 1000.0
        self.table = SessionTable(max_memory)
        self.observer = RecordingObserver()
        self.server = StateServer(self.table, self.observer, clock=lambda: self.now)

    async def ask(self, asked: bytes) -> bytes:
        response = await self.server.respond(whole(asked, 0.0))
        assert response.rest is None
        return response.head.raw + response.body


async def story(*requests: bytes) -> bytes:
    """The answer to the last of these requests."""
    setting = Setting()
    for asked in requests:
        answer = await setting.ask(asked)
    return answer


BAD_REQUEST = (
    b"400 Bad Request\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
)
CREATED_THEN_READ = ok(CONTENT, b"ActionFlags: 1", b"Timeout: 20")
CREATED_THEN_LOCKED = ok(CONTENT, b"ActionFlags: 1", b"LockCookie: 2", b"Timeout: 20")

STORIES: dict[str, tuple[list[bytes], bytes]] = {
    "get, absent": ([GET], NOT_FOUND),
    "set": ([SET], ok()),
    "get": ([SET, GET], ok(CONTENT, b"Timeout: 20")),
    "create": ([CREATE], ok()),
    "create, then get": ([CREATE, GET], CREATED_THEN_READ),
    "create, then acquire": ([CREATE, ACQUIRE], CREATED_THEN_LOCKED),
    "create, then release": ([CREATE, RELEASE], ok(b"", b"ActionFlags: 1")),
    "acquire": ([SET, ACQUIRE], ok(CONTENT, b"LockCookie: 2", b"Timeout: 20")),
    "release": ([SET, ACQUIRE, request(Operation.RELEASE, cookie=2)], ok()),
    "head": ([SET, HEAD], ok()),
    "head, absent": ([HEAD], NOT_FOUND),
    "remove": ([SET, request(Operation.REMOVE)], ok()),
    "get, removed": ([SET, request(Operation.REMOVE), GET], NOT_FOUND),
    "release without a cookie": ([SET, RELEASE.replace(b"LockCookie:0\r\n", b"")], BAD_REQUEST),
    "too long a time-out": ([SET.replace(b"Timeout:20", b"Timeout:525601")], BAD_REQUEST),
}


@each_case(("requests", "answer"), STORIES.values(), ids=STORIES)
async def test_answer(requests: list[bytes], answer: bytes) -> None:
    """The table's answers are written byte for byte as a stock server does (protocol.md 5.1)."""
    assert await story(*requests) == answer


@pytest.fixture(params=["UTC0", "XYZ-05:30", "XYZ+08:00"])
def time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process lives in another part of the world."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@each_case(
    "asked",
    [GET, ACQUIRE, request(Operation.RELEASE, cookie=9), SET],
    ids=["get", "acquire", "release", "set"],
)
async def test_locked(time_zone: None, asked: bytes) -> None:
    """A 423 dates the lock in the server's local time, and says how old it is (protocol.md 5.1)."""
    setting = Setting()
    await setting.ask(SET)
    earliest = datetime.now()
    await setting.ask(ACQUIRE)
    setting.now += 75.25
    answer = await setting.ask(asked)
    latest = datetime.now()
    lines = answer.split(b"\r\n")
    locked_at = datetime(1, 1, 1) + timedelta(microseconds=int(lines[2].removeprefix(b"LockDate: ")) // 10)

    assert earliest - timedelta(seconds=75.26) <= locked_at <= latest - timedelta(seconds=75.24)
    assert lines[:2] + lines[3:] == [
        b"423 Locked",
        b"X-AspNet-Version: 4.0.30319",
        b"LockAge: 75",
        b"LockCookie: 2",
        b"Cache-Control: private",
        b"Content-Length: 0",
        b"",
        b"",
    ]


@each_case(
    ("spelling", "is_same"),
    [(b"%2fLM", True), (b"//LM", True), (b"/%2fLM", False)],
    ids=["escaped", "two", "mixed"],
)
async def test_stock_keys(spelling: bytes, is_same: bool) -> None:
    """Which spellings are one session is decided as a stock server does (protocol.md 4.2)."""
    setting = Setting()
    await setting.ask(request(Operation.SET, b"/LM/x"))
    answer = await setting.ask(request(Operation.GET, spelling + b"/x"))

    assert answer == (ok(CONTENT, b"Timeout: 20") if is_same else NOT_FOUND)


async def test_other_keys() -> None:
    """Another way to derive keys can be had: the liberal server takes all leading slashes for one."""
    setting = Setting()
    server = StateServer(setting.table, setting.observer, canonical_key, lambda: setting.now)
    await server.respond(whole(request(Operation.SET, b"/LM/x"), 0.0))
    response = await server.respond(whole(request(Operation.GET, b"/%2fLM/x"), 0.0))

    assert response.body == CONTENT


async def test_full() -> None:
    """A new session that does not fit is refused with 400, and that is reported (protocol.md 10.2.9)."""
    setting = Setting(max_memory=600)
    await setting.ask(request(Operation.SET, target(1)))
    answer = await setting.ask(request(Operation.SET, target(2)))

    assert answer == BAD_REQUEST
    assert setting.observer.facts == [("creation_refused", 1, setting.table.used_memory)]


async def test_full_for_new_ones_only() -> None:
    """A full server still saves the sessions that it has, and reports nothing of it."""
    setting = Setting(max_memory=600)
    await setting.ask(request(Operation.SET, target(1)))

    assert await setting.ask(request(Operation.SET, target(1), body=b"y" * 2000)) == ok()
    assert setting.observer.facts == []


async def test_sweep(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What has expired is forgotten within half a minute, without anybody asking for it."""
    table = SessionTable()
    server = StateServer(table, RecordingObserver(), clock=trio.current_time)
    for number in range(3 * SWEEP_BATCH):
        await server.respond(whole(request(Operation.SET, target(number)), 0.0))
    nursery.start_soon(server.sweep_forever)
    await trio.sleep(20 * 60)
    before = len(table)
    await trio.sleep(30)

    assert (before, len(table)) == (3 * SWEEP_BATCH, 0)


async def test_sweep_makes_room_for_others(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A long sweep lets everybody else have a turn between two batches."""
    table = SessionTable()
    server = StateServer(table, RecordingObserver(), clock=trio.current_time)
    for number in range(3 * SWEEP_BATCH):
        await server.respond(whole(request(Operation.SET, target(number)), 0.0))
    sizes: set[int] = set()

    async def look_on() -> None:
        await trio.sleep(SWEEP_INTERVAL)
        while len(table):
            sizes.add(len(table))
            await trio.lowlevel.checkpoint()

    await trio.sleep(21 * 60)
    async with trio.open_nursery() as sweeping:
        sweeping.start_soon(server.sweep_forever)
        sweeping.start_soon(look_on)
        await trio.sleep(2 * SWEEP_INTERVAL)
        sweeping.cancel_scope.cancel()

    assert sizes & {2 * SWEEP_BATCH, SWEEP_BATCH}


class Caller:
    """A connection that a request comes over, and whether it was closed. This is a Caller."""

    def __init__(self) -> None:
        self.router: RouterConnection | None = None
        self.reasons: list[str] = []

    def break_off(self, reason: str) -> None:
        self.reasons.append(reason)


async def test_a_request_that_was_received_before_its_router_was_superseded() -> None:
    """It is not carried out, although its connection was closed only after it had been read."""
    setting, former, later = Setting(), Caller(), Caller()

    async def ask(caller: Caller, asked: bytes) -> None:
        await setting.server.respond(replace(whole(asked, 0.0), caller=caller))

    for caller, term in ((former, b"1 a"), (later, b"2 a")):
        await ask(caller, request(Operation.GET, b"%2fpartitioner%2ffarm%2fcanary"))
        await ask(caller, request(Operation.SET, b"%2fpartitioner%2ffarm%2fterm", body=term))
        await ask(caller, GET)

    assert (["another router has claimed: term 2-a"], []) == (former.reasons, later.reasons)
    for asked in (SET, request(Operation.SET, b"%2fpartitioner%2ffarm%2frecord-1-a")):
        with pytest.raises(RouterSuperseded):
            await ask(former, asked)
    assert NOT_FOUND == await setting.ask(GET)
