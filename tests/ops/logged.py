"""What the log writes when it hears reports, as it is read by a machine."""

import json
from collections.abc import Callable

import pytest

from partitioner.membership.health import HealthRecord, Symptom
from partitioner.membership.losses import LostSessions
from partitioner.ops.client_log import ClientLog
from partitioner.ops.event_log import EventLog
from partitioner.ops.fanout import Fanout
from partitioner.ops.log import Log
from partitioner.ops.log_output import configure_log
from partitioner.ops.router_log import RouterLog
from tests.doubles.routers import backend

BACKEND = backend(1)
EJECTED = HealthRecord(symptom=Symptom.TIMED_OUT, since=100.0, held_until=100.0)

Line = dict[str, str]
Screen = pytest.CaptureFixture[str]


class FullLog(Fanout):
    """What a router's log hears, and how it writes."""

    def __init__(
        self,
        pool_size: int = 3,
        lost_sessions: LostSessions = LostSessions.NEW,
        event_log: EventLog | None = None,
    ) -> None:
        self.log = Log(event_log)
        self.router = RouterLog(self.log, pool_size, lost_sessions)
        super().__init__(ClientLog(self.log), self.router)


Report = Callable[[FullLog], None]


def lines(capsys: Screen, *reports: Report) -> list[Line]:
    """What a log writes when it hears these reports."""
    configure_log(as_json=True)
    log = FullLog()
    for report in reports:
        report(log)
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def without_time(line: Line) -> Line:
    return {name: value for name, value in line.items() if name != "timestamp"}
