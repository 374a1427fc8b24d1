"""`partitioner`, with a signal at each import of its start: what a person's timing hits only by chance.

    python -m tests.end_to_end.signalled each SIGHUP,SIGUSR1 VERB ...         gets them all, and goes on
    python -m tests.end_to_end.signalled children SIGINT DIRECTORY VERB ...   a copy of it gets it, each time

The copies leave their exit codes in the file `codes` of DIRECTORY, and what they complain of in `complaints`.
"""

import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

EVERY = 12
"""Of so many imports one is hit; a verb has hundreds."""

FIRST = "partitioner.cli"
"""The import with which it begins: from here on the program has decided what signals do."""


def main() -> None:
    """Run a verb, and have it signalled."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a shell, however the tests were started
    how, names, *arguments = sys.argv[1:]
    numbers = [signal.Signals[name] for name in names.split(",")]
    if how == "each":
        at_imports(lambda: signal_self(numbers))
    else:
        directory, *arguments = arguments
        at_imports(lambda: signal_child(numbers[0], Path(directory)))
    sys.argv = ["partitioner", *arguments]
    runpy.run_module("partitioner", run_name="__main__", alter_sys=True)


def at_imports(act: Callable[[], None]) -> None:
    """From FIRST on, act at every so many imports of modules that are not there yet.

    Imports of other threads are left alone: a copy made there has no main thread, which signals need.
    """
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event != "import" or threading.current_thread() is not threading.main_thread():
            return
        if count or arguments[0] == FIRST:
            count += 1
            if count % EVERY == 1:
                act()

    sys.addaudithook(watch)


def signal_self(numbers: list[signal.Signals]) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def signal_child(number: signal.Signals, directory: Path) -> None:
    """Send it to a copy of this process, which would go on as this one does, and wait for the copy's end."""
    if number in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return  # it waits until the event loop receives it
    if threading.active_count() > 1:
        return  # a copy has none of the other threads, and may wait for ever for what one of them holds
    if is_in_event_loop():
        return  # a copy shares the loop's epoll and its wakeup socket, so either may hang
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(directory / "complaints", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.kill(os.getpid(), number)
        return
    _, status = os.waitpid(child, 0)
    with (directory / "codes").open("a") as codes:
        codes.write(f"{os.waitstatus_to_exitcode(status)}\n")


def is_in_event_loop() -> bool:
    """Whether trio runs; this import does not count as one that the verb makes."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


if __name__ == "__main__":
    main()
