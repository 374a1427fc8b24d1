"""How lines of the log look: their times, colours and levels."""

import json
import re
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog

from partitioner.ops.event_log import EventLog, Level
from partitioner.ops.log import Log
from partitioner.ops.log_output import configure_log, set_log_level
from tests.tables import each_case

Screen = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """The log is configured for the whole process; other tests shall not notice."""
    yield
    set_log_level(Level.INFO)
    structlog.reset_defaults()


def test_the_time_of_a_line(capsys: Screen) -> None:
    """People read their own clock, with its zone: a log is compared with those of other machines."""
    configure_log(as_json=False)
    Log().note("one")

    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4} \[info", capsys.readouterr().err)


@each_case(
    ("least", "written"),
    [
        (Level.INFO, ["note", "warn", "complain"]),
        (Level.WARNING, ["warn", "complain"]),
        (Level.ERROR, ["complain"]),
    ],
)
def test_levels(least: Level, written: list[str], capsys: Screen) -> None:
    """Lesser lines are not written; the events on the status page are all of them."""
    events = EventLog()
    configure_log(as_json=True)
    set_log_level(least)
    log = Log(events)
    for say in (log.note, log.warn, log.complain):
        say(say.__name__)

    assert written == [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert ["complain", "warn", "note"] == [each.what for each in events.events()]


class Tty(StringIO):
    """A terminal, as far as a log can tell."""

    def isatty(self) -> bool:
        return True


@each_case(("no_color", "has_colours"), [("", True), ("1", False)])
def test_colours(no_color: str, has_colours: bool) -> None:
    """A terminal gets them, unless its user wants none (no-color.org)."""
    terminal = Tty()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", no_color)
        patch.setattr("sys.stderr", terminal)
        configure_log(as_json=False)
        Log().note("one")

    assert has_colours == ("\x1b[" in terminal.getvalue())
