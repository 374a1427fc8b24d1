"""What every daemon does as a process: obey signals, open enough files, and serve until it is told to stop.

The first SIGTERM or SIGINT stops softly: no client is accepted any more, exchanges under way are finished,
idle connections are closed. The second one, or the end of the shutdown time, stops at once. SIGHUP reloads,
where there is something to reload. SIGUSR1, SIGUSR2 and SIGQUIT would kill a process that does not expect
them, with all its sessions; here they are a line of the log.

Which signals wait until they are received here is said in signals.py.
"""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol, TypeVarTuple

import trio

from partitioner.daemon.notify import Notifier
from partitioner.daemon.open_files import ConnectionCounts, allow_open_files
from partitioner.ops.log import ONCE_A_MINUTE, Log
from partitioner.signals import WAITING
from partitioner.units import format_duration

Given = TypeVarTuple("Given")


STOPPING = frozenset({signal.SIGTERM, signal.SIGINT})


def run_daemon(main: Callable[[*Given], Awaitable[None]], *arguments: *Given) -> None:
    """Run a daemon to its end; `main` receives signals with `open_signals`, and none is lost before that.

    A signal that comes after that changes nothing: what has to be done at the end has been done.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING | WAITING)
    for number in STOPPING | WAITING:
        signal.signal(number, _ignore)
    try:
        trio.run(main, *arguments)
    finally:
        for number in STOPPING | WAITING:
            signal.signal(number, signal.SIG_IGN)  # Python keeps to this to the very end of the process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING | WAITING)


@contextmanager
def open_signals() -> Iterator[AsyncIterator[int]]:
    """Receive the signals that are for a daemon: those that have waited, and all from now on."""
    with trio.open_signal_receiver(*STOPPING, *WAITING) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING | WAITING)
        yield signals


def _ignore(_number: int, _frame: FrameType | None) -> None:
    # Not SIG_IGN: the kernel would forget those that wait.
    pass


Reload = Callable[[str], Awaitable[object]]
"""Reads the configuration anew, and is told who wants it."""


WhyNotStop = Callable[[], str | None]
"""Says what would be lost if the daemon stopped now, or None. It goes on then, until it is told again."""


@dataclass(frozen=True, slots=True)
class Controls:
    """How a daemon is told what to do, and whom it tells what it does."""

    signals: AsyncIterator[int]
    notifier: Notifier
    shutdown: Callable[[], float]  # seconds for a soft stop
    reload: Reload | None = None  # on SIGHUP, as often as it comes
    why_not_stop: WhyNotStop = lambda: None


class Server(Protocol):
    """What serves clients: a Downstream, or several processes with one each."""

    @property
    def exchanges_under_way(self) -> int:
        """How many clients wait for an answer."""

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Serve until stopped, and the last exchange has ended."""

    def stop(self) -> None:
        """Accept no more clients, and let exchanges finish."""


async def serve_until_stopped(
    server: Server,
    listeners: list[trio.SocketListener],
    controls: Controls,
    log: Log,
) -> None:
    """Serve; stop softly on the first signal, and at once on the second or when the shutdown time is over."""
    signals = controls.signals
    async with trio.open_nursery() as serving:

        async def wanted_stop() -> str:
            while (number := await anext(signals)) not in STOPPING:
                if number == signal.SIGHUP and controls.reload is not None:
                    serving.start_soon(controls.reload, "SIGHUP")
                else:
                    _note_ignored(number, log)
            return signal.Signals(number).name

        async def obey_signals() -> None:
            name = await wanted_stop()
            if reason := controls.why_not_stop():
                log.complain(
                    f"{name} not obeyed", cause=reason, consequence="it goes on serving; a second one ends it"
                )
                name = f"a second signal, {await wanted_stop()}"
            shutdown = controls.shutdown()
            under_way, at_most = server.exchanges_under_way, format_duration(shutdown)
            log.note("stopping", cause=name, exchanges_under_way=under_way, at_most=at_most)
            controls.notifier.tell_stopping(f"stopping, {under_way} exchanges under way, at most {at_most}")
            server.stop()
            cause = "the shutdown time is over"
            with trio.move_on_after(shutdown):
                cause = f"a second signal, {await _next_stop(signals, log)}"
            log.note("stopping now", cause=cause, exchanges_cut_off=server.exchanges_under_way)
            serving.cancel_scope.cancel()

        serving.start_soon(obey_signals)
        controls.notifier.tell_ready()
        await server.serve(listeners)
        serving.cancel_scope.cancel()


async def _next_stop(signals: AsyncIterator[int], log: Log) -> str:
    """Wait for a signal to stop; return its name."""
    while (number := await anext(signals)) not in STOPPING:
        log.note(f"{signal.Signals(number).name} ignored", cause="it is being stopped")
    return signal.Signals(number).name


def _note_ignored(number: int, log: Log) -> None:
    has_no_file = number == signal.SIGHUP
    cause = "a state server has no file to reload" if has_no_file else "nothing is done on this signal"
    log.note(f"{signal.Signals(number).name} ignored", cause=cause)


def fit_to_open_files(wanted: ConnectionCounts, log: Log) -> ConnectionCounts:
    """Allow so many connections, or as many as there is room for in the limit of files, and say so then."""
    files = allow_open_files(wanted.files)
    fitted = wanted.fitted(files)
    if fitted != wanted:
        servers = f"{fitted.per_backend} to each state server (of {wanted.per_backend})"
        log.warn(
            "connections fitted to the limit of open files",
            limit=files,
            clients=f"{fitted.clients} (of {wanted.clients})",
            **({"servers": servers} if wanted.backends else {}),
            consequence="further clients have to wait",
            remedy=f"raise LimitNOFILE of the unit, or `ulimit -n`, to {wanted.files}",
        )
    return fitted


async def repeat_held_back(log: Log) -> None:
    while True:
        await trio.sleep(ONCE_A_MINUTE)
        log.repeat_held_back()
