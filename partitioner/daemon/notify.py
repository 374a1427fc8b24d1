"""Tells the service manager that started this process how it fares: systemd's notify protocol (sd_notify(3)).

The protocol is a datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names. Nobody answers, and
without that variable nobody listens. So nothing here may hurt: what cannot be sent at once is dropped, and
the next second says it again.

    READY=1        clients are served          STOPPING=1    the end has begun
    RELOADING=1    until the next READY=1      STATUS=       one line for `systemctl status`
    WATCHDOG=1     the event loop turns; left out for WATCHDOG_USEC, the process is killed and started anew
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager

import trio

STATUS_INTERVAL = 1.0


class Notifier:
    """One process's end of the protocol."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        """`address` is that of a socket, or empty where nobody listens; `watchdog` is in seconds."""
        self.watchdog = watchdog if address else None
        self._address = "\0" + address[1:] if address.startswith("@") else address  # an abstract one
        self._last_status = ""
        self._is_ready = self._is_stopping = False

    def __repr__(self) -> str:
        return f"<Notifier, {'somebody listens' if self._address else 'nobody listens'}>"

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
        """Send lines that belong together; answer whether they were taken."""
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
