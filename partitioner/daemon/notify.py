"""Tells the service manager that started this process how it fares: systemd's notify protocol (sd_notify(3)).

The protocol is a datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names. There is no answer,
and without that variable no process listens. So nothing here may hurt: what cannot be sent at once is
dropped, and the next second says it again.

    READY=1        clients are served          STOPPING=1    the end has begun
    RELOADING=1    until the next READY=1      STATUS=       one line for `systemctl status`
    WATCHDOG=1     the event loop turns; left out for WATCHDOG_USEC, the process is killed and started anew

The status line says in a few words how the process is:

    2 of 3 serve, redundant for 12 min, 340 requests/s
    standby, 3 of 3 answer: another router is active and used
    12345 sessions, 1.2GiB, 340 requests/s

Its numbers are coarse, so that the line changes when something has changed.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from partitioner.ops.standing import why_standby
from partitioner.sessions.table import SessionTable
from partitioner.units import format_size

if TYPE_CHECKING:
    from partitioner.ops.admin.reports import StoreStatus
    from partitioner.routing.core import RouterCore
    from partitioner.store.engine import EngineClient


STATUS_INTERVAL = 1.0


class Notifier:
    """One process's end of the protocol."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        """`address` is that of a socket, or empty where no process listens; `watchdog` is in seconds."""
        self.watchdog = watchdog if address else None
        self._address = "\0" + address[1:] if address.startswith("@") else address  # an abstract one
        self._last_status = ""
        self._is_ready = self._is_stopping = False

    def __repr__(self) -> str:
        return f"<Notifier, {'connected' if self._address else 'no service manager'}>"

    def tell_ready(self) -> None:
        """Clients are served from now on."""
        if not self._is_stopping:
            self._is_ready = True
            self._tell("READY=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """A reload is under way for as long as the block lasts, and is over then, however it went.

        Before clients are served READY would say too much, and nothing is news once the end has begun.
        """
        if not self._is_ready or self._is_stopping:
            yield
            return
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self.tell_ready()

    def tell_stopping(self, status: str) -> None:
        """The end has begun; from here on this is the only way to say how things are."""
        self._is_stopping = True
        self._tell("STOPPING=1", f"STATUS={status}")

    def tell_status(self, status: str) -> None:
        """Say in a line how things are, unless that was the last that was said."""
        if self._is_stopping or status == self._last_status:
            return
        if self._tell(f"STATUS={status}"):
            self._last_status = status

    async def keep_telling(self, status: Callable[[], str]) -> None:
        """Say how things are, every second in which that changes."""
        if not self._address:
            return
        while True:
            self.tell_status(status())
            await trio.sleep(STATUS_INTERVAL)

    async def feed_watchdog(self) -> None:
        """Show that the event loop turns, twice in the time after which it would be missed."""
        if self.watchdog is None:
            return
        while True:
            self._tell("WATCHDOG=1")
            await trio.sleep(self.watchdog / 2)

    def _tell(self, *lines: str) -> bool:
        """Send lines that belong together; return whether they were taken."""
        if not self._address:
            return False
        text = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.setblocking(False)
                sending.sendto(text.encode("utf-8", "replace"), self._address)
        except (OSError, ValueError):  # it is full or gone, or its address is none
            return False
        return True


def take_notifier(environment: MutableMapping[str, str] = os.environ) -> Notifier:
    """The notifier that the service manager wants, if one has started this process.

    Its variables are taken away: they are meant for this process and for none that it may start.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    interval, meant = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    is_for_us = meant in ("", str(os.getpid()))
    watchdog = int(interval) / 1e6 if interval.isdecimal() and int(interval) > 0 and is_for_us else None
    return Notifier(address if address[:1] in ("/", "@") else "", watchdog)


_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"))


class Rate:
    """How many a second, since the last time that this was asked."""

    def __init__(self, count: Callable[[], int], clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self._last = count(), clock()

    def per_second(self) -> float:
        count, now = self._count(), self._clock()
        before, then = self._last
        self._last = count, now
        return (count - before) / (now - then) if now > then else 0.0


def router_status(core: "RouterCore", requests: Rate, now: float) -> str:
    """How a router is."""
    pool, since = core.roster.pool, core.roster.redundancy.redundant_since(now)
    if (standby := why_standby(core)) is not None:
        return f"standby, {len(pool.eligible)} of {len(pool.ready)} answer: {standby}"
    redundant = "not redundant" if since is None else f"redundant for {coarse_duration(now - since)}"
    who = f"{len(pool.eligible)} of {len(pool.ready)} serve"
    return f"{who}, {redundant}, {coarse_number(requests.per_second())} requests/s"


def state_server_status(table: SessionTable, requests: Rate) -> str:
    """How a state server is."""
    used = format_size(round_size(table.used_memory))
    return f"{len(table)} sessions, {used}, {coarse_number(requests.per_second())} requests/s"


def store_status(engine: "EngineClient", requests: Rate) -> str:
    """How a state server is that keeps its sessions on an engine."""
    reason = engine.why_not_ready
    state = "the engine answers" if reason is None else f"no engine: {reason}"
    return f"{state}, {coarse_number(requests.per_second())} requests/s"


def workers_status(seen: "StoreStatus", requests: Rate) -> str:
    """How several processes are that do so together."""
    state = "the engine answers" if seen.ready else f"no engine: {'; '.join(seen.reasons)}"
    serving = sum(each.is_serving for each in seen.workers)
    serve = f"{serving} of {len(seen.workers)} workers serve"
    return f"{serve}, {state}, {coarse_number(requests.per_second())} requests/s"


def coarse_duration(seconds: float) -> str:
    """A length of time in its largest unit of which there are two: `12 min`, `36 h`."""
    for length, unit in _UNITS:
        if seconds >= (2 * length if length > 60.0 else length):
            return f"{int(seconds // length)} {unit}"
    return "less than a minute"


def coarse_number(number: float) -> str:
    """A number to two digits: `340`, `0.5`."""
    return f"{float(f'{number:.2g}'):.6g}"


def round_size(size: int) -> int:
    """A size of which a change of less than a MiB is no news."""
    mebibyte = 1024 * 1024
    return size if size < mebibyte else size // mebibyte * mebibyte
