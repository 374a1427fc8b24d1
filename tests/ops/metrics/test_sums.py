"""The numbers of several processes, added up."""

from partitioner.ops.metrics.catalog import STORE, Kind
from partitioner.ops.metrics.readings import Readings, Value
from partitioner.ops.metrics.sums import sum_of, sum_of_processes, what_lasts
from partitioner.transport.traffic import DURATIONS, Histogram


def durations(*seconds: float) -> Histogram:
    histogram = Histogram(DURATIONS)
    for each in seconds:
        histogram.add(each)
    return histogram


def reading(scale: float, ready: float, offset: float, *seconds: float) -> Readings:
    readings = Readings()
    readings.note("requests_total", 2 * scale, "get", "ok")
    readings.note("client_connections", scale)
    readings.note("ready", ready)
    readings.note("engine_up", ready)
    readings.note("engine_clock_offset_seconds", offset)
    readings.note("request_duration_seconds", durations(*seconds), "get")
    return readings


def told(readings: Readings, name: str) -> list[Value]:
    return [value for _, value in readings.of(name)]


def test_counts_are_added_and_states_are_judged() -> None:
    """Ready if one is, the engine up if it is for all, and the clock of who is furthest off."""
    total = sum_of(STORE, [reading(1, 1.0, 0.5, 0.001), reading(10, 0.0, -2.0, 0.001, 9.0)])
    (histogram,) = told(total, "request_duration_seconds")

    assert [22] == told(total, "requests_total")
    assert [11] == told(total, "client_connections")
    assert [1.0] == told(total, "ready")
    assert [0.0] == told(total, "engine_up")
    assert [-2.0] == told(total, "engine_clock_offset_seconds")
    assert isinstance(histogram, Histogram)
    assert durations(0.001, 0.001, 9.0).counts == histogram.counts
    numbers = sum_of_processes(
        [
            {"process_cpu_seconds_total": 1.0, "process_open_fds": 9.0, "process_max_fds": 10.0},
            {"process_cpu_seconds_total": 2.0, "process_open_fds": 10.0, "process_max_fds": 100.0},
        ]
    )
    assert {"process_cpu_seconds_total": 3.0, "process_open_fds": 9.0, "process_max_fds": 10.0} == numbers


def test_what_was_counted_outlasts_a_process() -> None:
    """Its counters and histograms stay in the sum; how it was does not."""
    lasting = what_lasts(STORE, reading(1, 1.0, 0.5, 0.001))
    kinds = {metric.kind for metric in STORE if metric.name in lasting.names}

    assert {Kind.COUNTER, Kind.HISTOGRAM} == kinds
    assert [2] == told(lasting, "requests_total")
