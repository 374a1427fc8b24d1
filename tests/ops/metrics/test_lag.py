"""How late the event loop comes to what is due."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.ops.metrics.lag import INTERVAL, watch_lag
from partitioner.transport.traffic import DURATIONS, Histogram


async def test_lag(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    """Each second counts by how much later than due its timer fires."""
    lags = Histogram(DURATIONS)
    nursery.start_soon(watch_lag, lags)
    await wait_all_tasks_blocked()
    mock_clock.jump(INTERVAL)
    await wait_all_tasks_blocked()
    seen = [(lags.count, lags.total)]
    mock_clock.jump(INTERVAL + 0.25)
    await wait_all_tasks_blocked()
    seen.append((lags.count, lags.total))

    assert [(1, 0.0), (2, 0.25)] == seen
