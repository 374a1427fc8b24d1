"""Copies are kept alive by touches, a few at a time."""

import trio
from trio.testing import wait_all_tasks_blocked

from partitioner.net.toucher import AT_ONCE
from tests.doubles.routers import MemoryRouter


async def test_many_that_are_due_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """However many keys are due, only a few of them have a task, and in the end all had their turn."""
    lane = MemoryRouter(nursery, 2, copies=2).lane
    keys = [b"/%d" % number for number in range(3 * AT_ONCE)]
    for key in keys:
        await lane.gate.enter(key)
        lane.toucher.note_slid(key, key, key, "state-1", 20)
    nursery.start_soon(lane.toucher.run)
    before = trio.lowlevel.current_statistics().tasks_living
    await wait_all_tasks_blocked()

    assert AT_ONCE == trio.lowlevel.current_statistics().tasks_living - before

    for key in keys:
        lane.gate.leave(key)
    await trio.sleep(200.0)

    assert 0 == len(lane.toucher)
