"""The state servers of a running router as a table, and the router itself as a few lines."""

from collections.abc import Sequence
from datetime import timedelta

from rich.table import Table
from rich.text import Text

from partitioner.cli.output import percent, table
from partitioner.ops.admin.reports import BackendReport, DrainReport, Status
from partitioner.ops.admin.words import duration, rate
from partitioner.ops.printable import printable

_COLOURS = {"up": "green", "down": "bold red"}
_IN_BETWEEN = "yellow"


def backends_table(found: Sequence[BackendReport], *, is_narrow: bool = False) -> Table:
    """A row for each state server. A narrow one leaves out what stands in the configuration."""
    numbers = ("for", "share", "requests/s", "p50", "p99", "failed", "to put right")
    rows = table("state server", "address", "intent", "health", *numbers, "drain", numbers=numbers)
    for each in found:
        rows.add_row(
            each.name,
            each.address,
            "removed" if each.removed else each.intent,
            _health(each),
            "-" if each.health_for is None else age(each.health_for),
            percent(each.share),
            rate(each.traffic.rate),
            duration(each.traffic.p50),
            duration(each.traffic.p99),
            str(each.traffic.failed),
            str(each.keys_marked),
            "-" if each.drain is None else progress(each.drain),
        )
    if is_narrow:
        rows.columns = [column for column in rows.columns if column.header != "address"]
    return rows


def summary(seen: Status) -> Table:
    """What matters of a router at night."""
    rows = table("", "")
    rows.show_header = False
    oldest = "" if seen.oldest_lock is None else f", the oldest for {age(seen.oldest_lock)}"
    outcomes = ", ".join(f"{rate(each)} {name}" for name, each in seen.requests.items() if each)
    requests = f"{rate(sum(seen.requests.values()))} a second" + (f": {outcomes}" if outcomes else "")
    rows.add_row("router", f"{seen.name}, version {seen.version}, for {age(seen.uptime)}")
    rows.add_row("ready", "yes" if seen.ready else f"no: {'; '.join(seen.not_ready)}")
    rows.add_row("state servers", f"{seen.serving} of {len(seen.backends)} serve, {seen.copies} copies kept")
    rows.add_row("redundant", _redundancy(seen))
    rows.add_row("requests", f"{requests}; {seen.clients} clients")
    rows.add_row("locks", f"{seen.locks_held} held{oldest}")
    rows.add_row("to put right", f"{seen.keys_marked} copies")
    rows.add_row("map", f"{seen.map_fingerprint} (alike on routers that agree), pool epoch {seen.epoch}")
    return rows


def _redundancy(seen: Status) -> str:
    """Whether any one state server may fail, and why not."""
    if seen.redundant_since is not None:
        return f"for {age(seen.redundant_since)}"
    return f"no: {'; '.join(seen.not_redundant)}"


def progress(drain: DrainReport) -> str:
    """How far a drain has come, in a line."""
    left = "nobody can tell how many are left" if drain.left is None else f"{drain.left} left"
    if drain.done:
        return f"done, {drain.moved} sessions moved"
    if drain.stalled is not None:
        return f"{drain.moved} sessions moved, {left}; stalled: {printable(drain.stalled)}"
    until = "" if drain.estimate is None else f", at most {age(drain.estimate)} to go"
    return f"{drain.moved} sessions moved, {left}{until}"


def age(seconds: float) -> str:
    """A length of time for people, to the second: 0:01:30."""
    return str(timedelta(seconds=round(seconds)))


def _health(backend: BackendReport) -> Text:
    trouble = "" if backend.trouble is None else f" ({backend.trouble})"
    return Text(backend.health + trouble, style=_COLOURS.get(backend.health, _IN_BETWEEN))
