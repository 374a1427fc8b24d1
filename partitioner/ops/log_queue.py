"""The log's last step: lines are written by a thread of their own, from a bounded queue.

Who reads a log is not in our hands. Where a journal hangs, `docker logs` blocks or a terminal is stopped by
Ctrl-S, the pipe is full after 64 KiB, and a write to it waits for ever. The event loop must not wait: it only
puts a line into the queue. What does not fit there is dropped and counted, and when the reader reads on, a
line says how many are missing.

Non-blocking writes are not the way: O_NONBLOCK belongs to the open file, which other processes share.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable

MOST_BYTES = 256 * 1024
"""In the queue: a thousand lines or more, so that a burst loses none while its reader is slow."""

LAST_WAIT = 1.0
"""Seconds that the end of the process waits for a reader."""

_dropped_so_far = 0
"""Of all queues of this process; there is one."""


def lines_dropped() -> int:
    """How many lines of the log this process has dropped since its start."""
    return _dropped_so_far


class LogQueue:
    """Takes lines at once, and has a thread write them."""

    def __init__(self, write: Callable[[bytes], int], tell_dropped: Callable[[int], None]) -> None:
        """`write` may block; it returns how many bytes it has written, and raises OSError where it cannot.

        `tell_dropped` is called in the thread, and may put lines.
        """
        self._write = write
        self._tell_dropped = tell_dropped
        self._lines: deque[bytes] = deque()
        self._size = 0  # bytes in `_lines`, and of the line that is being written
        self._dropped = 0  # that have not been told of
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)

    def __repr__(self) -> str:
        return f"<LogQueue, {len(self._lines)} lines wait>"

    def start(self) -> None:
        """Begin to write. The thread receives no signals: the main thread does."""
        former = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)

    def put(self, line: str) -> bool:
        """Have a line written soon, or drop it where there is no room. Returns whether there was."""
        global _dropped_so_far
        data = line.encode(errors="backslashreplace")
        with self._changed:
            if self._size + len(data) > MOST_BYTES:
                self._dropped += 1
                _dropped_so_far += 1
                return False
            self._lines.append(data)
            self._size += len(data)
            self._changed.notify_all()
            return True

    def close(self, timeout: float = LAST_WAIT) -> None:
        """Wait until all lines are written, but no longer than this; a line that is stuck is left behind."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _write_all(self) -> None:
        while (line := self._next_line()) is not None:
            self._write_line(line)
            with self._changed:
                self._size -= len(line)
                dropped = self._dropped if self._size <= MOST_BYTES // 2 else 0
                self._dropped -= dropped
            if dropped:
                self._tell_dropped(dropped)

    def _next_line(self) -> bytes | None:
        """Wait for a line. None at the end."""
        with self._changed:
            while not self._lines:
                if self._is_closed:
                    return None
                self._changed.wait()
            return self._lines.popleft()

    def _write_line(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[self._write(bytes(rest)) :]
            except OSError:
                return  # its reader has died, or the disk is full: that must not end the program


def writer_to(descriptor: int) -> Callable[[bytes], int]:
    """Writes to a file descriptor past Python's own buffer, whose lock a write that is stuck would hold."""
    return lambda data: os.write(descriptor, data)
