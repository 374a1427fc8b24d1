"""The event log, as operators are told of it."""

from datetime import UTC, datetime

from partitioner.ops.admin.reports import EventReport
from partitioner.ops.event_log import Event, EventLog


def event_reports(event_log: EventLog) -> tuple[EventReport, ...]:
    """The last events, the youngest first."""
    now = event_log.now()
    return tuple(_report(each, now) for each in event_log.events())


def _report(event: Event, now: float) -> EventReport:
    facts = {name: fact for name, fact in event.facts.items() if name not in ("cause", "consequence")}
    return EventReport(
        at=datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds"),
        ago=max(0.0, now - event.at),
        level=event.level.value,
        event=event.what,
        cause=event.facts.get("cause"),
        consequence=event.facts.get("consequence"),
        facts=facts,
    )
