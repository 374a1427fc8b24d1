"""The event log remembers what the log said, in the log's own words."""

import json
from collections.abc import Iterator

import pytest
import structlog

from partitioner.ops.event_log import LONGEST_FACT, MOST_EVENTS, EventLog, Level
from partitioner.ops.log_output import configure_log
from tests.doubles.routers import backend
from tests.ops.logged import FullLog


@pytest.fixture(autouse=True)
def structlog_as_before() -> Iterator[None]:
    """The log is configured for the whole process; other tests shall not notice."""
    yield
    structlog.reset_defaults()


def test_the_event_log_hears_what_the_log_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line, of whatever level, with the same words in it."""
    configure_log(as_json=True)
    event_log = EventLog()
    log = FullLog(event_log=event_log)
    log.backend_missing(backend(1), "refused the connection", 2)
    log.log.note("configuration reloaded", cause="SIGHUP", consequence="none")
    log.log.complain("reload invalid", cause="SIGHUP", problem="backends[0].weight: -1")
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    remembered = [
        {"level": each.level.value, "event": each.what, **each.facts} for each in reversed(event_log.events())
    ]

    assert [{name: fact for name, fact in line.items() if name != "timestamp"} for line in said] == remembered


def test_what_is_held_back_is_held_back_here_too() -> None:
    """A storm of one kind takes one place, and a second one with the number of times."""
    event_log = EventLog()
    log = FullLog(event_log=event_log)
    for _ in range(1000):
        log.ghost_lock_released(backend(1))
    log.log.repeat_held_back()

    assert [("ghost lock released", "999"), ("ghost lock released", None)] == [
        (each.what, each.facts.get("times_more")) for each in event_log.events()
    ]


def test_only_the_last_events_are_kept() -> None:
    """The youngest first; each with the time at which it was said."""
    moments = iter(range(1000))
    event_log = EventLog(clock=lambda: float(next(moments)))
    for number in range(MOST_EVENTS + 20):
        event_log.record(Level.INFO, f"event {number}", {})

    events = event_log.events()
    assert (MOST_EVENTS, "event 119", 119.0) == (len(events), events[0].what, events[0].at)
    assert ("event 20", 20.0) == (events[-1].what, events[-1].at)


def test_a_long_fact_is_clipped() -> None:
    """What clients send must not fill the memory."""
    event_log = EventLog()
    event_log.record(Level.WARNING, "malformed request refused", {"cause": "x" * 100_000})

    assert "x" * (LONGEST_FACT - 1) + "…" == event_log.events()[0].facts["cause"]


def test_of_a_fault_only_its_name_is_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    """The text of an exception may hold what is secret: it is for the log."""
    event_log = EventLog()
    FullLog(event_log=event_log).conversation_crashed("192.0.2.1", KeyError("bpr4mimb2vjnvtn2jc4yp3uo"))

    assert {"client": "192.0.2.1", "exc_info": "KeyError"} == event_log.events()[0].facts
