"""What is counted of what is reported."""

from collections.abc import Callable

from partitioner.errors import BackendTooSlow, Phase
from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.health import Health, HealthRecord
from partitioner.membership.losses import LossReason
from partitioner.ops.metrics.counters import Counters
from partitioner.protocol.messages import Operation
from tests.doubles.observers import FACT_NAMES
from tests.tables import each_case

PEER = "192.0.2.1"
BACKEND = Backend("state-1", Address("10.0.0.1", 42424), identity=BackendId("state-1@10.0.0.1:42424"))
OTHER = Backend("state-2", Address("10.0.0.2", 42424))
WHO = BACKEND.identity

Report = Callable[[Counters], None]
Count = Callable[[Counters], object]

# What is reported, what is looked at, and what it is after the report; before, it is 0 or another default.
COUNTED: dict[str, tuple[Report, Count, object]] = {
    "client_turned_away": (
        lambda counters: counters.client_turned_away(PEER, "not allowed"),
        lambda counters: counters.turned_away,
        1,
    ),
    "request_rejected": (
        lambda counters: counters.request_rejected(PEER, "no target"),
        lambda counters: counters.malformed,
        1,
    ),
    "exchange_finished": (
        lambda counters: counters.exchange_finished(Operation.GET, 404, 0.25, 0),
        lambda counters: counters.served[Operation.GET].answers[404],
        1,
    ),
    "exchange_closed": (
        lambda counters: counters.exchange_closed(PEER, Operation.SET, "no backend is up"),
        lambda counters: counters.closed[Operation.SET],
        1,
    ),
    "conversation_crashed": (
        lambda counters: counters.conversation_crashed(PEER, ZeroDivisionError("ours")),
        lambda counters: counters.crashes,
        1,
    ),
    "backend_full": (
        lambda counters: counters.backend_full(BACKEND),
        lambda counters: counters.is_full(WHO),
        True,
    ),
    "backend_missing": (
        lambda counters: counters.backend_missing(BACKEND, "refused", 2),
        lambda counters: counters.state_changes[WHO, Health.DOWN],
        1,
    ),
    "backend_came_up": (
        lambda counters: counters.backend_came_up(BACKEND, None, None, 3),
        lambda counters: counters.state_changes[WHO, Health.UP],
        1,
    ),
    "backend_ejected": (
        lambda counters: counters.backend_ejected(BACKEND, HealthRecord(), "refused", 2),
        lambda counters: counters.state_changes[WHO, Health.DOWN],
        1,
    ),
    "backend_doubted": (
        lambda counters: counters.backend_doubted(BACKEND, 3600.0, 2),
        lambda counters: counters.state_changes[WHO, Health.RECOVERING],
        1,
    ),
    "backend_trusted": (
        lambda counters: counters.backend_trusted(BACKEND, 3),
        lambda counters: counters.state_changes[WHO, Health.UP],
        1,
    ),
    "backend_put_aside": (
        lambda counters: counters.backend_put_aside(BACKEND),
        lambda counters: counters.state_changes[WHO, Health.DOWN],
        1,
    ),
    "failed_over": (
        lambda counters: counters.failed_over(BACKEND),
        lambda counters: counters.failovers[WHO],
        1,
    ),
    "session_saved": (
        lambda counters: counters.session_saved(b"%2fLM(oXvpnxcuEWqKAgOE)%2f", 300),
        lambda counters: {name: sizes.count for name, sizes in counters.by_application.read()},
        {"/LM(oXvpnxcu...)": 1, "other": 0},
    ),
    "copy_written": (
        lambda counters: counters.copy_written(BACKEND, False),
        lambda counters: (counters.copies[WHO, True], counters.copies[WHO, False]),
        (0, 1),
    ),
    "write_degraded": (
        lambda counters: counters.write_degraded((BACKEND, OTHER), Operation.SET),
        lambda counters: counters.degraded_writes,
        1,
    ),
    "session_moved": (
        lambda counters: counters.session_moved(BACKEND, "missed"),
        lambda counters: counters.moved["missed"],
        1,
    ),
    "session_repaired": (
        lambda counters: counters.session_repaired(BACKEND),
        lambda counters: counters.repaired,
        1,
    ),
    "session_healed": (
        lambda counters: counters.session_healed("lacking"),
        lambda counters: counters.healed["lacking"],
        1,
    ),
    "loss_declared": (
        lambda counters: counters.loss_declared(Operation.GET, (WHO,), LossReason.DIED),
        lambda counters: counters.lost[LossReason.DIED],
        1,
    ),
    "lock_taken_over": (
        lambda counters: counters.lock_taken_over(BACKEND),
        lambda counters: counters.locks_taken_over,
        1,
    ),
    "ghost_lock_released": (
        lambda counters: counters.ghost_lock_released(BACKEND),
        lambda counters: counters.ghosts_released,
        1,
    ),
    "ghost_lock_left": (
        lambda counters: counters.ghost_lock_left(BACKEND, "refused"),
        lambda counters: counters.ghosts_left,
        1,
    ),
    "applications_mixed": (
        lambda counters: counters.applications_mixed("4f1c", "9ad0"),
        lambda counters: counters.mixed_applications,
        1,
    ),
    "superseded": (
        lambda counters: counters.superseded("4-c0ffee"),
        lambda counters: counters.superseded_times,
        1,
    ),
    "record_written": (
        lambda counters: counters.record_written(3, 3),
        lambda counters: (counters.records[True], counters.records[False]),
        (1, 0),
    ),
    "stood_still": (lambda counters: counters.stood_still(7.3), lambda counters: counters.standstills, 1),
    "reloaded": (
        lambda counters: counters.reloaded("applied"),
        lambda counters: counters.reloads["applied"],
        1,
    ),
}

READ_ELSEWHERE = {
    *("clients_filled_up", "accepting_failed"),  # client_connections and its limit, and process_open_fds
    *("ejection_withheld", "backend_answers_again"),  # the log says so; its backend stays in its state
    "backend_troubled",  # the traffic of its upstream
    *("intent_changed", "drain_began", "drain_ended"),  # the pool, and the hand-off
    *("drain_stalled", "drain_went_on"),  # the hand-off
    *("healing_ended", "walk_refused"),  # the healing
    *("redundancy_lost", "redundancy_regained"),  # the roster
    "creation_refused",  # the table
    "exchange_was_slow",  # the durations of all requests
    *("claimed", "claim_failed", "active_router_seen", "active_router_lost"),  # its role, as it is now
    *(
        "record_set_aside",
        "backend_entered_twice",
        "backend_moved",
        "memory_was_copied",
        "backend_falls_short",
        "other_farm_seen",
    ),  # the log says so, once
}
"""Facts that are not counted here: something else says the same."""


def test_every_fact_is_counted_or_read_elsewhere() -> None:
    """A new fact comes with where its number is from."""
    assert set(FACT_NAMES) == COUNTED.keys() | READ_ELSEWHERE


@each_case(("report", "count", "expected"), COUNTED.values(), ids=COUNTED)
def test_counted(report: Report, count: Count, expected: object) -> None:
    """A fact counts once, each time that it is reported."""
    counters = Counters()
    before = count(counters)
    report(counters)

    assert before != expected
    assert expected == count(counters)


@each_case(("servers", "wanted"), [(2, 3), (0, 3)])
def test_records_that_are_not_where_they_should_be(servers: int, wanted: int) -> None:
    """One that a server which answers has not taken has failed."""
    counters = Counters()
    counters.record_written(servers, wanted)

    assert (0, 1) == (counters.records[True], counters.records[False])


def test_a_record_for_nobody() -> None:
    """While no server answers, none can take it: that is no failure of a write."""
    counters = Counters()
    counters.record_written(0, 0)

    assert 0 == counters.records.total()


def test_durations() -> None:
    """Requests are spread by how long they took, each operation apart."""
    counters = Counters()
    counters.exchange_finished(Operation.GET, 200, 0.25, 0)
    counters.exchange_finished(Operation.SET, 200, 0.5, 100)

    assert (1, 0.25) == (
        counters.served[Operation.GET].durations.count,
        counters.served[Operation.GET].durations.total,
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
    counters = Counters()
    counters.exchange_finished(operation, status, 0.001, size)

    assert (count, count * size) == (counters.sizes.count, counters.sizes.total)


def test_lost_updates() -> None:
    """Only a save that is answered 423 loses what its page has changed."""
    counters = Counters()
    for operation in Operation:
        for status in (200, 404, 423, 400):
            counters.exchange_finished(operation, status, 0.001, 0)

    assert 1 == counters.lost_updates


def test_reloads() -> None:
    """The last one says whether the router does what the file says, and since when that is known."""
    now = 100.0
    counters = Counters(lambda: now)
    seen = [(counters.is_last_reload_good, counters.last_read_at)]
    for outcome in ("invalid", "unchanged", "refused", "applied"):
        now += 1
        counters.reloaded(outcome)
        seen.append((counters.is_last_reload_good, counters.last_read_at))

    assert [(True, 100.0), (False, 101.0), (True, 102.0), (False, 103.0), (True, 104.0)] == seen


def test_what_is_read_elsewhere_is_heard_without_harm() -> None:
    """An observer hears all facts, and overrides those that it cares for."""
    counters = Counters()
    counters.backend_troubled(BackendTooSlow(WHO, Phase.READING, "slept"))
    counters.intent_changed(BACKEND, Intent.READY, 2, "an order")

    assert "<Counters, 0 requests answered>" == repr(counters)
