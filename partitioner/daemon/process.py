"""What every daemon does as a process: obey signals, open enough files, and serve until it is told to stop.

The first SIGTERM or SIGINT drains: nobody is accepted any more, exchanges under way are finished, idle
connections are closed. The second one, or the end of the shutdown time, stops.
"""

import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import trio

from partitioner.daemon.notify import Notifier
from partitioner.net.downstream import Downstream
from partitioner.ops.log import ONCE_A_MINUTE, LogObserver
from partitioner.units import format_duration

FILES_BESIDE_CONNECTIONS = 256


def open_signals() -> AbstractContextManager[AsyncIterator[int]]:
    """Receive the signals that steer a daemon, from now on instead of their defaults."""
    return trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


Reload = Callable[[str], Awaitable[object]]
"""Reads the configuration anew, and is told who wants it."""


@dataclass(frozen=True, slots=True)
class Steering:
    """How a daemon is told what to do, and whom it tells what it does."""

    signals: AsyncIterator[int]
    notifier: Notifier
    shutdown: float  # seconds for draining
    reload: Reload | None = None  # on SIGHUP, as often as it comes


async def serve_until_stopped(
    downstream: Downstream,
    listeners: list[trio.SocketListener],
    steering: Steering,
    observer: LogObserver,
) -> None:
    """Serve; drain on the first signal, and stop on the second or when the time for draining is over."""
    signals = steering.signals
    async with trio.open_nursery() as serving:

        async def obey_signals() -> None:
            while (number := await anext(signals)) == signal.SIGHUP:
                if steering.reload is not None:
                    serving.start_soon(steering.reload, "SIGHUP")
                else:
                    observer.note("SIGHUP ignored", cause="a state server has no file to reload")
            name = signal.Signals(number).name
            under_way, at_most = downstream.exchanges_under_way, format_duration(steering.shutdown)
            observer.note("draining", cause=name, exchanges_under_way=under_way, at_most=at_most)
            steering.notifier.tell_stopping(f"draining, {under_way} exchanges under way, at most {at_most}")
            downstream.drain()
            cause = "the time for draining is over"
            with trio.move_on_after(steering.shutdown):
                cause = f"a second signal, {await _next_stop(signals, observer)}"
            observer.note("stopping now", cause=cause, exchanges_cut_off=downstream.exchanges_under_way)
            serving.cancel_scope.cancel()

        serving.start_soon(obey_signals)
        steering.notifier.tell_ready()
        await downstream.serve(listeners)
        serving.cancel_scope.cancel()


async def _next_stop(signals: AsyncIterator[int], observer: LogObserver) -> str:
    """Wait for a signal to stop; answer its name."""
    while (number := await anext(signals)) == signal.SIGHUP:
        observer.note("SIGHUP ignored", cause="it is being stopped")
    return signal.Signals(number).name


def allow_open_files(connections: int) -> None:
    """Raise this process's limit of open files as far as so many connections need and it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDE_CONNECTIONS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems have a lower limit of their own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def repeat_held_back(observer: LogObserver) -> None:
    while True:
        await trio.sleep(ONCE_A_MINUTE)
        observer.repeat_held_back()
