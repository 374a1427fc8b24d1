"""The slow path as its clients live through it: where requests go, and what passes through unchanged.

Decisions are tested cell by cell in tests/membership; here each of them is driven from a client's bytes to a
backend's and back.
"""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.protocol.messages import Operation
from tests.doubles.backends import READ_CANARY, ScriptedBackend, greeting, ok
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import GET, TARGET, request, target
from tests.routing.steps import (
    ANSWER,
    SHORT,
    TIMEOUT_FIELD,
    exchange,
    preference_list,
    read,
    save,
    settle,
    start_servers,
    times_are_settled,
)
from tests.tables import each_case

# --- where requests go ---


async def test_each_session_on_the_first_of_its_preference_list(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A request goes to the first of its session's preference list, and to no others.(design.md 4)."""
    router = MemoryRouter(nursery, backends=3, ledger=SHORT)
    servers = start_servers(router)
    await router.probe_on()
    await settle(router)
    expected: dict[str, list[bytes]] = {name: [] for name in servers}
    client = router.client()
    for number in range(60):
        await client.ask(request(Operation.SET, target(number)))
        expected[preference_list(number, 3)[0]].append(target(number))

    assert all(expected.values())
    assert expected == {name: [each for _, each in server.requests] for name, server in servers.items()}


async def test_one_connection_many_sessions(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Requests are routed one by one: a client's connection carries all sessions (protocol.md 1, fact 11)."""
    router = MemoryRouter(nursery, backends=3)
    start_servers(router)
    await router.probe_on()
    client = router.client()
    bodies = {target(number): b"content of %d" % number for number in range(20)}
    for session, body in bodies.items():
        await client.ask(request(Operation.SET, session, body=body))
    answers = [await client.ask(request(Operation.GET, session)) for session in bodies]

    assert [ok(body, TIMEOUT_FIELD) for body in bodies.values()] == answers


@each_case(
    "spelling",
    [
        TARGET,
        TARGET.replace(b"%2f", b"%2F").replace(b"%3d", b"%3D").replace(b"(", b"%28").replace(b")", b"%29"),
        TARGET.replace(b"%2f", b"/"),
        b"/" + TARGET.replace(b"%2f", b"/"),
    ],
    ids=["real", "AntiXss", "literal slashes", "1.1"],
)
async def test_all_spellings_of_a_session_meet(
    nursery: trio.Nursery, autojump_clock: MockClock, spelling: bytes
) -> None:
    """However a client spells a session's target, it is routed to where the session is (protocol.md 4.3)."""
    router = MemoryRouter(nursery, backends=7)
    start_servers(router)
    await router.probe_on()
    await save(router, TARGET, b"found me")

    assert ok(b"found me", TIMEOUT_FIELD) == await read(router, spelling)


# --- bytes pass unchanged ---

REQUESTS = {
    "odd order": b"PUT " + TARGET + b" HTTP/1.1\r\nLockCookie:0\r\nExtraFlags:0\r\nContent-Length:2\r\n"
    b"Timeout:20\r\nHost: localhost\r\n\r\nab",
    "blanks before numbers": b"PUT "
    + TARGET
    + b" HTTP/1.1\r\nContent-Length: \t 2\r\nTimeout:  020\r\n\r\nab",
    "unknown fields": b"GET " + TARGET + b" HTTP/1.1\r\nUser-Agent: x/1 (y)\r\nX-Empty:\r\nno colon\r\n\r\n",
    "field twice": b"GET " + TARGET + b" HTTP/1.1\r\nTimeout:1\r\nTimeout:2\r\n\r\n",
    "no fields": b"GET " + TARGET + b" HTTP/1.1\r\n\r\n",
    "bytes above 127": b"GET " + TARGET + b" HTTP/1.1\r\nX-Name: J\xf6rg \xff\r\n\r\n",
    "body of all bytes": request(Operation.SET, body=bytes(range(256)) + b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
}

ANSWERS = {
    "stock": ANSWER,
    "with version": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: today\r\n\r\nab",
    "odd order and case": b"200 OK\r\ncontent-length: 2\r\nX-AspNet-Version: 2.0.50727\r\n\r\nab",
    "no reason": b"200\r\nContent-Length: 0\r\n\r\n",
    "404 without a length": b"404 Not Found\r\nX-AspNet-Version: 4.0.30319\r\n\r\n",
    "423 with a body": b"423 Locked\r\nLockCookie: 3\r\nLockAge: 1\r\nContent-Length: 3\r\n\r\nabc",
    "400": b"400 Bad Request\r\nActionFlags: 1\r\nContent-Length: 0\r\n\r\n",
    "body of all bytes": ok(bytes(range(256)) + b"\r\n\r\n200 OK\r\n\r\n"),
}


@each_case("asked", REQUESTS.values(), ids=REQUESTS)
async def test_request_passes_unchanged(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """A backend gets the very bytes that the client sent, however odd (protocol.md 10.1.1)."""
    router = MemoryRouter(nursery)
    backend = ScriptedBackend(router.network, router.backends[0].address, [*greeting(), *exchange(asked)])
    router.take_in()
    await router.client().ask(asked)

    assert [READ_CANARY + asked] == backend.heard


@each_case("answer", ANSWERS.values(), ids=ANSWERS)
async def test_answer_passes_unchanged(
    nursery: trio.Nursery, autojump_clock: MockClock, answer: bytes
) -> None:
    """A client gets the very bytes that the backend said, however odd (protocol.md 10.1.1)."""
    router = MemoryRouter(nursery)
    ScriptedBackend(router.network, router.backends[0].address, [*greeting(), *exchange(GET, answer)])
    await times_are_settled(router)
    client = router.client()
    await client.send(GET)
    await wait_all_tasks_blocked()
    await client.finish()  # no surplus can hide behind what a naive client would take for the answer

    assert answer == await client.receive_rest()
