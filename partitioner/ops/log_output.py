"""Where lines of the log go, and how they look: for people or as JSON. Writing never holds up the program."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TextIO, cast

import structlog

from partitioner.ops.event_log import Level
from partitioner.ops.log_queue import LogQueue, writer_to
from partitioner.ops.printable import printable, printable_lines

_least = Level.INFO


def set_log_level(least: Level) -> None:
    """From now on write no lines of a lesser level. The events on the status page are not concerned."""
    global _least
    _least = least


_ORDER = tuple(Level)


def _drop_lesser(_log: object, method: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if _ORDER.index(Level(method)) < _ORDER.index(_least):
        raise structlog.DropEvent
    return facts


@contextmanager
def open_log(*, as_json: bool, worker: int | None = None) -> Iterator[None]:
    """Write the log to standard error, in a thread of its own until the end: a daemon never waits for it.

    Where several processes write to it, each line has the number of its `worker`.
    """
    try:
        descriptor = None if sys.stderr is None else sys.stderr.fileno()
    except (OSError, ValueError):
        descriptor = None
    if descriptor is None:
        configure_log(as_json=as_json, worker=worker)
        yield
        return
    queue = LogQueue(writer_to(descriptor), _tell_dropped)
    configure_log(as_json=as_json, stream=_QueuedStream(queue), worker=worker)
    queue.start()
    try:
        yield
    finally:
        configure_log(as_json=as_json, worker=worker)
        queue.close()


def _tell_dropped(count: int) -> None:
    structlog.get_logger().warning(
        "log lines dropped",
        count=count,
        cause="who reads the log did not read for a while",
        consequence="they are counted in log_lines_dropped_total; the last 100 lines are on the status page",
    )


def configure_log(*, as_json: bool, stream: "_QueuedStream | None" = None, worker: int | None = None) -> None:
    """Write the log to standard error or another stream, for people or as one JSON object a line."""
    rendering: list[structlog.typing.Processor]
    has_colours = sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    if as_json:
        rendering = [structlog.processors.JSONRenderer()]  # it escapes by itself
    else:
        for_people = structlog.dev.ConsoleRenderer(colors=has_colours, sort_keys=False, pad_event_to=0)
        rendering = [_escape, for_people]
    structlog.configure(
        processors=[
            _drop_lesser,
            structlog.processors.add_log_level,
            *([] if worker is None else [_number(worker)]),
            _timestamper(as_json),
            structlog.processors.format_exc_info,
            *rendering,
        ],
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stream or _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )


def _number(worker: int) -> structlog.typing.Processor:
    def add(_log: object, _method: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
        facts["worker"] = worker
        return facts

    return add


def _escape(_log: object, _method: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Make what clients and servers have sent harmless to its reader; a processor of structlog."""
    for name, fact in facts.items():
        if name == "exception":
            facts[name] = printable_lines(fact)
        elif isinstance(fact, str):
            facts[name] = printable(fact)
    return facts


def _timestamper(as_json: bool) -> structlog.typing.Processor:
    """For people the time on their wall, with its zone, to the millisecond; for programs UTC."""
    if as_json:
        return structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True)
    return _stamp_local


def _stamp_local(_log: object, _method: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
    now = datetime.now().astimezone()
    facts["timestamp"] = f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}{now:%z}"
    return facts


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
