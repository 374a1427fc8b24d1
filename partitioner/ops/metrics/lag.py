"""How late does the event loop come to what is due? What everybody waits for, whoever is to blame."""

import trio

from partitioner.transport.traffic import Histogram

INTERVAL = 1.0


async def watch_lag(lags: Histogram) -> None:
    """Set a timer each second, and count by how much it fires too late."""
    while True:
        due = trio.current_time() + INTERVAL
        await trio.sleep_until(due)
        lags.add(trio.current_time() - due)
