"""The status page in a terminal: what it shows on so many columns and lines (design.md 9.1)."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import click
from rich.console import Console

from partitioner.cli.actions.top import Screen, Seen
from partitioner.cli.strips import PLAIN_HEIGHTS, curve, strip
from partitioner.ops.admin.reports import EventReport, HistoryReport, TrackReport
from tests.ops.admin.pages import backend_report, ill, status_of
from tests.tables import each_case

NOW = datetime(2026, 7, 2, 22, 16, tzinfo=UTC)
EVENT = EventReport(
    at="2026-07-02T22:15:00.000+00:00",
    ago=60.0,
    level="error",
    event="backend is down",
    cause="refused the connection",
    consequence="its sessions are served by their copies",
    facts={"backend": "state-2"},
)


def track(*states: str, has_flapped: bool = False) -> TrackReport:
    steps = len(states)
    return TrackReport((2.0,) * steps, (0.004,) * steps, (3,) * steps, states, has_flapped)


DOWN = replace(ill(backend_report("state-2")), why_out="has been down since 22:15: `do this`")
SEEN = Seen(
    replace(
        status_of(backend_report("state-1"), DOWN, backend_report("state-3")),
        redundant_since=None,
        not_redundant=("state-2 went down 1m ago",),
    ),
    HistoryReport(
        step=30.0,
        router=track(*["active"] * 120),
        lacking=(0,) * 119 + (40,),
        backends={
            "state-1": track(*["up"] * 120),
            "state-2": track(*["up"] * 100, *["down", "up"] * 10, has_flapped=True),
        },
        memory={},
    ),
    (EVENT,) * 50,
)


def drawn(screen: Screen, width: int, height: int) -> list[str]:
    """The lines on a terminal without colours."""
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(screen.group(width, height, NOW))
    return captured.get().rstrip("\n").split("\n")


def looked(seen: Seen = SEEN) -> Screen:
    screen = Screen(lambda: seen, PLAIN_HEIGHTS, clock=lambda: 0.0)
    screen.refresh()
    return screen


def test_what_is_shown() -> None:
    """The headline first and why; the last hour; each server with its strip; what helps; then events."""
    lines = drawn(looked(), 160, 40)
    text = "\n".join(lines)

    assert lines[0] == "X state-2 does not serve; 2 of 3 do"
    assert "  state-2 went down 1m ago" in lines
    assert "requests/s     2.00" in text
    assert "lacking a copy" in text
    assert "most 40" in text
    (row,) = (line for line in lines if line.startswith(" state-2"))
    assert "down (timed out)" in row
    assert f"{'-' * 26}{'X' * 6} flaps" in row
    assert "  state-2 has been down since 22:15: `do this`." in lines
    assert "22:15:00 X backend is down backend=state-2: refused the connection; so its sessions" in text
    assert text.isascii() or set(text) - set("─·…") <= set(map(chr, range(128)))
    assert lines[-1] == "Ctrl-C ends this."


@each_case(("width", "height"), [(160, 50), (100, 24), (80, 24), (60, 16)])
def test_it_fits(width: int, height: int) -> None:
    """No line is folded and none is too many: what is cut off is what says least. The ill stay in sight."""
    many = tuple(backend_report(f"b{number}") for number in range(30))
    crowd = replace(SEEN, status=replace(SEEN.status, backends=(*many, DOWN)))
    for seen in (SEEN, crowd):
        lines = drawn(looked(seen), width, height)

        assert len(lines) <= height
        assert height < 24 or seen is crowd or "`do this`." in "\n".join(lines)
        assert all(len(line.rstrip()) <= width for line in lines)
        assert any(line.startswith(" state-2") for line in lines)
        assert lines[-1] == "Ctrl-C ends this."


def test_a_router_that_goes_away() -> None:
    """The last that was seen stays, under how old it is."""
    answers: list[Seen | click.ClickException] = [click.ClickException("no router answers at x"), SEEN]
    times = iter((0.0, 0.0, 5.0))

    def look() -> Seen:
        answer = answers.pop()
        if isinstance(answer, click.ClickException):
            raise answer
        return answer

    screen = Screen(look, PLAIN_HEIGHTS, clock=lambda: next(times))
    screen.refresh()
    screen.refresh()
    lines = drawn(screen, 100, 30)

    assert lines[0] == "Nothing seen for 5s: no router answers at x. Trying again."
    assert "X state-2 does not serve; 2 of 3 do" in lines


def test_curves_and_strips() -> None:
    """The newest on the right; the most, and the worst, of each column; blanks where nothing was seen."""
    assert curve((0.0, 8.0, None), 120, PLAIN_HEIGHTS) == f"{' ' * 117}_@ "
    assert curve((0.0,) * 119 + (8.0,), 2, PLAIN_HEIGHTS) == "_@"
    assert curve((), 3) == "   "
    assert strip(("up",) * 60 + ("up", "down") * 15 + ("drain",) * 30, 4).plain == "--Xd"
