"""How late the event loop runs what is due: a delay that every request shares."""

import trio

from partitioner.transport.traffic import Histogram

INTERVAL = 1.0


async def watch_lag(lags: Histogram) -> None:
    """Set a timer each second, and count by how much it fires too late."""
    while True:
        due = trio.current_time() + INTERVAL
        await trio.sleep_until(due)
        lags.add(trio.current_time() - due)
