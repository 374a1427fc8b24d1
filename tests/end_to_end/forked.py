"""The tests' end of a fork server (see `warm`): starts it, and has processes forked."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from tests.end_to_end.warm import REPORT_BYTES, Order

ROOT = Path(__file__).parents[2]
STOP_TIMEOUT = 60.0


class Forked:
    """A process that was forked from a warm one: what tests use of `subprocess.Popen`."""

    def __init__(self, report: int, stdout: IO[str] | None) -> None:
        self.stdout = stdout
        self.returncode: int | None = None
        self._report = report
        self._lock = threading.Lock()
        self.pid = self._read()

    def poll(self) -> int | None:
        """The exit code, if it has ended; the number of a signal counts below zero."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since, and the warm process has waited for it
                os.kill(self.pid, number)

    def close(self) -> None:
        """Nothing more is asked of it."""
        os.close(self._report)
        if self.stdout is not None:
            self.stdout.close()

    def _look(self, timeout: float | None) -> int | None:
        poll = select.poll()
        poll.register(self._report, select.POLLIN)
        if self.returncode is None and poll.poll(None if timeout is None else timeout * 1000):
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._read()
        return self.returncode

    def _read(self) -> int:
        """What is reported next."""
        told = os.read(self._report, REPORT_BYTES)
        assert told, "the warm process has ended"
        return int.from_bytes(told, "little", signed=True)


class Warm:
    """A running fork server for one module."""

    def __init__(self, module: str) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.end_to_end.warm", str(theirs.fileno()), module],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                start_new_session=True,  # a Ctrl-C is for the tests; they end it
            )

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdout: int,
        stderr: int,
        sockets: Sequence[int] = (),
        reading: IO[str] | None = None,
    ) -> Forked:
        """Start a process that writes to these descriptors, and is passed these sockets.

        `reading` is the other end of its output, if that is to be closed with it.
        """
        order = Order(arguments=[*arguments], environment={**environment}, directory=str(Path.cwd()))
        ours, theirs = os.pipe()
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], [theirs, stdout, stderr, *sockets])
        finally:
            os.close(theirs)
        return Forked(ours, reading)

    def close(self) -> None:
        """End it, and kill what has been forked from it."""
        self._control.close()
        self._process.wait(STOP_TIMEOUT)
