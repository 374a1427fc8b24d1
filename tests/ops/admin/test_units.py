"""How numbers and times are written for people."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from partitioner.ops.admin import units
from partitioner.ops.admin.reports import BackendReport, Status
from tests.ops.admin.pages import backend_report, status_of
from tests.tables import each_case

AGES = [
    (-0.3, "0s"),
    (0.4, "0s"),
    (59.4, "59s"),
    (60.0, "1m"),
    (200.0, "3m 20s"),
    (3600.0, "1h"),
    (3661.0, "1h 1m"),
    (93784.0, "1d 2h"),
]


@each_case(("seconds", "expected"), AGES)
def test_ages(seconds: float, expected: str) -> None:
    """In two units: who reads `3d 4h` does not miss the seconds."""
    assert expected == units.age(seconds)


DURATIONS = [
    (None, "–"),
    (0.0, "0.00ms"),
    (0.00042, "0.42ms"),
    (0.0123, "12.3ms"),
    (0.25, "250ms"),
    (1.5, "1.50s"),
]


@each_case(("seconds", "expected"), DURATIONS)
def test_durations(seconds: float | None, expected: str) -> None:
    """To three digits."""
    assert expected == units.duration(seconds)


@each_case(
    ("per_second", "expected"), [(0, "0.00"), (3.14159, "3.14"), (31.4159, "31.4"), (12345.6, "12 346")]
)
def test_rates(per_second: float, expected: str) -> None:
    """To three digits, or whole."""
    assert expected == units.rate(per_second)


@each_case(("count", "expected"), [(0, "0"), (1234567, "1 234 567"), (1.0, "1"), (0.25, "0.25")])
def test_numbers(count: float, expected: str) -> None:
    """Thousands are set apart; a weight of one is written so."""
    assert expected == units.number(count)


def test_a_moment_is_told_on_the_clock_of_the_router() -> None:
    """With its date, unless that is today's."""
    night = datetime(2026, 7, 3, 0, 30, tzinfo=timezone(timedelta(hours=2)))

    assert "00:15:00" == units.clock_time("2026-07-02T22:15:00.000+00:00", night)
    assert "02 Jul 23:45:00" == units.clock_time("2026-07-02T21:45:00.000+00:00", night)
    assert "03 Jul 01:00:00" == units.clock_time("2026-07-03T01:00:00Z", datetime(2026, 7, 4, tzinfo=UTC))


STANDBY = replace(
    status_of(),
    role="standby",
    role_for=90.0,
    term=None,
    standby_because="another router is active and used",
    watched_for=80.0,
    servers_seen=3,
)
ROLES = [
    (status_of(), "active for 1d 2h, term 3-c0ffee"),
    (replace(status_of(), term=None), "active for 1d 2h"),
    (replace(STANDBY, role="claiming"), "claiming: it becomes the active one"),
    (
        STANDBY,
        "standby for 1m 30s: another router is active and used, which has been watched for 1m 20s",
    ),
]


@each_case(("status", "expected"), ROLES)
def test_roles(status: Status, expected: str) -> None:
    """Since when, by which term, and why not."""
    assert expected == units.role(status)


DOUBTS = [
    (backend_report(), ()),
    (
        replace(backend_report(), intent="maint", why_out="is in maint: nothing is asked of it"),
        ("state-1 is in maint: nothing is asked of it",),
    ),
    (
        replace(backend_report(), dirty=("lock", "remove", "write")),
        (
            "state-1 is written down as dirty: it may lack locks and removals and saves, and after a crash "
            "of this router it is not read until that is put right",
        ),
    ),
]


@each_case(("backend", "expected"), DOUBTS)
def test_doubts(backend: BackendReport, expected: tuple[str, ...]) -> None:
    """What a server may lack, what follows from it, until when, and which command helps."""
    assert expected == units.doubts(backend)
