"""Draws what the status page shows in a terminal: headline, the last hour, servers and what helps, events."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from textwrap import wrap

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.looks import Looks
from partitioner.cli.options import Refused
from partitioner.cli.output import age, healed, print_json, progress
from partitioner.cli.pool_table import backends_table
from partitioner.cli.strips import HEIGHTS, PLAIN_HEIGHTS, curve, strip
from partitioner.cli.tables import WIDTH_OF_A_PIPE, print_rich
from partitioner.ops.admin.headline import headline
from partitioner.ops.admin.reports import BackendReport, EventReport, HistoryReport, Status
from partitioner.ops.admin.units import clock_time, doubts, duration, number, rate, role
from partitioner.ops.printable import printable

PATIENCE = 3.0
"""Seconds for an answer: an operator looks at the screen meanwhile."""

LEAST_EVENTS = 3
"""Lines that are kept for events, however many servers there are."""

EVENTS_OF_A_SNAPSHOT = 20
WIDTH_OF_CURVES = 60
_SIGNS = {"good": ("*", "bold green"), "caution": ("!", "bold yellow"), "bad": ("X", "bold red")}
_LEVELS = {"info": (" ", ""), "warning": ("!", "yellow"), "error": ("X", "bold red")}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a router has found."""

    status: Status
    history: HistoryReport
    events: tuple[EventReport, ...]


def look(client: AdminClient) -> Seen:
    """Look once. Raises ClickException."""
    if client.has_store():
        raise Refused("its sessions are on an engine; `partitioner status` shows how that is")
    return Seen(client.status(), client.history(), tuple(client.events()))


def top_as_json(url: str) -> None:
    """Print all of it as one object."""
    print_json(asdict(look(AdminClient(url))))


def show_once(url: str) -> None:
    """Print it as it is now, for a pipe or a file."""
    seen = look(AdminClient(url))
    print_rich(*frame(seen, WIDTH_OF_A_PIPE, None, datetime.now().astimezone(), heights=HEIGHTS))


def show_until_stopped(url: str, interval: float) -> None:
    """Show it until Ctrl-C. Raises Refused where looking again would not help, as without the token."""
    console = Console(markup=False, emoji=False, highlight=False)
    if console.is_dumb_terminal:
        show_once(url)
        return
    heights = HEIGHTS if console.encoding.lower().startswith("utf") else PLAIN_HEIGHTS
    client = AdminClient(url, PATIENCE)
    screen = Screen(lambda: look(client), heights)
    screen.refresh()
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(screen.group(*console.size, datetime.now().astimezone()), refresh=True)
            time.sleep(interval)
            screen.refresh()


class Screen:
    """What is shown of the last that was seen."""

    def __init__(
        self, look: Callable[[], Seen], heights: str = HEIGHTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._heights = heights
        self._looks = Looks(look, clock)
        self.refresh = self._looks.refresh

    def group(self, width: int, height: int, at: datetime) -> Group:
        """What to show now, on so many columns and lines."""
        shown: list[RenderableType] = []
        if (trouble := self._looks.maybe_trouble()) is not None:
            shown.append(_line(trouble, width, "bold red"))
        if (seen := self._looks.seen) is not None:
            shown += frame(seen, width, height - 1 - len(shown), at, heights=self._heights)
        return Group(*shown, Text("Ctrl-C ends this.", style="dim", end=""))


def frame(seen: Seen, width: int, height: int | None, at: datetime, *, heights: str) -> list[RenderableType]:
    """All of it, on so many columns; with `height` on so many lines: those that say least are left out."""
    status, history = seen.status, seen.history
    curves = list(_curves(history, width, heights))[: None if height is None else max(1, height - 18)]
    head = [*_heading(status, width, at), Text(), *curves, Text()]
    servers = _in_sight(status.backends, None if height is None else height - len(head) - LEAST_EVENTS - 4)
    table = backends_table(
        servers, width, {each.identity: _strip_of(each, history, width) for each in servers}
    )
    said = [line for each in _sentences(status) for line in _lines(f"{each}.", width)]
    if height is None:
        return [*head, table, *said, Text(), *_events(seen.events[:EVENTS_OF_A_SNAPSHOT], width, at)]
    room = height - len(head) - len(servers) - 4  # the table's head, its rule and two blank lines
    said = said[: max(0, room - LEAST_EVENTS)]
    events = seen.events[: max(0, room - len(said) - 1)]
    return [*head, table, *said, *([Text()] if said else []), *_events(events, width, at)]


def _heading(status: Status, width: int, at: datetime) -> Iterator[Text]:
    said = headline(status)
    sign, style = _SIGNS[said.level]
    yield _line(f"{sign} {said.sentence}", width, style)
    where = f"{status.name}, {status.version}, up {age(status.uptime)}, {role(status)}"
    yield _line(f"{where} · {at:%H:%M:%S}", width)
    if status.redundant_since is None and status.standby_because is None:
        for reason in status.not_redundant:
            yield from _lines(reason, width)


def _curves(history: HistoryReport, width: int, heights: str) -> Iterator[Text]:
    """A line for each: what it is now, the last hour, and the most of it."""
    past, room = history.router, max(10, min(WIDTH_OF_CURVES, width - 50))
    if not past.rates:
        yield Text("the last hour: nothing yet")
        return
    slow = tuple(each or 0.0 for each in past.p99)
    for name, values, now, most in (
        ("requests/s", past.rates, rate(past.rates[-1]), rate(max(past.rates))),
        ("99 of 100 within", past.p99, duration(past.p99[-1]), duration(max(slow) or None)),
        ("closed", past.failed, number(past.failed[-1]), number(max(past.failed))),
        ("lacking a copy", history.lacking, number(history.lacking[-1]), number(max(history.lacking))),
    ):
        yield _line(f"{name:>16} {now:>8}  {curve(values, room, heights)}  most {most}", width)
    router = Text(f"{'this router':>16} {'':>8}  ", no_wrap=True)
    router.append_text(strip(past.states, room)).append("  an hour, to now")
    router.truncate(width)
    yield router


def _strip_of(backend: BackendReport, history: HistoryReport, width: int) -> Text:
    track = history.backends.get(backend.identity)
    if track is None:
        return Text("")
    drawn = strip(track.states, max(10, min(40, width // 5)))
    return drawn.append(" flaps" if track.has_flapped else "", style="bold red")


def _in_sight(found: tuple[BackendReport, ...], room: int | None) -> tuple[BackendReport, ...]:
    """As many as there is room for, those that do not serve in front."""
    if room is None or len(found) <= room:
        return found
    return tuple(sorted(found, key=lambda each: each.serves)[: max(1, room)])


def _sentences(status: Status) -> Iterator[str]:
    """What is the matter and what helps; how far drains and healing have come."""
    for each in status.backends:
        yield from doubts(each)
    for drain in status.drains:
        yield f"{drain.backend} drains: {progress(drain)}"
    if status.healing is not None:
        yield f"healing: {healed(status.healing)}"
    for name, reason in status.not_healed.items():
        yield f"{name} cannot be healed: {reason}"


def _events(events: tuple[EventReport, ...], width: int, at: datetime) -> Iterator[Text]:
    for each in events:
        sign, style = _LEVELS.get(each.level, (" ", ""))
        whose = f" backend={each.facts['backend']}" if "backend" in each.facts else ""
        why = f": {each.cause}" if each.cause else ""
        so = f"; so {each.consequence}" if each.consequence else ""
        facts = "".join(f" {name}={fact}" for name, fact in each.facts.items() if name != "backend")
        yield _line(f"{clock_time(each.at, at)} {sign} {each.event}{whose}{why}{so}{facts}", width, style)


def _lines(text: str, width: int) -> Iterator[Text]:
    """A sentence on as many lines as it needs: the command that helps stands at its end."""
    for line in wrap(printable(text), width, initial_indent="  ", subsequent_indent="  "):
        yield _line(line, width)


def _line(text: str, width: int, style: str = "") -> Text:
    """One line of the screen, cut off at its end; nothing in it moves the cursor."""
    line = Text(printable(text), style=style, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line
