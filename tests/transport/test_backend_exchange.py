"""Connections to a backend that are used again, and how many there may be."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import BackendEjected, Phase
from tests.doubles.backends import (
    INCARNATION,
    READ_CANARY,
    Close,
    Hear,
    HearEnd,
    Reset,
    Say,
    Stall,
    Step,
    greeting,
    ok,
)
from tests.doubles.network import Fault
from tests.doubles.sessions import CONTENT, GET, HEAD, SET
from tests.tables import each_case
from tests.transport.upstreams import LARGE, Setting, asked_and_answered, fail_as, get

# --- reuse ---


async def test_reused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A connection whose answer was complete serves the next request, without another look at the canary."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered(get(1)), *asked_and_answered(get(2))])
    await setting.ask(get(1))
    await setting.ask(get(2))

    assert setting.backend.heard == [READ_CANARY + get(1) + get(2)]


async def test_last_returned_is_first_reused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Idle connections are a stack: the one that came back last goes out first."""
    early = [*greeting(), Hear(get(1)), Stall(1), Say(ok())]
    late = [*greeting(), Hear(get(2)), Stall(2), Say(ok()), *asked_and_answered(get(3))]
    setting = Setting(nursery, early, late)
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(1))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(2))
    await setting.ask(get(3))

    assert setting.backend.heard == [READ_CANARY + get(1), READ_CANARY + get(2) + get(3)]


async def test_idle_not_long_enough(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A connection that was idle for up to 10 s is used again."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered(get(1)), *asked_and_answered(get(2))])
    await setting.ask(get(1))
    await trio.sleep(10)

    assert await setting.ask(get(2)) == ok(CONTENT)


async def test_idle_too_long(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A connection that was idle for more than 10 s is not used again: its backend may be closing it."""
    setting = Setting(
        nursery, [*greeting(), *asked_and_answered(get(1))], [*greeting(), *asked_and_answered(get(2))]
    )
    await setting.ask(get(1))
    await trio.sleep(10.01)

    assert await setting.ask(get(2)) == ok(CONTENT)
    assert setting.backend.streams[0].is_abandoned


async def test_retired(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Of the idle connections those that were idle for more than 10 s are retired, and the others kept."""
    early = [*greeting(), Hear(get(1)), Stall(1), Say(ok())]
    late = [*greeting(), Hear(get(2)), Stall(2), Say(ok())]
    setting = Setting(nursery, early, late)
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(1))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(2))
    await trio.sleep(9.5)
    setting.upstream.retire_idle()

    assert [stream.is_abandoned for stream in setting.backend.streams] == [True, False]


@each_case("end", [Close(), Reset(), Say(b"x")], ids=["end", "reset", "unasked byte"])
async def test_idle_connection_found_bad(nursery: trio.Nursery, autojump_clock: MockClock, end: Step) -> None:
    """A pooled connection in which something has come in is not used: a set must not be sent twice."""
    going_bad = [*greeting(), *asked_and_answered(), Stall(1), end]
    setting = Setting(nursery, going_bad, [*greeting(), Hear(SET), Say(ok())])
    await setting.ask(GET)
    await trio.sleep(2)

    assert await setting.ask(SET) == ok()
    assert setting.backend.streams[0].is_abandoned


async def test_one_dead_connection_condemns_the_others(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Where one pooled connection is found dead the others likely are, and are not tried one by one."""
    early = [*greeting(), Hear(get(1)), Stall(1), Say(ok())]
    late = [*greeting(), Hear(get(2)), Stall(2), Say(ok()), Hear(get(3)), Reset()]
    setting = Setting(nursery, early, late, [*greeting(), *asked_and_answered(get(4))])
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(1))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(2))
    await setting.fail(get(3))

    assert await setting.ask(get(4)) == ok(CONTENT)
    assert setting.backend.streams[0].is_abandoned


@each_case(
    "answer", [ok(CONTENT) + b"x", ok(CONTENT) + ok(), ok(LARGE) + b"x"], ids=["byte", "answer", "streamed"]
)
async def test_surplus(nursery: trio.Nursery, autojump_clock: MockClock, answer: bytes) -> None:
    """A connection on which more came than was asked for is not used again: the rest is nobody's answer."""
    setting = Setting(
        nursery, [*greeting(), *asked_and_answered(GET, answer)], [*greeting(), Hear(SET), Say(ok())]
    )
    first = await setting.ask(GET)

    assert answer.startswith(first)
    assert await setting.ask(SET) == ok()


async def test_answer_to_head_has_no_body(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The answer to a HEAD ends with its head, whatever length it states (protocol.md 10.1.3)."""
    answer = b"200 OK\r\nContent-Length: 7\r\n\r\n"
    setting = Setting(nursery, [*greeting(), Hear(HEAD), Say(answer), *asked_and_answered()])

    assert await setting.ask(HEAD) == answer
    assert await setting.ask(GET) == ok(CONTENT)


async def test_a_client_that_leaves_costs_one_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A client that leaves a streamed answer says nothing about the idle connections to its backend."""
    answer = ok(LARGE)
    setting = Setting(
        nursery,
        [*greeting(), Hear(get(1)), Stall(1), Say(ok()), Hear(get(3)), Say(ok())],
        [*greeting(), Hear(get(2)), Say(answer)],
    )
    nursery.start_soon(setting.ask, get(1))
    await trio.sleep(0.5)
    streamed = await setting.begin(get(2))
    await trio.sleep(1)
    streamed.finish(False)

    assert ok() == await setting.ask(get(3))


# --- the limit of connections ---


async def test_limit(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """At the limit a request waits until a connection is free, and then reuses it."""
    setting = Setting(
        nursery, [*greeting(), Hear(get(1)), Stall(3), Say(ok()), *asked_and_answered(get(2))], connections=1
    )
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(1))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(2))

    assert trio.current_time() == 3
    assert len(setting.backend.streams) == 1


async def test_failed_connecting_gives_its_place_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A connection that did not come about does not count."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered()], connections=1)
    setting.network.disturb_once(setting.address, Fault.REFUSE)
    await setting.fail(GET)

    assert await setting.ask(GET) == ok(CONTENT)


async def test_broken_connection_gives_its_place_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A connection that broke does not count any more."""
    setting = Setting(
        nursery, [*greeting(), Hear(SET), Reset()], [*greeting(), *asked_and_answered()], connections=1
    )
    await setting.fail(SET)

    assert await setting.ask(GET) == ok(CONTENT)


async def test_unanswered_counts_until_its_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An unanswered connection counts until its end of file, so a frozen backend cannot collect them."""
    setting = Setting(
        nursery,
        [*greeting(), Hear(SET), HearEnd(), Stall(5), Close()],
        [*greeting(), *asked_and_answered()],
        connections=1,
    )
    await setting.fail(SET, within=1)
    await setting.ask(GET)

    assert trio.current_time() == 1 + 5


async def test_limit_holds_after_an_ejection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request that an ejection turned away from the queue has taken no place, and gives none back."""
    setting = Setting(
        nursery,
        [*greeting(), Hear(SET), HearEnd(), Close()],
        [*greeting(), Hear(get(2)), Stall(3), Say(ok()), *asked_and_answered(get(3))],
        connections=1,
    )
    async with trio.open_nursery() as asking:
        asking.start_soon(fail_as, setting, SET, BackendEjected, Phase.READING)
        await wait_all_tasks_blocked()
        asking.start_soon(fail_as, setting, get(1), BackendEjected, Phase.CONNECTING)
        await wait_all_tasks_blocked()
        setting.upstream.cut()
    await wait_all_tasks_blocked()
    setting.upstream.reinstate(INCARNATION)
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(2))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(3))

    assert setting.backend.heard[1:] == [READ_CANARY + get(2) + get(3)]
