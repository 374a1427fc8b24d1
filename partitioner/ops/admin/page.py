"""The status page: what a router sees and does, for a person with a browser and no time.

It only shows; who wants to act uses the command line. No script, no picture, no font comes with it, so it
opens on any machine that reaches the port, and the browser is told to load and run nothing else: even a
string that got through the escaping could do no harm.
"""

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

import trio
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from partitioner.ops.admin import units
from partitioner.ops.admin.drawing import curve, strip, told
from partitioner.ops.admin.headline import Headline, headline
from partitioner.ops.admin.reports import (
    BackendReport,
    EventReport,
    HistoryReport,
    LockReport,
    Locks,
    Status,
    TrackReport,
)
from partitioner.ops.printable import printable

USUAL_REFRESH = 5
LONGEST_REFRESH = 3600
OLD_LOCK = 10.0
"""Seconds: pages are done in less, so a lock that is older is one to look at."""

MOST_OLD_LOCKS = 50
PIECES_AT_A_TIME = 300
"""Of the page, about half a millisecond; then other tasks have a turn."""

_HERE = Path(__file__).parent
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Nothing is loaded, run, framed or kept; the page is for the eyes of who asked for it."""


@dataclass(frozen=True, slots=True)
class View:
    """All that the page shows."""

    status: Status
    old_locks: tuple[LockReport, ...]
    more_old_locks: bool
    events: tuple[EventReport, ...]
    history: HistoryReport
    headline: Headline
    is_standby: bool  # it knows who answers it, and nothing of sessions
    reasons: tuple[str, ...]  # why the pool is not redundant, where it could be
    notes: tuple[str, ...]  # these, and whatever else keeps servers from being safe to stop
    largest_share: float  # of sessions or traffic: what a full bar stands for
    refresh: int  # seconds; 0 if it shall stay as it is
    now: datetime

    def track_of(self, backend: BackendReport) -> TrackReport | None:
        """The last hour of a backend; None where nothing has been seen of it yet."""
        return self.history.backends.get(backend.identity)

    @property
    def highest_rate(self) -> float:
        """Exchanges a second: what all curves of servers have for their upper edge."""
        return max((rate for each in self.history.backends.values() for rate in each.rates), default=0.0)

    @property
    def highest_p99(self) -> float:
        """Seconds: the same for the curves of durations."""
        found = (each for track in self.history.backends.values() for each in track.p99)
        return max((each for each in found if each is not None), default=0.0)

    def notes_of(self, backend: BackendReport) -> list[int]:
        """The numbers of the notes that concern a backend, from 1."""
        return sorted(self.notes.index(reason) + 1 for reason in backend.not_safe_to_stop)


def view(
    status: Status, locks: Locks, events: tuple[EventReport, ...], history: HistoryReport, refresh: int
) -> View:
    """What there is to show."""
    old = tuple(lock for lock in locks.locks if lock.age >= OLD_LOCK)
    is_standby = status.standby_because is not None
    reasons = status.not_redundant if status.copies > 1 and not is_standby else ()
    others = (reason for each in status.backends for reason in each.not_safe_to_stop if not is_standby)
    return View(
        status=status,
        old_locks=old[:MOST_OLD_LOCKS],
        more_old_locks=len(old) > MOST_OLD_LOCKS,
        events=events,
        history=history,
        headline=headline(status),
        is_standby=is_standby,
        reasons=reasons,
        notes=tuple(dict.fromkeys((*reasons, *others))),
        largest_share=max((max(each.share, each.traffic.share) for each in status.backends), default=0.0),
        refresh=refresh,
        now=datetime.now().astimezone(),
    )


def read_refresh(text: str | None) -> int:
    """Read how often the page shall be asked for anew, in seconds; 0: never. Raises ValueError."""
    if text is None:
        return USUAL_REFRESH
    if text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= LONGEST_REFRESH:
        return int(text)
    raise ValueError(
        f"refresh={text!r} is not a whole number of seconds; expected 0 (never) to {LONGEST_REFRESH}"
    )


async def render(shown: View) -> str:
    """Write the page."""
    return await rendered(template(), view=shown, status=shown.status)


async def rendered(template: Template, **given: object) -> str:
    """Write a page. It may have hundreds of rows, so others have their turn meanwhile."""
    pieces = []
    for number, piece in enumerate(template.generate(**given), 1):
        pieces.append(piece)
        if number % PIECES_AT_A_TIME == 0:
            await trio.lowlevel.checkpoint()
    return "".join(pieces)


@cache
def template() -> Template:
    """The page's template. To compile it takes 20 ms: a router does so before it serves."""
    return environment().get_template("page.html")


def with_commands(sentence: str) -> Markup:
    """A sentence whose commands, which stand in backticks, can be copied as a whole."""
    parts = enumerate(printable(sentence).split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if odd % 2 else part for odd, part in parts)


def _finalize(value: object) -> object:
    """What every expression of the template passes through, before it is escaped for HTML.

    A name may hold anything that the configuration may hold, and a log line what a client sent.
    """
    return printable(value) if type(value) is str else value


@cache
def environment() -> Environment:
    """What the templates of all pages go by."""
    made = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "age": units.age,
        "role": units.role,
        "duration": units.duration,
        "rate": units.rate,
        "share": units.share,
        "number": units.number,
        "clock_time": units.clock_time,
        "size": units.size,
        "advice": units.advice,
        "with_commands": with_commands,
        "curve": curve,
        "strip": strip,
        "told": told,
    }
    made.globals["style"] = Markup(_STYLE)
    return made
