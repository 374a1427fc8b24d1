"""What an upstream counts of its exchanges."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import BackendFailure, ClientGone, Phase
from partitioner.transport.backend_connections import HELD_BODY, Upstream
from partitioner.transport.half_closed import PATIENCE
from partitioner.transport.messages import Request
from tests.doubles.backends import (
    INCARNATION,
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
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import CONTENT, GET, SET, whole
from tests.identities import STATE_1
from tests.tables import each_case

LARGE = b"x" * (2 * HELD_BODY)


class Setting:
    """An upstream to a backend that is UP, and what the backend plays on its connections."""

    def __init__(self, nursery: trio.Nursery, *scripts: Sequence[Step]) -> None:
        self.router = MemoryRouter(nursery)
        self.address = self.router.backends[0].address
        ScriptedBackend(self.router.network, self.address, *(list(script) for script in scripts))
        self.upstream: Upstream = self.router.roster.upstreams[STATE_1]
        self.traffic = self.upstream.traffic
        self.router.take_in()

    async def ask(self, asked: bytes = GET, within: float = 8.0) -> None:
        """Have a request answered to its last byte."""
        response = await self.upstream.exchange(whole(asked, trio.current_time() + within))
        while response.rest is not None and await response.rest():
            pass

    async def fail(self, asked: bytes = GET, within: float = 8.0) -> None:
        with pytest.raises(BackendFailure):
            await self.ask(asked, within)

    @property
    def answers(self) -> dict[int, int]:
        return {status: count for status, count in self.traffic.answers.items() if count}

    @property
    def failures(self) -> dict[Phase, int]:
        return {phase: count for phase, count in self.traffic.failures.items() if count}

    @property
    def connections(self) -> tuple[int, int, int]:
        """Leased, idle and unanswered ones."""
        return self.upstream.leased, self.upstream.idle, self.upstream.half_closed.unanswered


def answer(status: bytes) -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"


@each_case("status", [b"200 OK", b"404 Not Found", b"423 Locked", b"400 Bad Request"])
async def test_answered(nursery: trio.Nursery, autojump_clock: MockClock, status: bytes) -> None:
    """An answer counts by its status, and by how long it took from the request to its last byte."""
    said = answer(status)
    script = [*greeting(), Hear(GET), Stall(0.5), Say(said[:10]), Stall(1.0), Say(said[10:])]
    setting = Setting(nursery, script)
    await setting.ask()

    assert {int(status[:3]): 1} == setting.answers
    assert (1, 1.5) == (setting.traffic.durations.count, setting.traffic.durations.total)
    assert {} == setting.failures


async def test_a_streamed_answer_counts_at_its_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Not before its last byte, and once."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Stall(1.0), Say(ok(LARGE))])
    response = await setting.upstream.exchange(whole(GET, trio.current_time() + 8))
    assert response.rest is not None
    before = setting.answers
    while await response.rest():
        pass
    response.finish(True)

    assert ({}, {200: 1}) == (before, setting.answers)
    assert 1.0 == setting.traffic.durations.total


async def test_a_client_that_takes_its_time_is_not_the_backends_fault(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A backend's time begins when it has the whole request."""
    setting = Setting(nursery, [*greeting(), Hear(SET), Stall(0.25), Say(ok())])
    asked = whole(SET, trio.current_time() + 8)
    pieces = [CONTENT]

    async def rest() -> bytes:
        if not pieces:
            return b""
        await trio.sleep(1)
        return pieces.pop()

    await setting.upstream.exchange(Request(asked.head, b"", rest, asked.deadline))

    assert 0.25 == setting.traffic.durations.total


FAILURES: dict[str, tuple[list[Step], Phase]] = {
    "no canary": (greeting(None), Phase.CONNECTING),
    "hung up on": ([*greeting(), Hear(GET), Close()], Phase.READING),
    "reset": ([*greeting(), Hear(GET), Reset()], Phase.READING),
    "too slow": ([*greeting(), Hear(GET), Stall(30)], Phase.READING),
    "no answer": ([*greeting(), Hear(GET), Say(b"what?\r\n\r\n")], Phase.READING),
    "an answer that says nothing": ([*greeting(), Hear(GET), Say(answer(b"503 Busy"))], Phase.READING),
    "half an answer": ([*greeting(), Hear(GET), Say(ok(CONTENT)[:-1]), Close()], Phase.READING),
    "half a streamed answer": ([*greeting(), Hear(GET), Say(ok(LARGE)[:-1]), Close()], Phase.READING),
}


@each_case(("script", "phase"), FAILURES.values(), ids=FAILURES)
async def test_failed(
    nursery: trio.Nursery, autojump_clock: MockClock, script: list[Step], phase: Phase
) -> None:
    """A failure counts once, by how far the exchange had come; and never as an answer as well."""
    setting = Setting(nursery, script)
    await setting.fail()

    assert {phase: 1} == setting.failures
    assert ({}, 0) == (setting.answers, setting.traffic.durations.count)


async def test_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An exchange that found nobody has failed in connecting."""
    setting = Setting(nursery)
    setting.router.network.disturb(setting.address, Fault.REFUSE)
    await setting.fail()

    assert {Phase.CONNECTING: 1} == setting.failures


async def test_sending(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that does not take the request in time has failed in sending."""
    large = SET.replace(b"Content-Length:7", b"Content-Length:%d" % 300_000) + b"x" * (300_000 - 7)
    setting = Setting(nursery, [*greeting(), Stall(30)])
    await setting.fail(large)

    assert {Phase.SENDING: 1} == setting.failures


@pytest.mark.parametrize(
    ("script", "phase"),
    [([*greeting(), Hear(GET), Stall(30)], Phase.READING), ([Stall(30)], Phase.CONNECTING)],
)
async def test_given_up(
    nursery: trio.Nursery, autojump_clock: MockClock, script: list[Step], phase: Phase
) -> None:
    """An exchange that nobody waits for any more, such as a late copy, has failed."""
    setting = Setting(nursery, script)
    with trio.move_on_after(0.25):
        await setting.ask()

    assert {phase: 1} == setting.failures


async def test_a_client_that_leaves_is_nobodys_failure(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What the client has broken off says nothing of the backend."""
    asked = whole(SET, trio.current_time() + 8)
    setting = Setting(nursery, [*greeting(), Hear(asked.head.raw), HearEnd()])

    async def rest() -> bytes:
        raise ClientGone("in the middle of its request")

    with pytest.raises(ClientGone):
        await setting.upstream.exchange(Request(asked.head, b"", rest, asked.deadline))

    assert ({}, {}) == (setting.answers, setting.failures)


async def test_what_was_not_asked_does_not_count(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """When the time is over before anything was sent, there was no exchange."""
    setting = Setting(nursery, greeting())
    await setting.fail(within=0.0)

    assert ({}, {}) == (setting.answers, setting.failures)


async def test_connections(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Leased while an exchange lasts, idle after it, unanswered until their end where it had no answer."""
    script = [*greeting(), Hear(GET), Stall(1), Say(ok()), Hear(GET), HearEnd()]
    setting = Setting(nursery, script)
    seen = [setting.connections]
    nursery.start_soon(setting.ask)
    await trio.sleep(0.5)
    seen.append(setting.connections)
    await trio.sleep(1)
    seen.append(setting.connections)
    await setting.fail(within=2.0)
    seen.append(setting.connections)
    setting.upstream.half_closed.note_answering(True)
    await trio.sleep(PATIENCE + 1)
    seen.append(setting.connections)

    assert [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)] == seen


async def test_probes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The last good probe tells how long it took; a failed one changes nothing."""
    router = MemoryRouter(nursery)
    address = router.backends[0].address
    traffic = router.roster.upstreams[STATE_1].traffic
    seen = [traffic.last_probe]
    server = MemoryStateServer(router.network, address)
    await router.probe_on()
    seen.append(traffic.last_probe)
    server.kill()
    await trio.sleep(10)
    seen.append(traffic.last_probe)

    assert [None, 0.0, 0.0] == seen
    assert {200: 0, 404: 0, 423: 0, 400: 0} == traffic.answers


async def test_a_slow_probe(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """From the connection to the canary."""
    setting = Setting(nursery, [greeting()[0], Stall(0.5), *greeting()[1:]])
    await setting.router.core.probing.first_look()

    assert 0.5 == setting.traffic.last_probe
    assert INCARNATION == setting.router.roster.pool.members[STATE_1].record.incarnation
