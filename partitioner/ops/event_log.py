"""The event log: the last lines of the log, for the status page.

They are in memory, and in a file of `state_dir` that the next process reads: what happened before a restart
is what is asked for after it. There is one wording. A line goes to the log and into the event log by the same
call, so that what is read on the page at night is found in the log the next morning, word for word.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog

from partitioner.errors import MalformedFile

MOST_EVENTS = 100
LONGEST_FACT = 500
"""Characters of one fact: some say what a client sent, and the whole has to stay small."""


class Level(StrEnum):
    """How much a line matters; the words are the log's."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One line."""

    at: float  # Unix time
    level: Level
    what: str
    facts: dict[str, str]  # cause, consequence and whatever else was said; never changed in place


class EventLog:
    """Keeps the last events, and forgets older ones."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells Unix time."""
        self.now = clock
        self.recorded = 0  # events so far, by this process
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)

    def __repr__(self) -> str:
        return f"<EventLog, {len(self._events)} events>"

    def record(self, level: Level, what: str, facts: dict[str, object]) -> None:
        """Remember a line."""
        told = {name: _clipped(name, fact) for name, fact in facts.items()}
        self._events.append(Event(self.now(), level, what, told))
        self.recorded += 1

    def prepend(self, older: Iterable[Event]) -> None:
        """Remember events of a process before this one, the youngest first, as far as there is room."""
        for event in older:
            if len(self._events) < MOST_EVENTS:
                self._events.appendleft(event)

    def take_over(self, event: Event, **facts: str) -> None:
        """Remember a line of another process, with these facts as well."""
        self._events.append(replace(event, facts=event.facts | facts))
        self.recorded += 1

    def events(self) -> tuple[Event, ...]:
        """The last events, the youngest first."""
        return tuple(reversed(self._events))


class EventLogger:
    """Says a line once, to the log and to an event log."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger, event_log: EventLog) -> None:
        self._log = log
        self._event_log = event_log

    def info(self, event: str, **facts: object) -> None:
        self._event_log.record(Level.INFO, event, facts)
        self._log.info(event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        self._event_log.record(Level.WARNING, event, facts)
        self._log.warning(event, **facts)

    def error(self, event: str, **facts: object) -> None:
        self._event_log.record(Level.ERROR, event, facts)
        self._log.error(event, **facts)


def write_events(events: Iterable[Event]) -> bytes:
    """A file with these events, a line of JSON for each."""
    lines = (
        json.dumps({"at": each.at, "level": each.level.value, "event": each.what, "facts": each.facts})
        for each in events
    )
    return "".join(f"{line}\n" for line in lines).encode()


def read_events(written: bytes) -> tuple[Event, ...]:
    """The events of such a file, in its order. Raises MalformedFile."""
    try:
        return tuple(_event(json.loads(line)) for line in written.splitlines()[:MOST_EVENTS])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedFile("does not say what a file of events says") from error


def _event(told: dict[str, dict[str, object]]) -> Event:
    facts = {str(name): _clipped(name, fact) for name, fact in told["facts"].items()}
    return Event(float(str(told["at"])), Level(str(told["level"])), str(told["event"]), facts)


def _clipped(name: str, fact: object) -> str:
    # Of an exception the log has all of it; its text is for developers, and may hold what is secret.
    text = type(fact).__name__ if name == "exc_info" else str(fact)
    return text if len(text) <= LONGEST_FACT else text[: LONGEST_FACT - 1] + "…"
