"""Behind the gate: requests of one session pass one after another, whatever becomes of each (design.md 6)."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from partitioner.routing.router import LONGEST_DELIVERY
from partitioner.transport.backend_connections import HELD_BODY
from tests.doubles.backends import (
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
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, SET, TARGET, request
from tests.tables import each_case

ANSWER = ok(CONTENT, b"Timeout: 20")
SPELT_OTHERWISE = GET.replace(TARGET, b"/" + TARGET.replace(b"%2f", b"/"))
LARGE = b"x" * (4 * HELD_BODY)


def router_before(nursery: trio.Nursery, *scripts: list[Step]) -> MemoryRouter:
    """A router whose only backend plays these scripts."""
    router = MemoryRouter(nursery)
    ScriptedBackend(router.network, router.backends[0].address, *scripts)
    router.take_in()
    return router


async def test_the_second_waits_for_the_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The next request is sent when the one before it is answered, over the same connection."""
    router = router_before(
        nursery, [*greeting(), Hear(SET), Stall(2), Say(ok()), Hear(GET), Stall(1), Say(ANSWER)]
    )
    first, second = router.client(), router.client()
    await first.send(SET)
    await wait_all_tasks_blocked()
    await second.send(GET)

    assert (ANSWER, 3.0) == (await second.receive_answer(), trio.current_time())


async def test_all_spellings_share_a_gate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The key is that which the server sees, however the target is spelt (protocol.md 4.2)."""
    script = [*greeting(), Hear(SET), Stall(2), Say(ok()), Hear(SPELT_OTHERWISE), Say(ANSWER)]
    router = router_before(nursery, script)
    first, second = router.client(), router.client()
    await first.send(SET)
    await wait_all_tasks_blocked()
    await second.send(SPELT_OTHERWISE)

    assert (ANSWER, 2.0) == (await second.receive_answer(), trio.current_time())


async def test_it_waits_for_the_copies_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request waits until the one before it is done with its copies, so that none overtakes another."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(b"old")
    farm.servers[1].freeze()
    first, second = farm.router.client(), farm.router.client()
    await first.send(request(Operation.SET, body=b"new"))
    await wait_all_tasks_blocked()
    asked_at = trio.current_time()
    await second.send(GET)
    answer = await second.receive_answer()

    assert ok(b"new", b"Timeout: 20") == answer
    assert trio.current_time() - asked_at == pytest.approx(0.25, abs=1e-3)


async def test_other_sessions_do_not_wait(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A slow session is slow alone."""
    other = request(Operation.GET, TARGET[:-1] + b"x")
    router = router_before(
        nursery, [*greeting(), Hear(SET), HearEnd()], [*greeting(), Hear(other), Say(ANSWER)]
    )
    await router.client().send(SET)
    await wait_all_tasks_blocked()

    assert (ANSWER, 0.0) == (await router.client().ask(other), trio.current_time())


async def test_waiting_counts_against_the_deadline(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request that waits for its turn for all of its time is closed, like any other that comes too late."""
    router = router_before(nursery)
    await router.core.gate.enter(server_key(TARGET))

    assert b"" == await router.client().ask(ACQUIRE)
    assert trio.current_time() == pytest.approx(7.9)
    assert "other requests of the same session took all the time" == router.observer.facts[-1][3]


ENDINGS: dict[str, tuple[bytes, list[Step]]] = {
    "answered": (GET, [Say(ANSWER)]),
    "refused": (ACQUIRE, [Say(b"423 Locked\r\nLockCookie: 7\r\nContent-Length: 0\r\n\r\n")]),
    "streamed": (GET, [Say(ok(LARGE))]),
    "no answer": (SET, [Reset()]),
    "not an answer": (SET, [Say(b"503 Server Too Busy\r\nContent-Length: 0\r\n\r\n")]),
    "half an answer": (ACQUIRE, [Say(ANSWER[:-1]), Close()]),
    "half a streamed answer": (GET, [Say(ok(LARGE)[:-1]), Stall(1), Close()]),
    "too late": (SET, [HearEnd(), Close()]),
}


@each_case(("asked", "steps"), ENDINGS.values(), ids=ENDINGS)
async def test_the_gate_is_free_after_whatever_happened(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, steps: list[Step]
) -> None:
    """No request leaves its session's gate closed behind it."""
    router = router_before(nursery, [*greeting(), Hear(asked), *steps])
    client = router.client()
    await client.send(asked)
    await trio.sleep(10)

    assert 0 == len(router.core.gate)


@each_case("after", [0.5, 2.0], ids=["before the answer", "during the answer"])
@each_case("asked", [GET, ACQUIRE], ids=["get", "acquire"])
async def test_the_gate_is_free_after_a_client_that_left(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, after: float
) -> None:
    """Nor does one whose client left, before its answer or in the middle of it."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(LARGE)
    client = farm.router.client()
    farm.servers[0].freeze()
    await client.send(asked)
    await trio.sleep(0.5)
    if after < 1:
        client.reset()
    farm.servers[0].thaw()
    await wait_all_tasks_blocked()
    client.reset()
    await trio.sleep(10)

    assert 0 == len(farm.router.core.gate)
    assert b"200 OK" == (await farm.ask(ACQUIRE))[:6]


async def test_a_streamed_answer_keeps_the_gate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Until a large answer has been read to its end the next request of its session waits."""
    answer = ok(LARGE, b"Timeout: 20")
    script = [*greeting(), Hear(GET), Say(answer[:-1]), Stall(0.5), Say(answer[-1:]), Hear(SET), Say(ok())]
    router = router_before(nursery, script)
    reading, saving = router.client(), router.client()
    await reading.send(GET)
    await wait_all_tasks_blocked()
    await saving.send(SET)
    nursery.start_soon(reading.receive_answer)

    assert (ok(), 0.5) == (await saving.receive_answer(), trio.current_time())


async def test_a_client_that_does_not_read_keeps_the_gate_for_a_second(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Then the session's other requests go on, and it still gets what was read for it."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(LARGE)
    reading, began_at = farm.router.client(), trio.current_time()
    await reading.send(GET)
    await wait_all_tasks_blocked()
    answer = await farm.save(CONTENT)
    waited = trio.current_time() - began_at

    assert b"200 OK" == answer[:6]
    assert waited == pytest.approx(LONGEST_DELIVERY, abs=0.1)
    assert (await reading.receive_answer()).endswith(LARGE)


async def test_a_lock_that_is_not_read_is_given_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Also when its client has been waited for so long that the gate was left; till then it is held."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(LARGE)
    reading = farm.router.client()
    await reading.send(ACQUIRE)
    await wait_all_tasks_blocked()
    meanwhile = await farm.ask(GET)
    reading.reset()
    await trio.sleep(10)

    assert b"423" == meanwhile[:3]
    assert 0 == len(farm.router.core.gate)
    assert b"200 OK" == (await farm.ask(ACQUIRE))[:6]
