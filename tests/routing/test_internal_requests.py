"""InternalRequests: what the router asks on its own account, and what comes of it: a value, or nothing."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.backend import Intent
from partitioner.protocol.messages import AnswerHead, Operation
from partitioner.routing.internal_requests import (
    DEFAULT_TIMEOUT_MINUTES,
    PACE,
    BackendReply,
    InternalRequest,
    get,
    put,
    release,
    remove,
    touch,
)
from partitioner.transport.backend_connections import HELD_BODY
from tests.doubles.backends import (
    NOT_FOUND,
    READ_CANARY,
    Close,
    Hear,
    HearEnd,
    Reset,
    Say,
    ScriptedBackend,
    Stall,
    Step,
    greeting,
    ok,
)
from tests.doubles.farms import MemoryFarm
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import CONTENT, GET, HEAD, TARGET, request
from tests.identities import STATE_1
from tests.tables import each_case

PATIENCE = 0.25
LARGE = b"x" * (4 * HELD_BODY)
ANSWER = ok(CONTENT, b"Timeout: 20")


class Setting:
    """A router whose only backend plays these scripts."""

    def __init__(self, nursery: trio.Nursery, *scripts: list[Step]) -> None:
        self.router = MemoryRouter(nursery)
        self.internal_requests = self.router.core.internal_requests
        self.backend = ScriptedBackend(self.router.network, self.router.backends[0].address, *scripts)
        self.router.take_in()

    async def run(self, internal_request: InternalRequest) -> BackendReply | None:
        return await self.internal_requests.run(STATE_1, internal_request)


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=1e-3)


# --- their bytes ---

# What is sent for each internal request: the same that a client would send (protocol.md 3.1).
SPELLED = {
    "get": (get(TARGET), GET),
    "touch": (touch(TARGET), HEAD),
    "release": (release(TARGET, 7), request(Operation.RELEASE, cookie=7)),
    "remove": (remove(TARGET), request(Operation.REMOVE)),
}


@each_case(("internal_request", "expected"), SPELLED.values(), ids=SPELLED)
def test_spelling(internal_request: InternalRequest, expected: bytes) -> None:
    """An internal request is a request like any other."""
    assert expected == internal_request.head.raw + internal_request.body


# Fields of a get's answer, and how the session is put elsewhere.
PUTS = {
    "plain": ((b"Timeout: 3",), request(Operation.SET, minutes=3)),
    "uninitialized": (
        (b"ActionFlags: 1", b"Timeout: 20"),
        request(Operation.CREATE_UNINITIALIZED),
    ),
    "without a time-out": ((), request(Operation.SET, minutes=DEFAULT_TIMEOUT_MINUTES)),
}


@each_case(("fields", "expected"), PUTS.values(), ids=PUTS)
def test_put(fields: tuple[bytes, ...], expected: bytes) -> None:
    """What was told by a get is stored with its time-out, and with its flag where it has been told."""
    raw = ok(CONTENT, *fields)[: -len(CONTENT)]
    put_there = put(TARGET, BackendReply(AnswerHead(raw, 200, len(CONTENT)), CONTENT, 0.0))

    assert expected == put_there.head.raw + put_there.body


# --- one internal request ---


@pytest.mark.parametrize("answer", [ANSWER, NOT_FOUND], ids=["200", "404"])
async def test_told(nursery: trio.Nursery, autojump_clock: MockClock, answer: bytes) -> None:
    """Whatever a state server says is told, with the time at which it was asked."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Stall(0.1), Say(answer)])
    told = await setting.run(get(TARGET))

    assert told is not None
    assert (answer, 0.0) == (told.head.raw + told.body, told.sent_at)


async def test_late(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No request waits longer than an internal request's patience; the backend is probed, and not blamed
    (design.md 5)."""
    setting = Setting(nursery, [*greeting(), Hear(GET), HearEnd()])
    told = await setting.run(get(TARGET))

    assert told is None
    assert trio.current_time() == about(PATIENCE)
    assert setting.router.roster.pool.members[STATE_1].record.failures == 0


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["end", "reset"])
async def test_second_try(nursery: trio.Nursery, autojump_clock: MockClock, end: Step) -> None:
    """A connection that ends takes with it what lay in it: the internal request may run again, whatever it
    is."""
    put_there = put(TARGET, BackendReply(AnswerHead(b"", 200), CONTENT, 0.0))
    asked = put_there.head.raw + put_there.body
    setting = Setting(
        nursery, [*greeting(), Hear(asked), Stall(0.1), end], [*greeting(), Hear(asked), Say(ok())]
    )
    told = await setting.run(put_there)

    assert told is not None
    assert (200, 0.1) == (told.status, about(told.sent_at))


async def test_no_third_try(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Twice is enough: repair comes back to it."""
    failing = [*greeting(), Hear(GET), Close()]
    setting = Setting(nursery, failing, failing)

    assert await setting.run(get(TARGET)) is None
    assert [READ_CANARY + GET] * 2 == setting.backend.heard


async def test_a_length_that_is_only_told_prolongs_and_reserves_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A backend that tells of 200 MB and sends nothing has no longer than any other, and no memory."""
    lie = b"200 OK\r\nContent-Length: 200000000\r\n\r\n"
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(lie), HearEnd()])
    used: list[int] = []

    async def look() -> None:
        await trio.sleep(PATIENCE / 2)
        used.append(setting.router.core.body_budget.used)

    nursery.start_soon(look)
    told = await setting.run(get(TARGET))

    assert told is None
    assert (about(PATIENCE), [0]) == (trio.current_time(), used)


async def test_a_length_that_can_never_be_held_is_refused(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """At once, and whatever else waits for memory is served."""
    lie = b"200 OK\r\nContent-Length: 2000000000\r\n\r\n"
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(lie), HearEnd()])
    told = await setting.run(get(TARGET))

    assert (None, 0.0) == (told, trio.current_time())
    assert 0 == setting.router.core.body_budget.used


async def test_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A closed port is proof at once, and counts against the backend."""
    setting = Setting(nursery)
    setting.router.network.disturb(setting.backend.address, Fault.REFUSE)

    assert await setting.run(get(TARGET)) is None
    assert (0.0, 1) == (
        trio.current_time(),
        setting.router.roster.pool.members[STATE_1].record.failures,
    )


async def test_a_server_that_is_not_to_be_spoken_to(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No internal request goes to a server in maintenance, or to one that is down."""
    farm = MemoryFarm(nursery)
    await farm.start()
    farm.set_intent(0, Intent.MAINT)
    await farm.eject(1)
    dialled = len(farm.router.network.dialled)
    told = [
        await farm.router.core.internal_requests.run(farm.names[place], touch(TARGET)) for place in (0, 1)
    ]

    assert [None, None] == told
    assert dialled == len(farm.router.network.dialled)


# --- several at once ---


async def test_side_by_side(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The outcomes come in the order of the internal requests, and take as long as the slowest."""
    farm = MemoryFarm(nursery)
    await farm.start()
    farm.tell(2, request(Operation.SET))
    farm.servers[1].freeze()
    told = await farm.router.core.internal_requests.run_all([(name, touch(TARGET)) for name in farm.names])

    assert [404, None, 200] == [None if each is None else each.status for each in told]
    assert trio.current_time() == about(PATIENCE)


async def test_none_at_all(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """To send no internal requests is no mistake."""
    setting = Setting(nursery)

    assert [] == await setting.internal_requests.run_all([])


# --- large sessions ---


async def test_a_large_body_is_held(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What is fetched whole counts against the memory for bodies, for as long as it is needed."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(ok(LARGE))])
    async with setting.internal_requests.fetched(STATE_1, TARGET) as told:
        during = setting.router.memory.used

    assert told is not None
    assert (LARGE, len(LARGE), 0) == (told.body, during, setting.router.memory.used)


async def test_a_large_body_that_breaks_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What did not come whole is not told, and not held."""
    breaking = [*greeting(), Hear(GET), Say(ok(LARGE)[:-1]), Close()]
    setting = Setting(nursery, breaking, breaking)
    async with setting.internal_requests.fetched(STATE_1, TARGET) as told:
        pass

    assert (None, 0) == (told, setting.router.memory.used)


async def test_memory_is_given_back_whatever_happens(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A failure in the use of what was fetched does not keep it."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(ok(LARGE))])
    with pytest.raises(ZeroDivisionError):
        async with setting.internal_requests.fetched(STATE_1, TARGET):
            raise ZeroDivisionError

    assert setting.router.memory.used == 0


async def test_a_large_body_has_time_to_come(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """To read a large session takes its time, just as to write it: a second more for each 16 MiB (7.1)."""
    large = b"x" * (PACE // 16)
    setting = Setting(
        nursery, [*greeting(), Hear(GET), Stall(0.2), Say(ok(large)[:-1]), Stall(0.1), Say(b"x")]
    )
    told = await setting.run(get(TARGET))

    assert told is not None
    assert len(large) == len(told.body)


async def test_a_large_body_does_not_have_all_the_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server that stalls in the middle of a large session is late."""
    large = b"x" * (PACE // 16)
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(ok(large)[:-1]), HearEnd()])
    told = await setting.run(get(TARGET))

    assert told is None
    assert trio.current_time() == about(PATIENCE + 1 / 16)
