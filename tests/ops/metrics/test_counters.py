"""What is counted of what is reported."""

from collections.abc import Callable

from partitioner.errors import BackendTooSlow, Phase
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import Health, HealthRecord
from partitioner.membership.losses import LossReason
from partitioner.ops.metrics.counters import Tally
from partitioner.protocol.messages import Operation
from tests.doubles.observers import FACT_NAMES
from tests.tables import each_case

PEER = "192.0.2.1"
BACKEND = Backend("state-1", Address("10.0.0.1", 42424), identity="state-1@10.0.0.1:42424")
OTHER = Backend("state-2", Address("10.0.0.2", 42424))
WHO = BACKEND.identity

Report = Callable[[Tally], None]
Count = Callable[[Tally], object]

# What is reported, what is looked at, and what it is after the report; before, it is 0 or another default.
COUNTED: dict[str, tuple[Report, Count, object]] = {
    "client_turned_away": (lambda tally: tally.client_turned_away(PEER), lambda tally: tally.turned_away, 1),
    "request_rejected": (
        lambda tally: tally.request_rejected(PEER, "no target"),
        lambda tally: tally.malformed,
        1,
    ),
    "exchange_finished": (
        lambda tally: tally.exchange_finished(Operation.GET, 404, 0.25, 0),
        lambda tally: tally.served[Operation.GET].answers[404],
        1,
    ),
    "exchange_closed": (
        lambda tally: tally.exchange_closed(PEER, Operation.SET, "no backend is up"),
        lambda tally: tally.closed[Operation.SET],
        1,
    ),
    "conversation_crashed": (
        lambda tally: tally.conversation_crashed(PEER, ZeroDivisionError("ours")),
        lambda tally: tally.crashes,
        1,
    ),
    "backend_missing": (
        lambda tally: tally.backend_missing(BACKEND, "refused", 2),
        lambda tally: tally.state_changes[WHO, Health.DOWN],
        1,
    ),
    "backend_came_up": (
        lambda tally: tally.backend_came_up(BACKEND, None, None, 3),
        lambda tally: tally.state_changes[WHO, Health.UP],
        1,
    ),
    "backend_ejected": (
        lambda tally: tally.backend_ejected(BACKEND, HealthRecord(), "refused", 2),
        lambda tally: tally.state_changes[WHO, Health.DOWN],
        1,
    ),
    "backend_doubted": (
        lambda tally: tally.backend_doubted(BACKEND, 3600.0, 2),
        lambda tally: tally.state_changes[WHO, Health.RECOVERING],
        1,
    ),
    "backend_trusted": (
        lambda tally: tally.backend_trusted(BACKEND, 3),
        lambda tally: tally.state_changes[WHO, Health.UP],
        1,
    ),
    "backend_put_aside": (
        lambda tally: tally.backend_put_aside(BACKEND),
        lambda tally: tally.state_changes[WHO, Health.DOWN],
        1,
    ),
    "failed_over": (lambda tally: tally.failed_over(BACKEND), lambda tally: tally.failovers[WHO], 1),
    "copy_written": (
        lambda tally: tally.copy_written(BACKEND, False),
        lambda tally: (tally.copies[WHO, True], tally.copies[WHO, False]),
        (0, 1),
    ),
    "write_degraded": (
        lambda tally: tally.write_degraded((BACKEND, OTHER), Operation.SET),
        lambda tally: tally.degraded_writes,
        1,
    ),
    "session_moved": (
        lambda tally: tally.session_moved(BACKEND, "missed"),
        lambda tally: tally.moved["missed"],
        1,
    ),
    "session_repaired": (lambda tally: tally.session_repaired(BACKEND), lambda tally: tally.repaired, 1),
    "loss_declared": (
        lambda tally: tally.loss_declared(Operation.GET, (WHO,), LossReason.DIED),
        lambda tally: tally.lost[LossReason.DIED],
        1,
    ),
    "lock_taken_over": (
        lambda tally: tally.lock_taken_over(BACKEND),
        lambda tally: tally.locks_taken_over,
        1,
    ),
    "ghost_lock_released": (
        lambda tally: tally.ghost_lock_released(BACKEND),
        lambda tally: tally.ghosts_released,
        1,
    ),
    "ghost_lock_left": (
        lambda tally: tally.ghost_lock_left(BACKEND, "refused"),
        lambda tally: tally.ghosts_left,
        1,
    ),
    "applications_mixed": (
        lambda tally: tally.applications_mixed("4f1c", "9ad0"),
        lambda tally: tally.mixed_applications,
        1,
    ),
    "superseded": (
        lambda tally: tally.superseded("4-c0ffee"),
        lambda tally: tally.superseded_times,
        1,
    ),
    "record_written": (
        lambda tally: tally.record_written(3, 3),
        lambda tally: (tally.records[True], tally.records[False]),
        (1, 0),
    ),
    "stood_still": (lambda tally: tally.stood_still(7.3), lambda tally: tally.standstills, 1),
    "reloaded": (lambda tally: tally.reloaded("applied"), lambda tally: tally.reloads["applied"], 1),
}

READ_ELSEWHERE = {
    *("clients_filled_up", "accepting_failed"),  # client_connections and its limit, and process_open_fds
    *("ejection_withheld", "backend_answers_again"),  # the log says so; its backend stays in its state
    "backend_troubled",  # the traffic of its upstream
    *("intent_changed", "drain_began", "drain_ended"),  # the pool, and the hand-off
    *("drain_stalled", "drain_went_on"),  # the hand-off
    *("redundancy_lost", "redundancy_regained"),  # the roster
    "creation_refused",  # the table
    "exchange_was_slow",  # the durations of all requests
    *("claimed", "claim_failed", "active_router_seen", "active_router_lost"),  # its role, as it is now
    *(
        "record_set_aside",
        "backend_entered_twice",
        "backend_moved",
        "memory_was_copied",
        "other_farm_seen",
    ),  # the log says so, once
}
"""Facts that are not counted here: something else says the same."""


def test_every_fact_is_counted_or_read_elsewhere() -> None:
    """Whoever adds a fact decides where its number comes from."""
    assert set(FACT_NAMES) == COUNTED.keys() | READ_ELSEWHERE


@each_case(("report", "count", "expected"), COUNTED.values(), ids=COUNTED)
def test_counted(report: Report, count: Count, expected: object) -> None:
    """A fact counts once, each time that it is reported."""
    tally = Tally()
    before = count(tally)
    report(tally)

    assert before != expected
    assert expected == count(tally)


@each_case(("servers", "wanted"), [(2, 3), (0, 3)])
def test_records_that_are_not_where_they_should_be(servers: int, wanted: int) -> None:
    """One that a server which answers has not taken has failed."""
    tally = Tally()
    tally.record_written(servers, wanted)

    assert (0, 1) == (tally.records[True], tally.records[False])


def test_a_record_for_nobody() -> None:
    """While no server answers, none can take it: that is no failure of a write."""
    tally = Tally()
    tally.record_written(0, 0)

    assert 0 == tally.records.total()


def test_durations() -> None:
    """Requests are spread by how long they took, each operation apart."""
    tally = Tally()
    tally.exchange_finished(Operation.GET, 200, 0.25, 0)
    tally.exchange_finished(Operation.SET, 200, 0.5, 100)

    assert (1, 0.25) == (
        tally.served[Operation.GET].durations.count,
        tally.served[Operation.GET].durations.total,
    )


SIZES: dict[str, tuple[Operation, int, int, int]] = {
    "a save": (Operation.SET, 200, 1000, 1),
    "a new session": (Operation.CREATE_UNINITIALIZED, 200, 1000, 1),
    "a save that came too late": (Operation.SET, 423, 1000, 0),
    "a save that was refused": (Operation.SET, 400, 1000, 0),
    "a body where none is of use": (Operation.GET, 200, 1000, 0),
}


@each_case(("operation", "status", "size", "count"), SIZES.values(), ids=SIZES)
def test_sizes(operation: Operation, status: int, size: int, count: int) -> None:
    """Sizes are those of what was saved."""
    tally = Tally()
    tally.exchange_finished(operation, status, 0.001, size)

    assert (count, count * size) == (tally.sizes.count, tally.sizes.total)


def test_lost_updates() -> None:
    """Only a save that is answered 423 loses what its page has changed."""
    tally = Tally()
    for operation in Operation:
        for status in (200, 404, 423, 400):
            tally.exchange_finished(operation, status, 0.001, 0)

    assert 1 == tally.lost_updates


def test_reloads() -> None:
    """The last one says whether the router does what the file says, and since when that is known."""
    now = 100.0
    tally = Tally(lambda: now)
    seen = [(tally.is_last_reload_good, tally.last_read_at)]
    for outcome in ("invalid", "unchanged", "refused", "applied"):
        now += 1
        tally.reloaded(outcome)
        seen.append((tally.is_last_reload_good, tally.last_read_at))

    assert [(True, 100.0), (False, 101.0), (True, 102.0), (False, 103.0), (True, 104.0)] == seen


def test_what_is_read_elsewhere_is_heard_without_harm() -> None:
    """An observer hears all facts, and overrides those that it cares for."""
    tally = Tally()
    tally.backend_troubled(BackendTooSlow(WHO, Phase.READING, "slept"))
    tally.intent_changed(BACKEND, Intent.READY, 2, "an order")

    assert "<Tally, 0 requests answered>" == repr(tally)
