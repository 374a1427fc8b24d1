"""The table of state servers has to be read at night, on whatever terminal there is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from rich.console import Console, RenderableType

from partitioner.cli.pool_table import backends_table, summary
from partitioner.cli.watch import Watch
from partitioner.ops.admin.reports import BackendReport, DrainReport
from tests.ops.admin.pages import backend_report, ill, status_of
from tests.tables import each_case

NAMES = ("state-1", "state-2", "state-3")
STALLED = DrainReport(
    "state-3", 60.0, 557, 6, 9.0, None, done=False, stalled="what is left is locked by pages"
)


def lines_of(shown: RenderableType, width: int) -> list[str]:
    console = Console(width=width, markup=False)
    with console.capture() as captured:
        console.print(shown)
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


def rows_of(found: Sequence[BackendReport], width: int) -> list[str]:
    head_and_rule = 2
    return lines_of(backends_table(found, width), width)[head_and_rule:]


@each_case("width", [80, 100, 120, 200])
def test_a_row_is_a_line(width: int) -> None:
    """On the usual terminals nothing is broken, and name, health and its reason are always there."""
    found = [backend_report("state-1"), ill(backend_report("state-2")), draining("state-3")]

    rows = rows_of(found, width)
    assert list(NAMES) == [row.split()[0] for row in rows]
    assert "down (timed out)" in rows[1]
    assert "drain" in rows[2].split()


def test_a_wide_table_has_it_all() -> None:
    """How far a drain has come is told in a few words; `partitioner status` has the sentence."""
    row = rows_of([draining("state-3")], width=200)[0]

    assert "10.0.0.1:42424" in row
    assert row.endswith("557 moved, 6 left, stalled")


def test_nobody_looks_at_a_server_in_maintenance() -> None:
    """It is not called down: nobody knows."""
    put_aside = replace(ill(backend_report()), intent="maint")

    assert "down" not in rows_of([put_aside], width=200)[0]


def test_those_that_operators_took_out_are_not_expected_to_serve() -> None:
    """`1 of 1 serve`, as the log and the status page say it."""
    removed = replace(backend_report("state-2"), removed=True, serves=False)
    seen = replace(status_of(backend_report("state-1"), removed, draining("state-3")), serving=1, copies=1)

    assert "state servers   1 of 1 serve, 1 copy kept" in "\n".join(lines_of(summary(seen), 200))
    assert "1 of 1 serve" in watched(seen.backends, height=40)[0]


def test_a_standby_says_why_it_is_one() -> None:
    """And who answers it; nobody serves behind it."""
    seen = replace(
        status_of(backend_report("state-1")),
        role="standby",
        role_for=90.0,
        term=None,
        superseded=1,
        standby_because="another router is active and used",
        watched_for=80.0,
        servers_seen=1,
    )

    lines = "\n".join(lines_of(summary(seen), 200))
    assert "standby for 1 min 30 s: another router is active and used, which has been watched for" in lines
    assert "superseded once since its start" in lines
    assert "1 of 1 answer" in lines


def test_on_a_low_terminal_the_ill_are_in_front() -> None:
    """The end of what is shown is cut off there."""
    found = [backend_report(f"state-{number}") for number in range(50)]
    found[40] = ill(found[40])

    assert watched(found, height=24)[3].split()[0] == "state-40"
    assert watched(found, height=80)[3].split()[0] == "state-0"


def draining(name: str) -> BackendReport:
    return replace(backend_report(name), intent="drain", serves=False, drain=replace(STALLED, backend=name))


def watched(found: Sequence[BackendReport], height: int) -> list[str]:
    serving = sum(each.serves for each in found)
    watch = Watch(lambda: replace(status_of(*found), serving=serving), clock=lambda: 0.0)
    watch.refresh()
    return lines_of(watch.frame(100, height, datetime(2024, 5, 17, 3, 12)), 100)


def test_a_server_that_web_servers_would_not_take() -> None:
    """What it does stands below the state servers; where all is well there is no such line."""
    seen = "handed out a lock without a LockCookie"
    found = [backend_report("state-1"), replace(backend_report("state-2"), shortcomings=(seen,))]

    told = " ".join(" ".join(lines_of(summary(status_of(*found)), width=200)).split())
    assert f"not as it should be state-2 {seen}" in told
    assert "not as it should be" not in " ".join(lines_of(summary(status_of(found[0])), width=200))
