"""The numbers of one scrape, read all at once: what is scraped fits together, whatever goes on meanwhile.

Reading is cheap, and in one piece: numbers are noted and histograms copied. To make text of them costs ten
times as much, and is done in small pieces (see exposition).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from platform import python_version

from partitioner import __version__
from partitioner.ops.log_queue import lines_dropped
from partitioner.ops.metrics.counters import Counters
from partitioner.sessions.table import SessionTable
from partitioner.transport.listener import Downstream
from partitioner.transport.traffic import Histogram

Value = float | Histogram

Series = tuple[tuple[str, ...], Value]
"""One number and the values of its labels, in the order of the catalogue."""

OUTCOMES = {200: "ok", 404: "miss", 423: "locked", 400: "rejected"}
"""What a status says of the session that was asked for."""

_NOTHING: tuple[Series, ...] = ()


class Readings:
    """What was read, by metric."""

    __slots__ = ("_series",)

    def __init__(self) -> None:
        self._series: defaultdict[str, list[Series]] = defaultdict(list)

    def note(self, name: str, value: Value, *labels: str) -> None:
        """One number of the metric called so, without the prefix."""
        self._series[name].append((labels, value))

    def note_copy(self, name: str, histogram: Histogram, *labels: str) -> None:
        """A histogram as it is now."""
        self._series[name].append((labels, histogram.copy()))

    def note_choice(self, name: str, chosen: str, choices: Iterable[str], *labels: str) -> None:
        """1 for that of a few words which holds, and 0 for each of the others."""
        series = self._series[name]
        for each in choices:
            series.append(((*labels, each), float(each == chosen)))

    def of(self, name: str) -> Iterable[Series]:
        """All numbers of a metric; none where it does not apply."""
        return self._series.get(name, _NOTHING)

    @property
    def names(self) -> set[str]:
        """What was read."""
        return set(self._series)


Read = Callable[[], Readings]


def note_serving(readings: Readings, counters: Counters, downstream: Downstream) -> None:
    """What router and state server have in common: how clients are served."""
    note = readings.note
    note("build_info", 1, __version__, python_version())
    for operation, served in counters.served.items():
        for status, outcome in OUTCOMES.items():
            note("requests_total", served.answers[status], operation.value, outcome)
        note("requests_total", counters.closed[operation], operation.value, "closed")
        readings.note_copy("request_duration_seconds", served.durations, operation.value)
    note("requests_total", counters.malformed, "unknown", "rejected")
    note("requests_total", counters.closed[None], "unknown", "closed")
    readings.note_copy("session_size_bytes", counters.sizes)
    note("requests_in_progress", downstream.exchanges_under_way)
    note("client_connections", downstream.connections)
    note("client_connections_limit", downstream.most_connections)
    note("clients_turned_away_total", counters.turned_away)
    note("crashes_total", counters.crashes)
    note("log_lines_dropped_total", lines_dropped())
    readings.note_copy("event_loop_lag_seconds", counters.lags)


def note_holding(readings: Readings, tables: Iterable[SessionTable]) -> None:
    """What state servers hold, all of these together."""
    tables = tuple(tables)
    readings.note("sessions", sum(table.sessions_held for table in tables))
    readings.note("session_bytes", sum(table.used_memory for table in tables))
    readings.note("session_bytes_limit", sum(table.max_memory or 0 for table in tables))
    readings.note("sessions_expired_total", sum(table.expired for table in tables))
    readings.note("creations_refused_total", sum(table.refused_creations for table in tables))


def state_server_reading(counters: Counters, downstream: Downstream, table: SessionTable) -> Read:
    """How the numbers of a state server are read."""

    def read() -> Readings:
        readings = Readings()
        note_serving(readings, counters, downstream)
        note_holding(readings, (table,))
        return readings

    return read
