"""The count of a run: what adds up to what, and how long nothing worked."""

import pytest

from partitioner.bench.counters import Counters, Failure
from partitioner.bench.findings import KEPT, Finding, Findings, Kind
from partitioner.bench.outages import Outages
from partitioner.protocol.messages import Operation


def test_answers_add_up() -> None:
    """Every answered exchange is counted by operation and status, with its latency."""
    counters = Counters(0.0)
    counters.count_answer(1, Operation.ACQUIRE, 200, 1.0, 1.1)
    counters.count_answer(1, Operation.ACQUIRE, 423, 1.0, 1.2)
    counters.count_answer(1, Operation.SET, 200, 2.0, 2.3)

    assert (3, 2, 0) == (counters.exchanges, counters.succeeded, counters.failed)
    assert {200: 1, 423: 1} == counters.statuses[Operation.ACQUIRE]
    assert counters.latencies[Operation.SET].longest == pytest.approx(0.3)


def test_failures_add_up() -> None:
    """An unanswered exchange is counted by its reason, and not among the answered ones."""
    counters = Counters(0.0)
    counters.count_failure(1, Failure.CLOSED, 1.0, 1.5)
    counters.count_failure(2, Failure.CLOSED, 1.0, 2.5)
    counters.count_failure(2, Failure.REFUSED, 3.0, 3.0)

    assert {Failure.CLOSED: 2, Failure.REFUSED: 1} == counters.failures
    assert (0, 3, 1.5, 3.0) == (
        counters.exchanges,
        counters.failed,
        counters.outages.first_failure_at,
        counters.outages.last_failure_at,
    )


def test_silence_is_the_time_between_successes() -> None:
    """The longest silence counts from the start, from success to success, and to the end."""
    outages = Outages(10.0)
    outages.succeeded(1, 11.0)
    outages.failed(1, 11.0, 13.0)
    outages.succeeded(2, 14.0)

    assert outages.longest_silence == 3.0

    outages.end(18.0)

    assert outages.longest_silence == 4.0


def test_an_outage_begins_with_the_first_vain_exchange() -> None:
    """A session is out from the start of the first exchange in vain until anybody's success."""
    outages = Outages(0.0)
    outages.succeeded(1, 1.0)
    outages.failed(1, 5.0, 6.0)
    outages.was_in_vain(1, 7.0)
    outages.succeeded(2, 8.0)

    assert outages.longest_session_outage == 0.0

    outages.succeeded(1, 9.0)

    assert outages.longest_session_outage == 4.0


def test_an_outage_may_last_to_the_end() -> None:
    """A session that never comes back is out until the end of the run."""
    outages = Outages(0.0)
    outages.failed(1, 5.0, 6.0)
    outages.end(15.0)

    assert outages.longest_session_outage == 10.0


def test_findings_are_counted_beyond_those_kept() -> None:
    """A server that is wrong all the time does not fill the memory."""
    findings = Findings()
    for session in range(KEPT + 5):
        findings.add(Finding(Kind.STALE, session, "got version 1; expected 2 or newer"))

    assert (KEPT, KEPT + 5, KEPT + 5, 0) == (
        len(findings.kept),
        findings.total,
        findings.count(Kind.STALE),
        findings.count(Kind.LOST),
    )


def test_what_was_refused() -> None:
    """Requests answered 400, and connections; what was not found or is locked was served."""
    counters = Counters(0.0)
    for status in (200, 400, 404, 423, 400):
        counters.count_answer(1, Operation.GET, status, 0.0, 1.0)
    counters.count_failure(1, Failure.REFUSED, 0.0, 1.0)
    counters.count_failure(1, Failure.CLOSED, 0.0, 1.0)

    assert 3 == counters.refused
