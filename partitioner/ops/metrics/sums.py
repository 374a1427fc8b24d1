"""The numbers of several processes that do the same work, as those of one.

Prometheus takes a counter that falls for one that began anew. So what a process had counted when it ended
stays in the sum.
"""

from collections.abc import Callable, Iterable, Sequence

from partitioner.ops.metrics.catalog import Kind, Metric
from partitioner.ops.metrics.readings import Readings, Value
from partitioner.transport.traffic import Histogram


def _furthest_from_zero(values: Sequence[float]) -> float:
    return max(values, key=abs)


SUMMED_OTHERWISE: dict[str, Callable[[Sequence[float]], float]] = {
    "ready": max,  # a load balancer may send clients as long as one process serves them
    "engine_up": min,
    "engine_trouble": max,
    "engine_degraded": max,
    "engine_clock_offset_seconds": _furthest_from_zero,
    "engine_memory_used_ratio": max,
}
"""Gauges that are not added."""

_LASTS = frozenset({Kind.COUNTER, Kind.HISTOGRAM})


def sum_of(metrics: Iterable[Metric], readings: Sequence[Readings]) -> Readings:
    """What all these readings say together."""
    total = Readings()
    for metric in metrics:
        series: dict[tuple[str, ...], list[Value]] = {}
        for each in readings:
            for labels, value in each.of(metric.name):
                series.setdefault(labels, []).append(value)
        for labels, values in series.items():
            total.note(metric.name, _together(metric, values), *labels)
    return total


def what_lasts(metrics: Iterable[Metric], readings: Readings) -> Readings:
    """What stays true when the process that has counted it has ended."""
    return sum_of([metric for metric in metrics if metric.kind in _LASTS], [readings])


def _together(metric: Metric, values: Sequence[Value]) -> Value:
    if metric.kind is Kind.HISTOGRAM:
        return _histogram([each for each in values if isinstance(each, Histogram)])
    numbers = [each for each in values if not isinstance(each, Histogram)]
    if metric.kind is Kind.INFO:
        return numbers[0]
    combine: Callable[[Sequence[float]], float] = SUMMED_OTHERWISE.get(metric.name, sum)
    return combine(numbers)


def _histogram(parts: Sequence[Histogram]) -> Histogram:
    total = Histogram(parts[0].bounds)
    total.counts = [sum(counts) for counts in zip(*(each.counts for each in parts), strict=True)]
    total.total = sum(each.total for each in parts)
    return total


def sum_of_processes(processes: Sequence[dict[str, float]]) -> dict[str, float]:
    """What the operating system says of several processes: of files the fullest one, of memory the sum.

    They were started when the first of them was.
    """
    told: dict[str, float] = {}
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total"):
        if numbers := [each[name] for each in processes if name in each]:
            told[name] = sum(numbers)
    with_files = [each for each in processes if "process_open_fds" in each]
    if with_files:
        fullest = max(with_files, key=lambda each: each["process_open_fds"] / each["process_max_fds"])
        told |= {name: fullest[name] for name in ("process_open_fds", "process_max_fds")}
    started = [
        each["process_start_time_seconds"] for each in processes if "process_start_time_seconds" in each
    ]
    if started:
        told["process_start_time_seconds"] = min(started)
    return told
