"""Where lines of the log go, and how they look: for people or as JSON. Writing never holds up the program."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

import structlog

from partitioner.ops.log_queue import LogQueue, writer_to
from partitioner.ops.printable import printable, printable_lines


@contextmanager
def open_log(*, as_json: bool) -> Iterator[None]:
    """Write the log to standard error, in a thread of its own until the end: a daemon never waits for it."""
    try:
        descriptor = None if sys.stderr is None else sys.stderr.fileno()
    except (OSError, ValueError):
        descriptor = None
    if descriptor is None:
        configure_log(as_json=as_json)
        yield
        return
    queue = LogQueue(writer_to(descriptor), _tell_dropped)
    configure_log(as_json=as_json, stream=_QueuedStream(queue))
    queue.start()
    try:
        yield
    finally:
        configure_log(as_json=as_json)
        queue.close()


def _tell_dropped(count: int) -> None:
    structlog.get_logger().warning(
        "log lines dropped",
        count=count,
        cause="who reads the log did not read for a while",
        consequence="they are counted in log_lines_dropped_total; the last 100 lines are on the status page",
    )


def configure_log(*, as_json: bool, stream: "_QueuedStream | None" = None) -> None:
    """Write the log to standard error or another stream, for people or as one JSON object a line."""
    rendering: list[structlog.typing.Processor]
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if as_json:
        rendering = [structlog.processors.JSONRenderer()]  # it escapes by itself
    else:
        for_people = structlog.dev.ConsoleRenderer(colors=is_terminal, sort_keys=False, pad_event_to=0)
        rendering = [_escape, for_people]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _timestamper(as_json),
            structlog.processors.format_exc_info,
            *rendering,
        ],
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stream or _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )


def _escape(_log: object, _method: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Make what clients and servers have sent harmless to its reader; a processor of structlog."""
    for name, fact in facts.items():
        if name == "exception":
            facts[name] = printable_lines(fact)
        elif isinstance(fact, str):
            facts[name] = printable(fact)
    return facts


def _timestamper(as_json: bool) -> structlog.processors.TimeStamper:
    """For people the time on their wall, for programs UTC to the microsecond."""
    if as_json:
        return structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True)
    return structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)


class _Unfailing:
    """A stream that loses what it cannot write: a log whose reader has died must not end the program."""

    def __init__(self, stream: TextIO | None) -> None:
        """There is no stream at all where the program was started with standard error closed."""
        self._stream = stream

    def write(self, text: str) -> int:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()


class _QueuedStream:
    """A stream whose writes are lines of a queue."""

    def __init__(self, queue: LogQueue) -> None:
        self._queue = queue

    def write(self, line: str) -> int:
        self._queue.put(line)
        return len(line)

    def flush(self) -> None:
        """The queue's thread does not keep a line back."""
