"""A fork server: a process that has imported the package, and forks the programs that tests run.

To start an interpreter and import everything takes a second of CPU, a fork takes some milliseconds. What is
forked is the real program in a process of its own: it has its own number, arguments, environment, working
directory and descriptors, it takes signals, and it runs to the end of the interpreter, which flushes its
outputs and makes its exit code. What a fork shares with its siblings and a new process would not is the seed
of string hashes, and that all modules have been imported already: tests of these start the program itself.

    tests ──── order + descriptors ───> warm process ──fork──> partitioner state-server ...
      ^                                  │    │  │  └──fork──> partitioner serve ...
      └──── number, later exit code ─────┘    └── waits for its children (pidfd_open(2))

The warm process has a single thread and runs no event loop when it forks, and it keeps no descriptor of what
it has forked, but for the one on which it reports. It ends when the tests close their socket, which the
kernel does for them however they end; its children are killed then (PR_SET_PDEATHSIG).

An order is one message: a JSON object (see `Order`), with descriptors for the report, standard output,
standard error, and those that the program is passed as a service manager passes sockets: from 3 on, with
LISTEN_PID set to its number. A report is two integers of four bytes: the process's number, and its exit code.
"""

import ctypes
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TypedDict, cast

import partitioner

REPORT_BYTES = 4
MOST_BYTES = 200_000
MOST_DESCRIPTORS = 16
FIRST_PASSED = 3  # as in sd_listen_fds(3)
_PR_SET_PDEATHSIG = 1


class Order(TypedDict):
    """What is to be run, and how."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str


def main() -> None:
    """`warm DESCRIPTOR MODULE`: take orders on that socket, and run the module for each in a fork."""
    control, module = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    import_all(module)
    generators = [each for each in gc.get_objects() if isinstance(each, random.Random)]
    gc.freeze()  # or each child's first collection would copy the pages of all modules
    if fork_for_each_order(control):
        for generator in generators:
            generator.seed()
        run(module)


def import_all(module: str) -> None:
    """Import the package; first the module that is to be run, if another, which may change what it finds."""
    if module != partitioner.__name__:
        importlib.import_module(module)
    for found in pkgutil.walk_packages(partitioner.__path__, f"{partitioner.__name__}."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def fork_for_each_order(control: socket.socket) -> bool:
    """Fork a child for each order until there are no more. Returns False then, and True in each child."""
    children: dict[int, tuple[int, int]] = {}  # by pidfd: number, and where to report
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in children:
                poll.unregister(ready)
                number, report = children.pop(ready)
                _, status = os.waitpid(number, 0)
                tell(report, os.waitstatus_to_exitcode(status))
                os.close(report)
                os.close(ready)
                continue
            message, descriptors, _, _ = socket.recv_fds(control, MOST_BYTES, MOST_DESCRIPTORS)
            if not message:
                return False
            report, *passed = descriptors
            parent = os.getpid()
            if (number := os.fork()) == 0:
                control.detach()
                become(cast(Order, json.loads(message)), passed, parent)
                return True
            for each in passed:
                os.close(each)
            pidfd = os.pidfd_open(number)
            children[pidfd] = number, report
            poll.register(pidfd, select.POLLIN)
            tell(report, number)


def tell(report: int, number: int) -> None:
    with suppress(BrokenPipeError):  # no reader is left
        os.write(report, number.to_bytes(REPORT_BYTES, "little", signed=True))


def become(order: Order, descriptors: list[int], parent: int) -> None:
    """Take on all that makes a process another one than its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it has died before it could be waited for
    sockets = len(descriptors) - 2
    silence = os.open(os.devnull, os.O_RDONLY)
    beyond = max(silence, *descriptors, FIRST_PASSED + sockets) + 1  # where none is in the way of another
    aside = [fcntl.fcntl(each, fcntl.F_DUPFD, beyond) for each in (silence, *descriptors)]
    for place, descriptor in enumerate(aside):
        os.dup2(descriptor, place)
    os.closerange(FIRST_PASSED + sockets, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a shell, however the tests were started
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    if sockets:
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.environ.setdefault("LISTEN_FDS", str(sockets))
    sys.argv = [partitioner.__name__, *order["arguments"]]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = output(1)
    sys.stderr = output(2)
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")


def output(descriptor: int) -> TextIOWrapper:
    """A standard output as the interpreter opens it."""
    made = open(descriptor, "w", closefd=False)  # noqa: SIM115
    assert isinstance(made, TextIOWrapper)
    made.reconfigure(write_through="PYTHONUNBUFFERED" in os.environ)
    return made


def run(module: str) -> None:
    """Run a module as `python -m` does."""
    if module == partitioner.__name__:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        importlib.import_module(module).main()


if __name__ == "__main__":
    main()
