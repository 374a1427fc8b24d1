"""What signals do to this program, from its first instruction on, before anything listens for them.

                          a verb that ends by itself   a daemon that starts     a daemon that serves
    SIGINT (Ctrl-C)       ends it quietly, exit 130    the same                 stops softly
    SIGTERM               ends it                      ends it                  stops softly
    SIGHUP                ends it                      waits until it serves    reloads
    SIGUSR1 and SIGUSR2   end it                       wait until it serves     write a line to the log
    SIGQUIT               ends it                      waits until it serves    writes a line to the log

The third column is in daemon/process.py; the first two are here.

Python turns SIGINT into an exception. Raised in the middle of an import it is a traceback, or is swallowed
with a complaint on standard error. So SIGINT ends the process at once while modules are imported, and again
when the work is done: there is nothing to be tidied up then. Between the two, `interruptible` lets it be the
exception that it usually is.

A signal that waits is blocked, and the kernel keeps it: a reload that is asked for too early is carried out
later.

This module is imported before everything else, and imports next to nothing itself.
"""

import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType

DAEMONS = frozenset({"serve", "state-server"})
"""The verbs that run until they are told to stop."""

WAITING = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT})
"""Sent by a closed terminal, a rotation of logs or a key hit by mistake: no reason for a daemon to die."""

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C has ended, as shells count: 128 + SIGINT."""


def prepare(arguments: Sequence[str]) -> None:
    """Set what holds while the program starts. `arguments` are those of the command line, the verb first."""
    # A shell ignores it for what it starts in the background; then it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    if DAEMONS.intersection(arguments[:1]):
        signal.pthread_sigmask(signal.SIG_BLOCK, WAITING)


def interruptible(work: Callable[[], None]) -> None:
    """Carry out what Ctrl-C may end anywhere, with a KeyboardInterrupt, so that it can tidy up.

    Everything that `work` needs should have been imported before.

    Raises SystemExit with the code INTERRUPTED then.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        try:
            if before is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            work()
        finally:
            signal.signal(signal.SIGINT, before)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BaseExceptionGroup as group:  # from a nursery
        _, others = group.split(KeyboardInterrupt)
        if others is not None:
            raise
        raise SystemExit(INTERRUPTED) from None


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    # An exception could be caught on its way, or printed where it is not caught.
    os._exit(INTERRUPTED)
