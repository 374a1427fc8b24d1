"""What the log writes when it hears reports, as it is read by a machine."""

import json
from collections.abc import Callable

import pytest

from partitioner.membership.health import HealthRecord, Symptom
from partitioner.ops.log import LogObserver
from partitioner.ops.log_output import configure_log
from tests.doubles.routers import backend

BACKEND = backend(1)
EJECTED = HealthRecord(symptom=Symptom.TIMED_OUT, since=100.0, held_until=100.0)

Line = dict[str, str]
Report = Callable[[LogObserver], None]
Screen = pytest.CaptureFixture[str]


def lines(capsys: Screen, *reports: Report) -> list[Line]:
    """What one observer writes when it hears these reports."""
    configure_log(as_json=True)
    log = LogObserver(pool_size=3)
    for report in reports:
        report(log)
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def without_time(line: Line) -> Line:
    return {name: value for name, value in line.items() if name != "timestamp"}
