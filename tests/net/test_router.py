"""The await lane as its clients live through it: where requests go, and what happens when backends fail.

Decisions are tested cell by cell in tests/membership; here each of them is driven by the failure itself,
from a client's bytes to a backend's and back.
"""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import BackendRefused, Phase
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.losses import LostSessions
from partitioner.net.asking import RETRY_PAUSE
from partitioner.net.upstream import HELD_BODY
from partitioner.placement.rendezvous import Ranking
from partitioner.protocol.messages import Operation
from tests.doubles.backends import (
    CANARY_TARGET,
    LIFE,
    NOT_FOUND,
    READ_CANARY,
    Close,
    Hear,
    HearEnd,
    MemoryStateServer,
    Reset,
    Say,
    ScriptedBackend,
    Stall,
    Step,
    greeting,
    ok,
)
from tests.doubles.clients import is_closed_at
from tests.doubles.network import Fault, ResetAfter
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, HEAD, SET, TARGET, request, target

TIMEOUT_FIELD = b"Timeout: 20"
ANSWER = ok(CONTENT, TIMEOUT_FIELD)
LARGE = b"x" * (HELD_BODY + 1)
SHORT = LedgerPolicy(session_timeout=60.0, session_timeout_max=60.0)
"""With a T_max of a minute, so that probes can go on until times are settled."""

# What may run twice; the rest must not (design.md 6, protocol.md 10.1.9).
RUNS_TWICE = [
    Operation.GET,
    Operation.RELEASE,
    Operation.CREATE_UNINITIALIZED,
    Operation.REMOVE,
    Operation.RESET_TIMEOUT,
]
RUNS_ONCE = [Operation.ACQUIRE, Operation.SET]


def answer_to(operation: Operation) -> bytes:
    """What a stock server says to such a request of an existing session."""
    match operation:
        case Operation.GET:
            return ANSWER
        case Operation.ACQUIRE:
            return ok(CONTENT, b"LockCookie: 2", TIMEOUT_FIELD)
        case _:
            return ok()


def exchange(asked: bytes, answer: bytes = ANSWER) -> list[Step]:
    """The steps of one exchange that goes well."""
    return [Hear(asked), Say(answer)]


def asked_before(operation: Operation) -> list[Step]:
    """What the router asks before it sends such a request: a create begins with HEAD (design.md 7.1)."""
    return exchange(HEAD, ok()) if operation is Operation.CREATE_UNINITIALIZED else []


def asked_again(operation: Operation) -> list[Step]:
    """What the router asks before such a request is sent once more to the only server there is.

    Where the first one may have changed the session its server is marked, and a plain get shows what has
    become of it (design.md 6, 7.3).
    """
    leaves_traces = operation not in (Operation.GET, Operation.RESET_TIMEOUT)
    return exchange(GET) if leaves_traces else []


def heard_in(*steps: Step) -> bytes:
    """All that a backend hears in these steps of a connection."""
    return READ_CANARY + b"".join(step.data for step in steps if isinstance(step, Hear))


async def settle(router: MemoryRouter) -> None:
    """Let T_max pass since the last change of the pool: from then on a 404 is the truth (design.md 7.4)."""
    await trio.sleep(router.ledger.longest_life + 1)


async def times_are_settled(router: MemoryRouter) -> None:
    """Take all backends in, and let T_max pass."""
    router.take_in()
    await settle(router)


def preference_list(number: int, backends: int) -> tuple[str, ...]:
    """Whom the session of `target(number)` prefers, of so many backends."""
    ranking = Ranking({f"state-{each + 1}": 1.0 for each in range(backends)})
    return ranking.preference_list(b"s%023d" % number)


def a_session_of(name: str, backends: int) -> bytes:
    """The target of a session whose first choice is this backend."""
    return next(target(number) for number in range(1000) if preference_list(number, backends)[0] == name)


def sessions_of(name: str, backends: int) -> tuple[bytes, bytes]:
    """The targets of two sessions whose first choice is this backend."""
    found = [target(number) for number in range(1000) if preference_list(number, backends)[0] == name]
    return found[0], found[1]


async def save(router: MemoryRouter, session: bytes, body: bytes = CONTENT) -> bytes:
    """Save a session over a connection of its own; the answer."""
    client = router.client()
    answer = await client.ask(request(Operation.SET, session, body=body))
    client.leave()
    return answer


async def read(router: MemoryRouter, session: bytes) -> bytes:
    """Read a session over a connection of its own; the answer, or nothing if the router hung up."""
    client = router.client()
    answer = await client.ask(request(Operation.GET, session))
    client.leave()
    return answer


# --- where requests go ---


async def test_each_session_on_the_first_of_its_preference_list(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A request goes to the first of its session's preference list, and to nobody else (design.md 4)."""
    router = MemoryRouter(nursery, backends=3, ledger=SHORT)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
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
    for each in router.backends:
        MemoryStateServer(router.network, each.address)
    await router.probe_on()
    client = router.client()
    bodies = {target(number): b"content of %d" % number for number in range(20)}
    for session, body in bodies.items():
        await client.ask(request(Operation.SET, session, body=body))
    answers = [await client.ask(request(Operation.GET, session)) for session in bodies]

    assert [ok(body, TIMEOUT_FIELD) for body in bodies.values()] == answers


@pytest.mark.parametrize(
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
    for each in router.backends:
        MemoryStateServer(router.network, each.address)
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


@pytest.mark.parametrize("asked", REQUESTS.values(), ids=REQUESTS)
async def test_request_passes_unchanged(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """A backend gets the very bytes that the client sent, however odd (protocol.md 10.1.1)."""
    router = MemoryRouter(nursery)
    backend = ScriptedBackend(router.network, router.backends[0].address, [*greeting(), *exchange(asked)])
    router.take_in()
    await router.client().ask(asked)

    assert [READ_CANARY + asked] == backend.heard


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
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


# --- the failover table, lived through ---


@pytest.mark.parametrize("operation", Operation, ids=lambda operation: operation.value)
async def test_failed_in_connecting(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """Where nothing was written every operation is tried again, and its client notices nothing."""
    router = MemoryRouter(nursery)
    asked, answer = request(operation), answer_to(operation)
    steps = [*asked_before(operation), *exchange(asked, answer)]
    backend = ScriptedBackend(router.network, router.backends[0].address, [*greeting(), *steps])
    router.network.disturb_once(backend.address, Fault.REFUSE)
    router.take_in()

    assert answer == await router.client().ask(asked)
    assert [heard_in(*steps)] == backend.heard


@pytest.mark.parametrize("operation", RUNS_TWICE, ids=lambda operation: operation.value)
async def test_failed_in_sending_and_repeated(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """What may run twice is sent once more when its backend goes away in the middle of it."""
    router = MemoryRouter(nursery)
    asked, answer = request(operation), answer_to(operation)
    first, second = asked_before(operation), [*asked_again(operation), *exchange(asked, answer)]
    backend = ScriptedBackend(
        router.network, router.backends[0].address, [*greeting(), *first], [*greeting(), *second]
    )
    router.network.disturb_once(backend.address, ResetAfter(len(heard_in(*first)) + len(asked) // 2))
    router.take_in()

    assert answer == await router.client().ask(asked)
    assert [Phase.SENDING] == troubles(router)


@pytest.mark.parametrize("operation", RUNS_ONCE, ids=lambda operation: operation.value)
async def test_failed_in_sending_and_given_up(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """What may not run twice is given up when its backend goes away in the middle of it."""
    router = MemoryRouter(nursery)
    asked = request(operation)
    backend = ScriptedBackend(router.network, router.backends[0].address, greeting())
    router.network.disturb_once(backend.address, ResetAfter(len(READ_CANARY) + len(asked) // 2))
    router.take_in()

    assert await router.client().ask(asked) == b""
    assert [Phase.SENDING] == troubles(router)


@pytest.mark.parametrize(
    "end", [Reset(), Close(), Say(b"200 OK\r\nContent-Le")], ids=["reset", "end", "half"]
)
@pytest.mark.parametrize("operation", RUNS_TWICE, ids=lambda operation: operation.value)
async def test_failed_in_reading_and_repeated(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation, end: Step
) -> None:
    """What may run twice is sent once more when its backend goes away before it has answered."""
    router = MemoryRouter(nursery)
    asked, answer = request(operation), answer_to(operation)
    first = [*asked_before(operation), Hear(asked)]
    second = [*asked_again(operation), *exchange(asked, answer)]
    backend = ScriptedBackend(
        router.network,
        router.backends[0].address,
        [*greeting(), *first, end, Close()],
        [*greeting(), *second],
    )
    router.take_in()

    assert answer == await router.client().ask(asked)
    assert [heard_in(*first), heard_in(*second)] == backend.heard


@pytest.mark.parametrize(
    "end", [Reset(), Close(), Say(b"200 OK\r\nContent-Le")], ids=["reset", "end", "half"]
)
@pytest.mark.parametrize("operation", RUNS_ONCE, ids=lambda operation: operation.value)
async def test_failed_in_reading_and_given_up(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation, end: Step
) -> None:
    """What may not run twice is given up when its backend goes away before it has answered."""
    router = MemoryRouter(nursery)
    asked = request(operation)
    backend = ScriptedBackend(
        router.network, router.backends[0].address, [*greeting(), Hear(asked), end, Close()]
    )
    router.take_in()

    assert await router.client().ask(asked) == b""
    assert [READ_CANARY + asked] == backend.heard


@pytest.mark.parametrize("operation", RUNS_TWICE, ids=lambda operation: operation.value)
async def test_nothing_is_sent_three_times(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """An operation whose second sending fails too is given up."""
    router = MemoryRouter(nursery)
    asked = request(operation)
    first, second = [*asked_before(operation), Hear(asked)], [*asked_again(operation), Hear(asked)]
    backend = ScriptedBackend(
        router.network,
        router.backends[0].address,
        [*greeting(), *first, Reset()],
        [*greeting(), *second, Reset()],
    )
    router.take_in()

    assert await router.client().ask(asked) == b""
    assert [heard_in(*first), heard_in(*second)] == backend.heard


async def test_streamed_request_is_not_repeated(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A body that streams through is gone when it fails, and is never sent in part or from memory."""
    router = MemoryRouter(nursery)
    asked = request(Operation.CREATE_UNINITIALIZED, body=LARGE)
    steps = [*asked_before(Operation.CREATE_UNINITIALIZED), Hear(asked)]
    backend = ScriptedBackend(router.network, router.backends[0].address, [*greeting(), *steps, Reset()])
    await times_are_settled(router)

    assert await router.client().ask(asked) == b""
    assert [heard_in(*steps)] == backend.heard


async def test_streamed_request_waits_for_a_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A body that streams through is not touched before there is a connection: connecting may be repeated."""
    router = MemoryRouter(nursery)
    asked = request(Operation.SET, body=LARGE)
    backend = ScriptedBackend(
        router.network, router.backends[0].address, [*greeting(), *exchange(asked, ok())]
    )
    router.network.disturb_once(backend.address, Fault.REFUSE)
    await times_are_settled(router)

    assert ok() == await router.client().ask(asked)


@pytest.mark.parametrize("operation", RUNS_TWICE, ids=lambda operation: operation.value)
async def test_reused_connection_found_dead(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """A pooled connection that dies under a request costs a second sending, and ejects nobody."""
    router = MemoryRouter(nursery, health=HealthPolicy(fall=1))
    asked, answer = request(operation), answer_to(operation)
    ScriptedBackend(
        router.network,
        router.backends[0].address,
        [*greeting(), *exchange(GET), *asked_before(operation), Hear(asked), Reset()],
        [*greeting(), *asked_again(operation), *exchange(asked, answer)],
    )
    router.take_in()
    client = router.client()
    await client.ask(GET)

    assert answer == await client.ask(asked)
    assert router.observer.named("backend_ejected") == []


# --- giving up ---


async def test_no_backend_up(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With nobody to ask, the client's connection is closed at once, never answered (protocol.md 8.2)."""
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
    router.roster.probe_succeeded("state-2", LIFE)
    client = router.client()
    await client.send(asked)
    await trio.sleep(3)
    router.roster.probe_succeeded("state-1", LIFE)

    assert ok(CONTENT) == await client.receive_answer()


async def test_nothing_is_known_in_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A session whose server has no verdict in the time of an exchange is closed, not declared lost."""
    router = MemoryRouter(nursery, backends=2)
    router.roster.probe_succeeded("state-2", LIFE)
    client = router.client()
    await client.send(request(Operation.GET, a_session_of("state-1", 2)))

    assert await is_closed_at(client) == pytest.approx(7.9)


@pytest.mark.parametrize("operation", [Operation.ACQUIRE, Operation.REMOVE, Operation.SET])
async def test_canaries_are_none_of_a_clients_business(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """A client that could lock or remove a canary could have a healthy server ejected."""
    router = MemoryRouter(nursery)
    ScriptedBackend(router.network, router.backends[0].address)
    router.take_in()

    answer = await router.client().ask(request(operation, CANARY_TARGET))
    assert answer.startswith(b"400 Bad Request")


@pytest.mark.parametrize(
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
    """A request that finds nobody to connect to is given up before its exchange's time is over."""
    router = MemoryRouter(nursery, health=HealthPolicy(fall=1000))
    router.network.disturb(router.backends[0].address, Fault.REFUSE)
    router.take_in()
    client = router.client()

    assert await client.ask(GET) == b""
    assert 7.7 < trio.current_time() < 8.0


# --- ejection ---


async def test_refused_until_ejected(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request of which nothing was written is tried until the ejection, and then goes to the next."""
    router = MemoryRouter(nursery, backends=2)
    dead, alive = router.backends
    router.network.disturb(dead.address, Fault.REFUSE)
    asked = request(Operation.SET, a_session_of("state-1", 2))
    ScriptedBackend(router.network, alive.address, [*greeting(), *exchange(asked, ok())])
    router.take_in()

    assert ok() == await router.client().ask(asked)
    assert [dead.address] * 3 + [alive.address] == [address for _, address in router.network.dialled]
    assert trio.current_time() <= router.health.fall * RETRY_PAUSE + 1e-9


async def test_ejected_sessions_go_to_the_next(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While a server is out each of its sessions is served by the next of its own preference list."""
    router = MemoryRouter(nursery, backends=3)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    servers["state-2"].kill()
    await router.observer.wait_for("backend_ejected")
    expected: dict[str, list[bytes]] = {name: [] for name in servers}
    client = router.client()
    for number in range(60):
        await client.ask(request(Operation.GET, target(number)))
        first = next(name for name in preference_list(number, 3) if name != "state-2")
        expected[first].append(target(number))

    assert expected == {
        name: [each for operation, each in server.requests if operation is Operation.GET]
        for name, server in servers.items()
    }


async def test_home_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that comes back with what it held serves its sessions again."""
    router = MemoryRouter(nursery, backends=2)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session, b"before")
    servers["state-1"].freeze()
    await router.observer.wait_for("backend_ejected")
    servers["state-1"].thaw()
    await router.observer.wait_for("backend_came_up", times=3)

    assert ok(b"before", TIMEOUT_FIELD) == await read(router, session)


async def test_what_was_declared_lost_does_not_come_home(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A session of which its client was told that it is lost never comes back (design.md 7.4, P4)."""
    router = MemoryRouter(nursery, backends=2)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session, b"before")
    servers["state-1"].freeze()
    await router.observer.wait_for("backend_ejected")
    meanwhile = await read(router, session)
    servers["state-1"].thaw()
    await router.observer.wait_for("backend_came_up", times=3)

    assert NOT_FOUND == meanwhile
    assert NOT_FOUND == await read(router, session)
    assert [("loss_declared", Operation.GET, ("state-1",))] == router.observer.named("loss_declared")


async def test_other_sessions_notice_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While one server freezes and is ejected, sessions of the others are answered without delay."""
    router = MemoryRouter(nursery, backends=2)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    session = a_session_of("state-2", 2)
    await save(router, session)
    servers["state-1"].freeze()
    delays = []
    client = router.client()
    while not router.observer.named("backend_ejected"):
        asked_at = trio.current_time()
        await client.ask(request(Operation.GET, session))
        delays.append(trio.current_time() - asked_at)
        await trio.sleep(0.05)

    assert max(delays) == 0


async def test_cut_request_that_may_run_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A get that waits for a frozen server is answered by the next server as soon as the first is ejected."""
    router = MemoryRouter(nursery, backends=2)
    frozen, other = router.backends
    asked = request(Operation.GET, a_session_of("state-1", 2))
    ScriptedBackend(router.network, frozen.address, [*greeting(), Hear(asked), HearEnd()])
    ScriptedBackend(router.network, other.address, [*greeting(), *exchange(asked)])
    router.take_in()
    client = router.client()
    await client.send(asked)
    await trio.sleep(3)
    restart(router, frozen.name)

    assert ANSWER == await client.receive_answer()
    assert trio.current_time() == 3


async def test_cut_request_that_may_not_run_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A set that waits for a frozen server is closed as soon as the server is ejected."""
    router = MemoryRouter(nursery, backends=2)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session)
    servers["state-1"].freeze()
    await trio.sleep(5)
    client = router.client()
    await client.send(request(Operation.SET, session))
    closed_at = await is_closed_at(client)

    assert router.serving == {"state-2"}
    assert closed_at < 5 + 7.9
    assert Operation.SET not in [operation for operation, _ in servers["state-2"].requests]


async def test_waiting_for_a_place_ends_with_the_ejection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A request that waits for a frozen server's connections goes to the next server at the ejection."""
    router = MemoryRouter(nursery, backends=2, connections=1)
    frozen, other = router.backends
    one, another = sessions_of("state-1", 2)
    first, second = request(Operation.SET, one), request(Operation.GET, another)
    ScriptedBackend(router.network, frozen.address, [*greeting(), Hear(first), HearEnd()])
    ScriptedBackend(router.network, other.address, [*greeting(), *exchange(second)])
    router.take_in()
    await router.client().send(first)
    await wait_all_tasks_blocked()
    waiting = router.client()
    await waiting.send(second)
    await trio.sleep(1)
    restart(router, frozen.name)

    assert ANSWER == await waiting.receive_answer()
    assert trio.current_time() == 1


async def test_restart_is_noticed_before_anything_is_sent(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A restarted server sees no request before the router knows: it would say 404 of what it lost."""
    router = MemoryRouter(nursery, backends=2)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session)
    servers["state-1"].restart()
    before = len(servers["state-1"].requests)
    answer = await read(router, session)

    assert NOT_FOUND == answer
    assert Operation.GET not in [operation for operation, _ in servers["state-1"].requests[before:]]
    assert (Operation.GET, session) in servers["state-2"].requests


async def test_restarted_server_is_taken_in_empty(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A restarted server is back within one probe interval; what it says then of a session is true."""
    router = MemoryRouter(nursery, backends=2)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session)
    servers["state-1"].restart()
    await trio.sleep(router.health.interval + 1)

    assert NOT_FOUND == await read(router, session)
    assert Operation.GET in [operation for operation, _ in servers["state-1"].requests]
    assert router.observer.named("loss_declared") == []


# --- locks ---


async def save_and_lose_a_lock(router: MemoryRouter, server: MemoryStateServer) -> None:
    """Save a session, freeze its server, and have a client give up on an acquire."""
    await save(router, TARGET)
    server.freeze()
    client = router.client()
    await client.send(ACQUIRE)
    await is_closed_at(client)


async def test_lock_granted_after_a_freeze(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock that a thawed server grants to nobody is given back, and the next acquire succeeds."""
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


# --- lost_sessions: close ---


async def test_close_while_the_owner_is_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With `lost_sessions: close` nothing that is out is declared lost: its clients are closed."""
    router = MemoryRouter(nursery, backends=2, lost_sessions=LostSessions.CLOSE)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    servers["state-1"].kill()
    await router.observer.wait_for("backend_ejected")

    assert await read(router, a_session_of("state-1", 2)) == b""
    assert router.observer.named("loss_declared") == []


async def test_close_leaves_others_alone(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With `lost_sessions: close` a server that has always been there speaks for its own sessions.

    What it does not have then does not exist, whoever else is silent (design.md 7.4).
    """
    router = MemoryRouter(nursery, backends=2, lost_sessions=LostSessions.CLOSE, ledger=SHORT)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    await settle(router)
    servers["state-1"].kill()
    await router.observer.wait_for("backend_ejected")

    assert NOT_FOUND == await read(router, a_session_of("state-2", 2))


async def test_close_until_a_server_can_vouch(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Soon after the router's start nobody has always been there, and nobody is believed alone."""
    router = MemoryRouter(nursery, backends=2, lost_sessions=LostSessions.CLOSE)
    servers = {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}
    await router.probe_on()
    servers["state-1"].kill()
    await router.observer.wait_for("backend_ejected")

    assert await read(router, a_session_of("state-2", 2)) == b""


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


def troubles(router: MemoryRouter) -> list[Phase]:
    """In which phases exchanges with backends were reported to have failed."""
    return [fact[1].phase for fact in router.observer.named("backend_troubled")]  # type: ignore[attr-defined]


def restart(router: MemoryRouter, name: str) -> None:
    """Have the router learn that this backend was restarted."""
    router.roster.probe_succeeded(name, b"another life")
