"""Exchanges that are given up: what becomes of their connections, and what an ejection cuts."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import BackendEjected, Phase
from partitioner.transport.half_closed import GLANCE, PATIENCE
from tests.doubles.backends import Close, Hear, HearEnd, Say, Stall, greeting, ok
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, SET
from tests.transport.upstreams import LARGE, Setting, asked_and_answered, fail_as

# --- unanswered connections ---


async def test_half_closed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An unanswered connection is half-closed, and closed when the backend has ended it (design.md 6)."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd(), Stall(7), Close()])
    await setting.fail(SET, within=2)
    stream = setting.backend.streams[0]
    await trio.sleep(6.9)
    was_abandoned = stream.is_abandoned
    await stream.wait_until_abandoned()

    assert (was_abandoned, trio.current_time()) == (False, 2 + 7)


async def test_client_that_is_gone_leaves_a_watched_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An exchange that is cancelled from outside, its client being out of time, is watched as well."""
    setting = Setting(nursery, [*greeting(), Hear(ACQUIRE), HearEnd(), Stall(5), Close()])
    with trio.move_on_after(2):
        await setting.ask(ACQUIRE)
    await setting.backend.streams[0].wait_until_abandoned()

    assert trio.current_time() == 2 + 5


async def test_given_up_after_patience(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that answers probes has 30 s for its end of file; then it is closed (design.md 6)."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd()])
    await setting.fail(SET, within=2)
    await setting.backend.streams[0].wait_until_abandoned()

    assert 2 + PATIENCE <= trio.current_time() <= 2 + PATIENCE + GLANCE


async def test_not_given_up_while_probes_fail(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While the backend answers no probes its connections are kept: it may still work them off."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd()])
    await setting.fail(SET, within=2)
    setting.upstream.half_closed.note_answering(False)
    await trio.sleep(1000)

    assert not setting.backend.streams[0].is_abandoned


async def test_patience_begins_when_probes_are_answered_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The 30 s begin when the backend answers probes again, and not anew with each of its answers."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd()])
    await setting.fail(SET, within=2)
    setting.upstream.half_closed.note_answering(False)
    await trio.sleep(98)
    setting.upstream.half_closed.note_answering(True)
    await trio.sleep(20)
    setting.upstream.half_closed.note_answering(True)
    await setting.backend.streams[0].wait_until_abandoned()

    assert 100 + PATIENCE <= trio.current_time() <= 100 + PATIENCE + GLANCE


# --- cut ---


async def test_cut_ends_what_is_under_way(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An exchange under way fails at once when its backend is ejected; the backend hears the end of file."""
    setting = Setting(nursery, [*greeting(), Hear(GET), HearEnd(), Stall(1), Say(ok(CONTENT)), Close()])
    async with trio.open_nursery() as asking:
        asking.start_soon(fail_as, setting, GET, BackendEjected, Phase.READING)
        await trio.sleep(3)
        setting.upstream.cut()

    assert trio.current_time() == 3


async def test_cut_withholds_what_had_arrived(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Not even an answer that lies in the connection already is relayed after an ejection."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Stall(100)])
    async with trio.open_nursery() as asking:
        asking.start_soon(fail_as, setting, GET, BackendEjected, Phase.READING)
        await wait_all_tasks_blocked()
        await setting.backend.streams[0].send_all(ok(CONTENT))
        setting.upstream.cut()  # before the exchange has had a turn to read it


async def test_cut_in_a_streamed_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A streamed answer of an ejected backend ends at once, even if nothing more comes in."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(ok(LARGE)[:-1])])
    response = await setting.begin(GET)
    assert response.rest is not None
    received = 0
    while received < len(LARGE) - 1:
        received += len(await response.rest())
    setting.upstream.cut()
    with pytest.raises(BackendEjected):
        await response.rest()

    assert trio.current_time() == 0


async def test_cut_closes_idle_connections(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The idle connections of an ejected backend are closed: its next incarnation starts with new ones."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered()])
    await setting.ask(GET)
    setting.upstream.cut()

    assert setting.backend.streams[0].is_abandoned


async def test_no_reuse_across_an_ejection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An answer that was streaming when its backend left and came back does not return its connection."""
    setting = Setting(
        nursery,
        [*greeting(), Hear(GET), Say(ok(LARGE))],
        [*greeting(b"next-incarnation"), Hear(SET), Say(ok())],
    )
    response = await setting.begin(GET)
    setting.upstream.cut()
    setting.upstream.reinstate(b"next-incarnation")
    assert response.rest is not None
    with pytest.raises(BackendEjected):
        await response.rest()

    assert await setting.ask(SET) == ok()
