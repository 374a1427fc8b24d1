"""The state servers of a running router as a table, and the router itself as a few lines."""

from collections.abc import Callable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from partitioner.cli.output import age, percent
from partitioner.cli.tables import table
from partitioner.ops.admin.reports import BackendReport, DrainReport, Status
from partitioner.ops.admin.units import duration, rate, role

_COLOURS = {"up": "green", "down": "bold red"}
_IN_BETWEEN = "yellow"
_NUMBERS = ("for", "share", "requests/s", "p50", "p99", "failed", "to repair")
_QUIET = {"-", "0", "ready"}  # what stands in a column in good times
_BETWEEN, _AT_BOTH_ENDS = 3, 2  # blanks that rich puts there


def backends_table(
    found: Sequence[BackendReport], width: int, strips: Mapping[str, Text] | None = None
) -> Table:
    """A row for each state server, in so many columns of a terminal if that can be.

    What says least is left out where there is no room for it: a line that is broken into three is hard to
    read. `strips` are what each one's last hour was like, by its identity.
    """
    columns = {header: [cell(each) for each in found] for header, cell in _CELLS.items()}
    if strips is not None:
        columns["the last hour"] = [strips.get(each.identity, Text("")) for each in found]
    for header in _least_telling_first(columns):
        if _width(columns) <= width:
            break
        del columns[header]
    rows = table(*columns, numbers=_NUMBERS)
    for cells in zip(*columns.values(), strict=True):
        rows.add_row(*cells)
    return rows


def _least_telling_first(columns: Mapping[str, Sequence[str | Text]]) -> list[str]:
    """What can be left out, in this order. Who was taken out, and whether one is up, is always told."""
    quiet = [header for header, cells in columns.items() if _QUIET.issuperset(map(str, cells))]
    return list(
        dict.fromkeys(("address", *quiet, "share", "p50", "requests/s", "drain", "p99", "the last hour"))
    )


def _width(columns: Mapping[str, Sequence[str | Text]]) -> int:
    """How many columns of a terminal a table with these takes, if no line is broken."""
    longest = (max(map(len, (header, *map(str, cells)))) for header, cells in columns.items())
    return sum(longest) + _BETWEEN * (len(columns) - 1) + _AT_BOTH_ENDS


def summary(seen: Status) -> Table:
    """What matters of a router at night."""
    rows = table("", "")
    rows.show_header = False
    oldest = "" if seen.oldest_lock is None else f", the oldest for {age(seen.oldest_lock)}"
    outcomes = ", ".join(f"{rate(each)} {name}" for name, each in seen.requests.items() if each)
    requests = f"{rate(sum(seen.requests.values()))} a second" + (f": {outcomes}" if outcomes else "")
    rows.add_row("router", f"{seen.name}, version {seen.version}, for {age(seen.uptime)}")
    rows.add_row("role", role(seen) + _superseded(seen))
    rows.add_row("ready", "yes" if seen.ready else f"no: {'; '.join(seen.not_ready)}")
    copies = "1 copy" if seen.copies == 1 else f"{seen.copies} copies"
    verb = "serve" if seen.standby_because is None else "answer"
    rows.add_row("state servers", f"{seen.serving} of {len(seen.wanted)} {verb}, {copies} kept")
    short = [f"{each.name} {what}" for each in seen.backends for what in each.shortcomings]
    if short:
        rows.add_row("not as it should be", "; ".join(short))
    rows.add_row("redundant", _redundancy(seen))
    rows.add_row("requests", f"{requests}; {seen.clients} clients")
    rows.add_row("locks", f"{seen.locks_held} held{oldest}")
    rows.add_row("to repair", _to_repair(seen.keys_marked))
    rows.add_row("placement", f"{seen.map_fingerprint} (alike on routers that agree), change {seen.epoch}")
    return rows


def _to_repair(sessions: int) -> str:
    """How many sessions are known to lack the current copy somewhere."""
    if not sessions:
        return "nothing"
    lack = "1 session lacks" if sessions == 1 else f"{sessions} sessions lack"
    return f"{lack} a current copy on a server; that is repaired when the server answers"


def _superseded(seen: Status) -> str:
    times = "once" if seen.superseded == 1 else f"{seen.superseded} times"
    return f"; superseded {times} since its start" if seen.superseded else ""


def _redundancy(seen: Status) -> str:
    """Whether any one state server may fail, and why not."""
    if seen.standby_because is not None:
        return f"unknown: {'; '.join(seen.not_redundant)}"
    if seen.redundant_since is not None:
        return f"for {age(seen.redundant_since)}"
    return f"no: {'; '.join(seen.not_redundant)}"


def _short_progress(drain: DrainReport | None) -> str:
    """The same in a few words."""
    if drain is None:
        return "-"
    if drain.done:
        return "done"
    left = "" if drain.left is None else f", {drain.left} left"
    return f"{drain.moved} moved{left}{', stalled' if drain.stalled is not None else ''}"


def _health(backend: BackendReport) -> Text:
    if backend.intent == "maint":
        return Text("-")  # it is not looked at
    if backend.removed and backend.health == "down":
        return Text("not answering")  # and it may be switched off
    trouble = "" if backend.trouble is None else f" ({backend.trouble})"
    return Text(backend.health + trouble, style=_COLOURS.get(backend.health, _IN_BETWEEN))


_CELLS: dict[str, Callable[[BackendReport], str | Text]] = {
    "state server": lambda each: each.name,
    "address": lambda each: each.address,
    "intent": lambda each: "removed" if each.removed else each.intent,
    "health": _health,
    "for": lambda each: "-" if each.health_for is None else age(each.health_for),
    "share": lambda each: percent(each.share),
    "requests/s": lambda each: rate(each.traffic.rate),
    "p50": lambda each: duration(each.traffic.p50),
    "p99": lambda each: duration(each.traffic.p99),
    "failed": lambda each: str(each.traffic.failed),
    "to repair": lambda each: str(each.keys_marked),
    "drain": lambda each: _short_progress(each.drain),
}
