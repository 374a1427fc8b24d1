"""The retry table, lived through: what is retried when a backend fails, and what is given up."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import Phase
from partitioner.membership.health import HealthPolicy
from partitioner.protocol.messages import Operation
from tests.doubles.backends import READ_CANARY, Close, Hear, Reset, Say, ScriptedBackend, Step, greeting, ok
from tests.doubles.network import Fault, ResetAfter
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import CONTENT, GET, HEAD, request
from tests.routing.steps import ANSWER, LARGE, TIMEOUT_FIELD, exchange, times_are_settled, troubles
from tests.tables import each_case

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


@each_case("operation", Operation, ids=lambda operation: operation.value)
async def test_failed_in_connecting(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """Where nothing was written every operation is retried, and its client notices nothing."""
    router = MemoryRouter(nursery)
    asked, answer = request(operation), answer_to(operation)
    steps = [*asked_before(operation), *exchange(asked, answer)]
    backend = ScriptedBackend(router.network, router.backends[0].address, [*greeting(), *steps])
    router.network.disturb_once(backend.address, Fault.REFUSE)
    router.take_in()

    assert answer == await router.client().ask(asked)
    assert [heard_in(*steps)] == backend.heard


@each_case("operation", RUNS_TWICE, ids=lambda operation: operation.value)
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


@each_case("end", [Reset(), Close(), Say(b"200 OK\r\nContent-Le")], ids=["reset", "end", "half"])
@each_case("operation", RUNS_TWICE, ids=lambda operation: operation.value)
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


@each_case("end", [Reset(), Close(), Say(b"200 OK\r\nContent-Le")], ids=["reset", "end", "half"])
@each_case("operation", RUNS_ONCE, ids=lambda operation: operation.value)
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


@each_case("operation", RUNS_TWICE, ids=lambda operation: operation.value)
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


@each_case("operation", RUNS_TWICE, ids=lambda operation: operation.value)
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
