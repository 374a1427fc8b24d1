"""From readings to Prometheus: families of the client library, made of the catalogue and of plain numbers."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from math import inf

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from partitioner.ops.metrics.catalog import Kind, Metric
from partitioner.ops.metrics.readings import Read, Readings, Series
from partitioner.transport.traffic import Histogram

SAMPLES_AT_A_TIME = 100
"""Numbers in one piece, about a millisecond's worth of text."""


class TableCollector(Collector):
    """Collects what a table of metrics names, from what was read."""

    def __init__(self, metrics: Sequence[Metric], read: Read) -> None:
        self._metrics = metrics
        self._read = read

    def collect(self) -> Iterator[Family]:
        """All families, each of them whole."""
        readings = self._read()
        for metric in self._metrics:
            yield family(metric, readings.of(metric.name))

    def pieces(self) -> Iterator[tuple[Family, bool]]:
        """The same in pieces of no more than SAMPLES_AT_A_TIME, and whether a piece is its family's first.

        Everything is read at once, before the first piece.
        """
        yield from pieces(self._metrics, self._read())


def pieces(metrics: Sequence[Metric], readings: Readings) -> Iterator[tuple[Family, bool]]:
    """Families of so many samples at most, and whether they are the first of their metric."""
    for metric in metrics:
        series = iter(readings.of(metric.name))
        count = max(1, SAMPLES_AT_A_TIME // (len(metric.buckets) + 3 if metric.buckets else 1))
        yield family(metric, islice(series, count)), True
        while piece := tuple(islice(series, count)):
            yield family(metric, piece), False


def family(metric: Metric, series: Iterable[Series]) -> Family:
    """One metric with its numbers, as the client library knows it."""
    match metric.kind:
        case Kind.COUNTER:
            counter = CounterMetricFamily(metric.full_name, metric.help, labels=metric.labels)
            for labels, value in series:
                counter.add_metric(labels, _number(value))
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(metric.full_name, metric.help, labels=metric.labels)
            for labels, value in series:
                gauge.add_metric(labels, _number(value))
            return gauge
        case Kind.INFO:
            info = InfoMetricFamily(metric.full_name.removesuffix("_info"), metric.help)
            for labels, _ in series:
                info.add_metric((), dict(zip(metric.labels, labels, strict=True)))
            return info
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.full_name, metric.help, labels=metric.labels)
            for labels, value in series:
                assert isinstance(value, Histogram)
                below = list(zip(_texts(metric.buckets), value.cumulative(), strict=True))
                histogram.add_metric(labels, below, value.total)
            return histogram


def _number(value: float | Histogram) -> float:
    assert not isinstance(value, Histogram)
    return value


@lru_cache
def _texts(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """Bounds as they are written, and that of all that is above them."""
    return tuple(floatToGoString(bound) for bound in (*bounds, inf))  # type: ignore[no-untyped-call]
