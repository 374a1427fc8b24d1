"""The lines of the log, word for word: what changes, of whom, why, and what follows."""

import pytest

from partitioner.membership.health import HealthPolicy, HealthRecord, Symptom
from partitioner.membership.losses import LostSessions
from partitioner.membership.pool import first_pool
from partitioner.protocol.messages import Operation
from tests.ops.logged import BACKEND, EJECTED, FullLog, Line, Report, Screen, lines, without_time
from tests.tables import each_case

pytestmark = pytest.mark.usefixtures("structlog_as_before")

HELD = HealthRecord(symptom=Symptom.REFUSED, since=100.0, held_until=120.0)
RESTARTED = HealthRecord(symptom=Symptom.RESTARTED, since=100.0, held_until=100.0)

LINES: dict[str, tuple[Report, Line]] = {
    "turned away": (
        lambda log: log.client_turned_away("192.0.2.1", "not allowed"),
        {
            "level": "warning",
            "event": "client turned away",
            "client": "192.0.2.1",
            "cause": "not allowed",
        },
    ),
    "closed": (
        lambda log: log.exchange_closed("192.0.2.1", Operation.SET, "no backend is up"),
        {
            "level": "warning",
            "event": "client connection closed instead of an answer",
            "client": "192.0.2.1",
            "operation": "set",
            "cause": "no backend is up",
        },
    ),
    "slow": (
        lambda log: log.exchange_was_slow("192.0.2.1", Operation.SET, 1.23456, "state-1"),
        {
            "level": "warning",
            "event": "slow exchange",
            "client": "192.0.2.1",
            "operation": "set",
            "backend": "state-1",
            "took": "1.23s",
            "consequence": "answered, and its page waited for it",
        },
    ),
    "missing": (
        lambda log: log.backend_missing(BACKEND, "refused the connection", 2),
        {
            "level": "warning",
            "event": "backend is not there yet",
            "backend": "state-1",
            "address": "10.0.0.1:42424",
            "cause": "refused the connection",
            "consequence": "its users get new sessions on the other servers; 2 of 3 serve",
        },
    ),
    "up": (
        lambda log: log.backend_came_up(BACKEND, Symptom.REFUSED, None, 2),
        {
            "level": "info",
            "event": "backend is up",
            "backend": "state-1",
            "cause": "it answers, and remembers what is stored there",
            "consequence": "takes its sessions; 2 of 3 serve",
        },
    ),
    "back": (
        lambda log: log.backend_came_up(BACKEND, Symptom.TIMED_OUT, False, 3),
        {
            "level": "warning",
            "event": "backend is back",
            "backend": "state-1",
            "after": "timed out",
            "cause": "it still holds what it held",
            "consequence": "takes its sessions; 3 of 3 serve",
        },
    ),
    "recovering": (
        lambda log: log.backend_doubted(BACKEND, 3600.0, 2),
        {
            "level": "warning",
            "event": "backend is recovering",
            "backend": "state-1",
            "address": "10.0.0.1:42424",
            "cause": "it answers, and what it missed is not known",
            "consequence": "it is written to, and not read for 1h, unless `partitioner ready state-1 "
            "--force` trusts it; 2 of 3 serve",
        },
    ),
    "recovered": (
        lambda log: log.backend_trusted(BACKEND, 3),
        {
            "level": "warning",
            "event": "backend has recovered",
            "backend": "state-1",
            "cause": "whatever it missed has expired since, or an operator trusted it",
            "consequence": "it is read again; 3 of 3 serve",
        },
    ),
    "back and empty": (
        lambda log: log.backend_came_up(BACKEND, Symptom.RESTARTED, True, 3),
        {
            "level": "warning",
            "event": "backend is back",
            "backend": "state-1",
            "after": "restarted",
            "cause": "it was restarted, and starts empty",
            "consequence": "takes its sessions; 3 of 3 serve",
        },
    ),
    "ejected": (
        lambda log: log.backend_ejected(BACKEND, EJECTED, "did not connect within 1s", 2),
        {
            "level": "error",
            "event": "backend is down",
            "backend": "state-1",
            "address": "10.0.0.1:42424",
            "cause": "did not connect within 1s",
            "consequence": "its users are refused until lost_after has passed, then get new sessions; "
            "2 of 3 serve",
        },
    ),
    "ejected and held down": (
        lambda log: log.backend_ejected(BACKEND, HELD, "refused the connection", 2),
        {
            "level": "error",
            "event": "backend is down",
            "backend": "state-1",
            "address": "10.0.0.1:42424",
            "cause": "refused the connection",
            "consequence": "its users get new sessions on the other servers; 2 of 3 serve",
            "stays_out_at_least": "20s",
        },
    ),
    "restarted": (
        lambda log: log.backend_ejected(BACKEND, RESTARTED, "has forgotten its canary", 2),
        {
            "level": "error",
            "event": "backend is down",
            "backend": "state-1",
            "address": "10.0.0.1:42424",
            "cause": "it was restarted: has forgotten its canary",
            "consequence": "its users get new sessions on the other servers; 2 of 3 serve",
        },
    ),
    "entered twice": (
        lambda log: log.backend_entered_twice(BACKEND, "is the same server as state-2 (10.0.0.2:42424)", 2),
        {
            "level": "error",
            "event": "backend does not serve",
            "backend": "state-1",
            "address": "10.0.0.1:42424",
            "cause": "it is the same server as state-2 (10.0.0.2:42424)",
            "consequence": "its share of the sessions is served by the other servers; correct its address, "
            "or remove it from the configuration; 2 of 3 serve",
        },
    ),
    "not redundant": (
        lambda log: log.redundancy_lost(("state-1 went down 2s ago", "1 key is still marked")),
        {
            "level": "warning",
            "event": "pool is not redundant",
            "cause": "state-1 went down 2s ago; 1 key is still marked",
            "consequence": "if another server fails now, sessions may be lost",
        },
    ),
    "redundant again": (
        lambda log: log.redundancy_regained(3599.7),
        {
            "level": "info",
            "event": "pool is redundant again",
            "after": "1h",
            "consequence": "any one server may fail",
        },
    ),
}


@each_case(("report", "line"), LINES.values(), ids=LINES)
def test_line(capsys: Screen, report: Report, line: Line) -> None:
    """A change is one line that says what, of whom, why, and what follows."""
    assert [line] == [without_time(each) for each in lines(capsys, report)]


def test_a_walk_past_nothing_is_not_told(capsys: Screen) -> None:
    """At a start there is often no session yet. With fewer servers than copies none has all of them."""
    pool = first_pool((BACKEND,), HealthPolicy(), 2, 0.0)

    def follow(log: FullLog) -> None:
        log.router.follow(lambda: pool, lambda: LostSessions.NEW)

    (short,) = lines(capsys, follow, lambda log: log.healing_ended(3, 1, 0.1))
    assert short["consequence"].endswith("but 0 servers serve, and copies is 2")
    assert [] == lines(capsys, lambda log: log.healing_ended(0, 0, 0.1))
    assert ["healing ended"] == [
        each["event"] for each in lines(capsys, lambda log: log.healing_ended(3, 1, 0.1))
    ]
