"""A terminal: what a person sees of a verb that draws, and their Ctrl-C."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 60.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A program on a terminal of so many columns."""

    def __init__(self, arguments: tuple[str, ...], columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "partitioner", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment | {"TERM": "xterm"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C is for whom it controls
        )
        os.close(theirs)
        self._raw = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def raw(self) -> str:
        """All that was written, with the codes that move and colour."""
        return self._raw.decode(errors="replace")

    @property
    def text(self) -> str:
        """All that was written, without them."""
        return _CONTROL.sub("", self.raw)

    def wait_for(self, pattern: str, since: int = 0) -> re.Match[str]:
        """Wait until what was written, from this place of the text on, matches."""
        deadline = time.monotonic() + PATIENCE
        while (match := re.search(pattern, self.text[since:])) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} on the terminal:\n{self.text[-3000:]}")
            time.sleep(0.05)
        return match

    def press_ctrl_c(self) -> int:
        """Return the exit code."""
        os.write(self._ours, b"\x03")
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                return  # no process has it open any more
            if not data:
                return
            self._raw += data


@contextmanager
def terminal(*arguments: str, columns: int = 160) -> Iterator[Terminal]:
    made = Terminal(arguments, columns)
    try:
        yield made
    finally:
        made.close()
