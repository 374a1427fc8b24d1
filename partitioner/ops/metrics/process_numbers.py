"""What the operating system says of this process, as plain numbers.

The client library could tell the same, but lists all open files in one go, which takes 10 ms where ten
thousand clients are connected. Here they are counted in pieces, and where Linux counts them itself (since
6.2) not even that. Elsewhere than on Linux there is no /proc, and less is told.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import trio

FILES_AT_A_TIME = 500
"""Entries of a directory that are looked at in one go, half a millisecond."""

_OWN = Path("/proc/self")


async def process_numbers() -> dict[str, float]:
    """All that can be told, by the names of the catalogue."""
    told = dict(_numbers())
    with suppress(OSError):
        told["process_open_fds"] = await count_files(_OWN / "fd")
    return told


async def count_files(directory: Path, *, may_ask: bool = True) -> int:
    """How many entries a directory of /proc has; `may_ask` says whether its size may be that number.

    Raises OSError.
    """
    if may_ask and (size := os.stat(directory).st_size):
        return size
    count = 0
    with os.scandir(directory) as entries:
        for count, _ in enumerate(entries, 1):
            if count % FILES_AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()
    return count


def _numbers() -> Iterator[tuple[str, float]]:
    yield "process_cpu_seconds_total", time.process_time()
    yield "process_max_fds", float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with suppress(OSError):
        pages = int((_OWN / "statm").read_text().split()[1])
        yield "process_resident_memory_bytes", float(pages * resource.getpagesize())
    with suppress(OSError):
        yield "process_start_time_seconds", _started_at(_OWN / "stat")


@cache  # it is computed from the clock, which moves; a query that counts its changes counts restarts
def _started_at(stat: Path) -> float:
    """Unix time. The kernel says how long after its own start that was.

    Raises OSError.
    """
    # The second field is the program's name in parentheses, and may hold blanks.
    fields = stat.read_text().rpartition(")")[2].split()
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
