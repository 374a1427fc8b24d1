"""Processes of the simulation that stand still."""

import trio

from tests.simulation.pausing import Pauses
from tests.simulation.seeded import run_seeded


async def ticks_of_a_paused_process() -> list[float]:
    """When a task that sleeps a second at a time goes on; its process stands still from 2.5 to 7.5 s."""
    ticks: list[float] = []

    async def tick() -> None:
        for _ in range(4):
            await trio.sleep(1.0)
            ticks.append(round(trio.current_time() - began_at, 3))

    began_at = trio.current_time()
    async with trio.open_nursery() as process:
        process.start_soon(tick)
        pauses = Pauses()
        await trio.sleep(2.5)
        pauses.pause(process)
        await trio.sleep(5.0)
        pauses.resume(process)
    return ticks


def test_a_paused_process_runs_nothing() -> None:
    """No task of it goes on before it resumes; a time-out that has struck meanwhile is seen then."""
    assert [1.0, 2.0, 7.5, 8.5] == run_seeded(1, ticks_of_a_paused_process)
