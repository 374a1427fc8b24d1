"""What is told of a process, as families of Prometheus's client library."""

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family

from partitioner.ops.metrics.catalog import PROCESS, Kind


def process_families(told: Mapping[str, float]) -> list[Family]:
    """These numbers (process_numbers), one family each, in the order of the catalogue."""
    return [_family(name, told[name]) for name in PROCESS if name in told]


def _family(name: str, value: float) -> Family:
    kind, told = PROCESS[name]
    make = CounterMetricFamily if kind is Kind.COUNTER else GaugeMetricFamily
    return make(name, told, value=value)
