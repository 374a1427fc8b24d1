"""The local time as stock servers write it: what dates a lock."""

import time

_TICKS_PER_SECOND = 10_000_000
_EPOCH_TICKS = 621_355_968_000_000_000  # 1970-01-01 in 100 ns since the year 1


def local_ticks() -> int:
    """The local time now in 100 ns since the year 1, as a stock server dates its locks (protocol.md 5.1)."""
    now = time.time()
    return _EPOCH_TICKS + int((now + time.localtime(now).tm_gmtoff) * _TICKS_PER_SECOND)
