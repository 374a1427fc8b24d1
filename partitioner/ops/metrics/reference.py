"""The catalogue as a document for people: conf/metrics.md, which a test keeps equal to this."""

from collections.abc import Iterable, Iterator

from partitioner.ops.metrics.catalog import HOLDING, PROCESS, ROUTER, SERVING, SIZES, STORE, Metric
from partitioner.transport.traffic import DURATIONS

HEAD = """\
# Metrics

`/metrics` on the admin port (`admin:` of a router, `--admin` of a state server), in Prometheus's text format
or in OpenMetrics. Units are seconds, bytes, and shares from 0 to 1. A backend goes by its name in the
configuration. No session ID is in any label: it is a bearer secret.

Written by `python -m partitioner.ops.metrics`; do not edit.
"""


def reference() -> str:
    """The whole document."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield HEAD
    yield from _section("Router and state server", SERVING)
    yield from _section("Router", [each for each in ROUTER if each not in SERVING])
    yield from _section("State server, and a router with embedded ones (all of them together)", HOLDING)
    of_both = {each.name for each in (*SERVING, *HOLDING)} | {"ready"}
    yield from _section("State server with a store", [each for each in STORE if each.name not in of_both])
    yield from _heading("Process, of both, on Linux")
    for name, (kind, told) in PROCESS.items():
        yield _row(name, kind.value, "", told)
    yield ""
    yield "## Buckets of histograms"
    yield ""
    yield f"Durations, in seconds: {_bounds(DURATIONS)}."
    yield ""
    yield f"Sizes, in bytes: {_bounds(SIZES)}."
    yield ""


def _section(title: str, metrics: Iterable[Metric]) -> Iterator[str]:
    yield from _heading(title)
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield _row(metric.full_name, metric.kind.value, labels, metric.help)
    yield ""


def _heading(title: str) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| name | kind | labels | what it tells |"
    yield "|---|---|---|---|"


def _row(name: str, kind: str, labels: str, told: str) -> str:
    return f"| `{name}` | {kind} | {labels} | {told} |"


def _bounds(bounds: Iterable[float]) -> str:
    return ", ".join(f"{bound:.6g}" if bound < 1e6 else f"{bound:.0f}" for bound in bounds)
