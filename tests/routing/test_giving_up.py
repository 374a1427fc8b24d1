"""Clients that get no answer: when they are closed, whose fault it is, and what becomes of their locks."""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import BackendRefused, Phase
from partitioner.membership.health import HealthPolicy
from partitioner.protocol.messages import Operation
from tests.doubles.backends import (
    CANARY_TARGET,
    Hear,
    HearEnd,
    MemoryStateServer,
    Reset,
    Say,
    ScriptedBackend,
    Stall,
    greeting,
    incarnation_of,
    ok,
)
from tests.doubles.clients import is_closed_at
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, SET, TARGET, request
from tests.identities import STATE_1, STATE_2
from tests.routing.steps import LARGE, TIMEOUT_FIELD, a_session_of, exchange, read, save, troubles
from tests.tables import each_case

# --- giving up ---


async def test_no_backend_up(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With no server to ask, the client's connection is closed at once, never answered (protocol.md 8.2)."""
    router = MemoryRouter(nursery, backends=2)
    for backend in router.backends:
        for _ in range(router.health.fall):
            router.roster.probe_failed(BackendRefused(backend.name, Phase.CONNECTING, "refused"))

    assert await router.client().ask(GET) == b""
    expected = ("exchange_closed", "192.0.2.1", Operation.GET, "no backend is up")
    assert expected == router.observer.facts[-1]


async def test_nothing_is_known_yet(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """At the start a session waits for the verdict on its server: it is not asked for elsewhere meanwhile."""
    router = MemoryRouter(nursery, backends=2)
    first, second = router.backends
    asked = request(Operation.GET, a_session_of("state-1", 2))
    ScriptedBackend(router.network, first.address, [*greeting(), *exchange(asked, ok(CONTENT))])
    ScriptedBackend(router.network, second.address)
    router.roster.probe_succeeded(STATE_2, incarnation_of(2))
    client = router.client()
    await client.send(asked)
    await trio.sleep(3)
    router.roster.probe_succeeded(STATE_1, incarnation_of(1))

    assert ok(CONTENT) == await client.receive_answer()


async def test_nothing_is_known_in_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A session whose server has no verdict in the time of an exchange is closed, not declared lost."""
    router = MemoryRouter(nursery, backends=2)
    router.roster.probe_succeeded(STATE_2, incarnation_of(2))
    client = router.client()
    await client.send(request(Operation.GET, a_session_of("state-1", 2)))

    assert await is_closed_at(client) == pytest.approx(7.9)


@each_case("operation", [Operation.ACQUIRE, Operation.REMOVE, Operation.SET])
async def test_canaries_are_none_of_a_clients_business(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """A client that could lock or remove a canary could have a healthy server ejected."""
    router = MemoryRouter(nursery)
    ScriptedBackend(router.network, router.backends[0].address)
    router.take_in()

    answer = await router.client().ask(request(operation, CANARY_TARGET))
    assert answer.startswith(b"400 Bad Request")


@each_case(
    "answer",
    [
        b"503 Server Too Busy\r\nContent-Length: 0\r\n\r\n",
        b"500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"302 Found\r\nContent-Length: 0\r\n\r\n",
        b"what is this?\r\n\r\n",
        b"200 OK\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02" + b"\x00" * 10_240,
    ],
    ids=["503", "500", "302", "no status", "no length", "no text"],
)
async def test_answer_that_a_client_must_not_see(
    nursery: trio.Nursery, autojump_clock: MockClock, answer: bytes
) -> None:
    """What is no answer is not relayed: clients would take it for "not found" (protocol.md 8.2)."""
    router = MemoryRouter(nursery)
    ScriptedBackend(router.network, router.backends[0].address, [*greeting(), *exchange(ACQUIRE, answer)])
    router.take_in()

    assert await router.client().ask(ACQUIRE) == b""
    assert ["backend_troubled", "exchange_closed"] == [fact[0] for fact in router.observer.facts[1:]]


async def test_silent_backend(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client is closed before its own patience ends at 10 s, just before its exchange's 8 s are over."""
    router = MemoryRouter(nursery)
    ScriptedBackend(router.network, router.backends[0].address, [*greeting(), Hear(SET)])
    router.take_in()

    assert await router.client().ask(SET) == b""
    assert math.isclose(7.9, trio.current_time())


async def test_retrying_ends_in_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request that finds no server to connect to is given up before its exchange's time is over."""
    router = MemoryRouter(nursery, health=HealthPolicy(fall=1000))
    router.network.disturb(router.backends[0].address, Fault.REFUSE)
    router.take_in()
    client = router.client()

    assert await client.ask(GET) == b""
    assert 7.7 < trio.current_time() < 8.0


# --- locks ---


async def save_and_lose_a_lock(router: MemoryRouter, server: MemoryStateServer) -> None:
    """Save a session, freeze its server, and have a client give up on an acquire."""
    await save(router, TARGET)
    server.freeze()
    client = router.client()
    await client.send(ACQUIRE)
    await is_closed_at(client)


async def test_lock_granted_after_a_freeze(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock that a thawed server grants too late is given back, and the next acquire succeeds."""
    router = MemoryRouter(nursery)
    server = MemoryStateServer(router.network, router.backends[0].address)
    await router.probe_on()
    await save_and_lose_a_lock(router, server)
    await trio.sleep(40)
    server.thaw()
    await router.observer.wait_for("ghost_lock_released")
    answer = await router.client().ask(ACQUIRE)

    assert answer == ok(CONTENT, b"LockCookie: 3", TIMEOUT_FIELD)
    assert [operation for operation, _ in server.requests[-4:]] == [
        Operation.ACQUIRE,
        Operation.GET,  # shows a cookie that the ledger does not know (design.md 6)
        Operation.RELEASE,
        Operation.ACQUIRE,
    ]


async def test_lock_for_a_client_that_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock whose client has left before the answer came is given back at once."""
    router = MemoryRouter(nursery)
    granted = ok(CONTENT, b"LockCookie: 7", TIMEOUT_FIELD)
    given_back = request(Operation.RELEASE, cookie=7)
    ScriptedBackend(
        router.network,
        router.backends[0].address,
        [*greeting(), Hear(ACQUIRE), Stall(1), Say(granted), *exchange(given_back, ok())],
    )
    router.take_in()
    client = router.client()
    await client.send(ACQUIRE)
    await trio.sleep(0.5)
    client.leave()
    await router.observer.wait_for("ghost_lock_released")

    assert trio.current_time() == 1


# --- whose fault it is ---


async def test_client_that_breaks_off_its_body(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client whose connection breaks in the middle of a streamed body is no fault of the backend."""
    router = MemoryRouter(nursery)
    asked = request(Operation.SET, body=LARGE)
    ScriptedBackend(router.network, router.backends[0].address, [*greeting(), Hear(asked[:-1]), HearEnd()])
    router.take_in()
    client = router.client()
    await client.send(asked[:-1])
    await wait_all_tasks_blocked()
    client.reset()
    await wait_all_tasks_blocked()

    assert troubles(router) == []


async def test_broken_off_body_is_not_stored(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A body that is cut off midway is stored nowhere: the old content stays."""
    router = MemoryRouter(nursery)
    MemoryStateServer(router.network, router.backends[0].address)
    await router.probe_on()
    await save(router, TARGET, b"old content")
    client = router.client()
    await client.send(request(Operation.SET, body=LARGE)[:-1])
    await client.finish()
    closed_at = await is_closed_at(client)
    await wait_all_tasks_blocked()  # until the server has ended its connection, the session is closed

    assert closed_at == 0
    assert ok(b"old content", TIMEOUT_FIELD) == await read(router, TARGET)


async def test_answer_that_breaks_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that breaks down in a streamed answer is reported like any other (design.md 5)."""
    router = MemoryRouter(nursery)
    answer = ok(LARGE)
    ScriptedBackend(
        router.network,
        router.backends[0].address,
        [*greeting(), Hear(GET), Say(answer[:-1]), Stall(1), Reset()],
    )
    router.take_in()
    received = await router.client().ask(GET)

    assert answer[:-1] == received
    assert [Phase.READING] == troubles(router)


async def test_malformed_request_reaches_no_backend(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A malformed request is refused before anybody is connected to."""
    router = MemoryRouter(nursery)
    MemoryStateServer(router.network, router.backends[0].address)
    router.take_in()
    client = router.client()
    await client.send(b"GET " + TARGET + b" HTTP/1.1\r\nexclusive: acquire\r\n\r\n")

    assert (await client.receive_rest()).startswith(b"400 Bad Request\r\n")
    assert router.network.dialled == []
