"""What a bench has come to, for people (tables) and for scripts (one object with stable keys)."""

from collections import Counter
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from partitioner.bench.counters import Counters, Failure
from partitioner.bench.findings import Kind
from partitioner.bench.run import Outcome
from partitioner.protocol.messages import Operation
from partitioner.units import format_duration, format_size

_OPERATIONS = (
    Operation.GET,
    Operation.ACQUIRE,
    Operation.RELEASE,
    Operation.SET,
    Operation.CREATE_UNINITIALIZED,
)
"""What is sent in the working time; the last one only where a session was not found."""

_STATUSES = (200, 404, 423, 400)
_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}


def json_report(outcome: Outcome) -> dict[str, object]:
    """The report as one object. Times and latencies are seconds, sizes bytes."""
    plan, counters, findings = outcome.plan, outcome.counters, outcome.findings
    return {
        "ok": outcome.is_good,
        "address": str(plan.address),
        "connections": plan.connections,
        "sessions": plan.sessions,
        "size": plan.size,
        "rate": plan.rate,
        "seed": plan.seed,
        "seconds": counters.seconds,
        "web_requests": counters.web_requests,
        "exchanges": counters.exchanges,
        "exchanges_per_second": _per_second(counters),
        "bytes_sent": counters.bytes_sent,
        "bytes_received": counters.bytes_received,
        "operations": {operation.value: _operation_row(counters, operation) for operation in _OPERATIONS},
        "errors": {_key(failure): counters.failures[failure] for failure in Failure},
        "refused": counters.refused,
        "first_failure": _since_start(counters, counters.outages.first_failure_at),
        "last_failure": _since_start(counters, counters.outages.last_failure_at),
        "longest_silence": counters.outages.longest_silence,
        "longest_session_outage": counters.outages.longest_session_outage,
        "wrong": findings.count(Kind.WRONG),
        "stale": findings.count(Kind.STALE),
        "lost": findings.count(Kind.LOST),
        "double_holders": findings.count(Kind.DOUBLE_HOLDER),
        "findings": [
            {"kind": _key(finding.kind), "session": finding.session, "detail": finding.detail}
            for finding in findings.kept
        ],
        "created": outcome.created,
        "read_back": outcome.read_back,
        "removed": outcome.removed,
    }


def report(outcome: Outcome) -> tuple[RenderableType, ...]:
    """The report as tables, top to bottom."""
    return (_operations_table(outcome.counters), _summary(outcome))


def _operation_row(counters: Counters, operation: Operation) -> dict[str, object]:
    latencies = counters.latencies[operation]
    quantiles = {name: latencies.quantile(share) for name, share in _QUANTILES.items()}
    return {
        "count": latencies.count,
        **quantiles,
        "max": latencies.longest,
        "statuses": _statuses(counters.statuses[operation]),
    }


def _statuses(counts: Counter[int]) -> dict[str, int]:
    named = {str(status): counts[status] for status in _STATUSES}
    return {**named, "other": counts.total() - sum(named.values())}


def _operations_table(counters: Counters) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("operation", no_wrap=True)
    headers = ("count", "p50 ms", "p99 ms", "p99.9 ms", "max ms", *map(str, _STATUSES), "other")
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    for operation in _OPERATIONS:
        latencies = counters.latencies[operation]
        if latencies.count == 0:
            continue
        durations = [*(latencies.quantile(share) for share in _QUANTILES.values()), latencies.longest]
        table.add_row(
            operation.value,
            str(latencies.count),
            *(f"{duration * 1000:.2f}" for duration in durations),
            *map(str, _statuses(counters.statuses[operation]).values()),
        )
    return table


def _summary(outcome: Outcome) -> Table:
    grid = Table.grid(padding=(0, 2))
    for label, value, is_bad in _summary_rows(outcome):
        grid.add_row(label, Text(value, style="bold red" if is_bad else ""))
    return grid


def _summary_rows(outcome: Outcome) -> Iterator[tuple[str, str, bool]]:
    """Label, value, and whether it is bad news."""
    plan, counters, findings = outcome.plan, outcome.counters, outcome.findings
    rate = f"{_per_second(counters):,.0f}/s"
    yield "server", f"{plan.address}, over {plan.connections:,} connections", False
    yield "exchanges", f"{counters.exchanges:,} in {counters.seconds:.2f} s, {rate}", counters.succeeded == 0
    yield "web requests", f"{counters.web_requests:,}, seed {plan.seed}", False
    moved = f"{format_size(counters.bytes_sent)} sent, {format_size(counters.bytes_received)} received"
    yield "bytes", moved, False
    yield "failed", _failures(counters), False
    yield "refused", f"{counters.refused:,}", counters.refused > 0
    for kind in Kind:
        yield kind.value, f"{findings.count(kind):,}", findings.count(kind) > 0
    outages = counters.outages
    yield "longest silence", f"{format_duration(outages.longest_silence)} without any success", False
    yield "longest outage", f"{format_duration(outages.longest_session_outage)} of one session", False
    sessions = f"{outcome.created:,} created, {outcome.read_back:,} read back, {outcome.removed:,} removed"
    yield "sessions", f"{sessions} of {plan.sessions:,} of {format_size(plan.size)}", False


def _failures(counters: Counters) -> str:
    """Such as `7: 5 closed, 2 refused; failures between second 3.1 and 3.4`."""
    first = _since_start(counters, counters.outages.first_failure_at)
    last = _since_start(counters, counters.outages.last_failure_at)
    if first is None or last is None:
        return "0"
    reasons = ", ".join(f"{count:,} {failure.value}" for failure, count in counters.failures.most_common())
    return f"{counters.failed:,}: {reasons}; failures between second {first:.1f} and {last:.1f}"


def _per_second(counters: Counters) -> float:
    return counters.exchanges / counters.seconds if counters.seconds else 0.0


def _since_start(counters: Counters, at: float | None) -> float | None:
    return None if at is None else at - counters.began_at


def _key(name: Kind | Failure) -> str:
    words: str = name.value
    return words.replace(" ", "_")
