"""What the log says, and how often: a change each time, what may happen all the time once a minute."""

import json
import sys

import pytest

from partitioner.errors import BackendEjected, BackendMalformed, BackendTooSlow, Phase
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.health import HealthPolicy
from partitioner.membership.losses import LossReason, LostSessions
from partitioner.membership.pool import first_pool
from partitioner.ops.log_output import configure_log
from partitioner.ops.metrics.counters import Counters
from partitioner.protocol.messages import Operation
from tests.doubles.observers import FACT_NAMES
from tests.doubles.routers import backend
from tests.identities import STATE_1
from tests.ops.logged import BACKEND, EJECTED, FullLog, Report, Screen, lines, without_time
from tests.tables import each_case

pytestmark = pytest.mark.usefixtures("structlog_as_before")


def minute(log: FullLog) -> None:
    """A minute is over."""
    log.log.repeat_held_back()


def end(log: FullLog) -> None:
    """The last line of a program that has done nothing."""
    log.log.note_end(Counters())


EVERY_FACT: dict[str, Report] = {
    "client_turned_away": lambda log: log.client_turned_away("192.0.2.1", "not allowed"),
    "clients_filled_up": lambda log: log.clients_filled_up(10),
    "accepting_failed": lambda log: log.accepting_failed("Too many open files"),
    "request_rejected": lambda log: log.request_rejected("192.0.2.1", "the target is empty"),
    "exchange_finished": lambda log: log.exchange_finished(Operation.GET, 200, 0.001, 0),
    "session_saved": lambda log: log.session_saved(b"%2fLM", 1024),
    "exchange_was_slow": lambda log: log.exchange_was_slow("192.0.2.1", Operation.SET, 1.23456, "state-1"),
    "exchange_closed": lambda log: log.exchange_closed("192.0.2.1", None, "no backend is up"),
    "applications_mixed": lambda log: log.applications_mixed(
        "/LM/W3SVC/2/ROOT(oXvpnxcu...)", "/LM/W3SVC/3/ROOT(Q382tQy2...)"
    ),
    "stood_still": lambda log: log.stood_still(7.31),
    "conversation_crashed": lambda log: log.conversation_crashed("192.0.2.1", ZeroDivisionError("ours")),
    "backend_full": lambda log: log.backend_full(BACKEND),
    "backend_missing": lambda log: log.backend_missing(BACKEND, "refused the connection", 2),
    "backend_came_up": lambda log: log.backend_came_up(BACKEND, None, False, 1),
    "backend_ejected": lambda log: log.backend_ejected(BACKEND, EJECTED, "refused the connection", 0),
    "backend_doubted": lambda log: log.backend_doubted(BACKEND, 3600.0, 2),
    "backend_trusted": lambda log: log.backend_trusted(BACKEND, 3),
    "ejection_withheld": lambda log: log.ejection_withheld(BACKEND, "did not connect within 1s"),
    "backend_answers_again": lambda log: log.backend_answers_again(BACKEND),
    "backend_troubled": lambda log: log.backend_troubled(BackendTooSlow("state-1", Phase.READING, "slept")),
    "ghost_lock_released": lambda log: log.ghost_lock_released(BACKEND),
    "ghost_lock_left": lambda log: log.ghost_lock_left(BACKEND, "refused the connection"),
    "redundancy_lost": lambda log: log.redundancy_lost(("state-1 went down 2s ago",)),
    "redundancy_regained": lambda log: log.redundancy_regained(3600.0),
    "creation_refused": lambda log: log.creation_refused(3, 1024),
    "backend_put_aside": lambda log: log.backend_put_aside(BACKEND),
    "intent_changed": lambda log: log.intent_changed(BACKEND, Intent.DRAIN, 3, "an order"),
    "drain_began": lambda log: log.drain_began(BACKEND, 3600.0),
    "drain_stalled": lambda log: log.drain_stalled(BACKEND, "its admin port does not answer"),
    "drain_went_on": lambda log: log.drain_went_on(BACKEND),
    "drain_ended": lambda log: log.drain_ended(BACKEND, 12, "it holds no session any more"),
    "healing_ended": lambda log: log.healing_ended(600, 12, 1.25),
    "session_healed": lambda log: log.session_healed("lacking"),
    "walk_refused": lambda log: log.walk_refused(BACKEND, "its listing is out of order"),
    "write_degraded": lambda log: log.write_degraded((BACKEND,), Operation.SET),
    "session_moved": lambda log: log.session_moved(BACKEND, "missed"),
    "session_repaired": lambda log: log.session_repaired(BACKEND),
    "loss_declared": lambda log: log.loss_declared(Operation.GET, (STATE_1,), LossReason.DIED),
    "lock_taken_over": lambda log: log.lock_taken_over(BACKEND),
    "failed_over": lambda log: log.failed_over(BACKEND),
    "copy_written": lambda log: log.copy_written(BACKEND, True),
    "reloaded": lambda log: log.reloaded("applied"),
    "claimed": lambda log: log.claimed("4-c0ffee", "a client has come", 0.0123),
    "claim_failed": lambda log: log.claim_failed("no server took the claim of this router"),
    "superseded": lambda log: log.superseded("4-c0ffee"),
    "active_router_seen": lambda log: log.active_router_seen(),
    "active_router_lost": lambda log: log.active_router_lost(),
    "record_written": lambda log: log.record_written(1, 3),
    "record_set_aside": lambda log: log.record_set_aside("state_dir", "is that of another farm"),
    "backend_entered_twice": lambda log: log.backend_entered_twice(BACKEND, "is the same server as x", 1),
    "backend_moved": lambda log: log.backend_moved(BACKEND, backend(2)),
    "other_farm_seen": lambda log: log.other_farm_seen(BACKEND),
    "memory_was_copied": lambda log: log.memory_was_copied(BACKEND, backend(2)),
    "backend_falls_short": lambda log: log.backend_falls_short(BACKEND, "hands out no cookies"),
}

SILENT = {
    *(
        "exchange_finished",
        "session_saved",
        "session_moved",
        "session_repaired",
        "session_healed",
        "failed_over",
        "copy_written",
    ),
    *("reloaded", "backend_put_aside"),  # these have lines of their own
}
"""What a counter counts, and the log does not say."""


def test_every_fact_is_tried() -> None:
    """The cases here are all that an observer can hear."""
    assert set(EVERY_FACT) == set(FACT_NAMES)


@each_case("name", sorted(set(EVERY_FACT) - SILENT))
def test_one_line_with_a_cause(capsys: Screen, name: str) -> None:
    """Each report is one line, and says why or how much, or what follows from it."""
    [line] = lines(capsys, EVERY_FACT[name])

    assert line.keys() & {"cause", "consequence", "exception"}


@each_case("name", sorted(SILENT))
def test_not_in_the_log(capsys: Screen, name: str) -> None:
    """What happens thousands of times a second, and is well, is not in the log."""
    assert lines(capsys, EVERY_FACT[name]) == []


@pytest.mark.parametrize("phase", Phase)
def test_cut_exchanges_are_not_in_the_log(capsys: Screen, phase: Phase) -> None:
    """Exchanges that end with an ejection are not said one by one: the ejection is."""
    assert (
        lines(capsys, lambda log: log.backend_troubled(BackendEjected("state-1", phase, "was ejected"))) == []
    )


AT_TIMES = [
    "claim_failed",
    "record_written",
    "exchange_was_slow",
    "applications_mixed",
    "client_turned_away",
    "clients_filled_up",
    "accepting_failed",
    "request_rejected",
    "exchange_closed",
    "backend_troubled",
    "ghost_lock_released",
    "creation_refused",
    "write_degraded",
    "loss_declared",
    "lock_taken_over",
]


@each_case("name", AT_TIMES)
def test_once_a_minute(capsys: Screen, name: str) -> None:
    """What may happen thousands of times a second is said once, and then not for a while."""
    assert len(lines(capsys, *[EVERY_FACT[name]] * 1000)) == 1


@each_case(
    "name",
    [
        "backend_came_up",
        "backend_ejected",
        "backend_doubted",
        "backend_trusted",
        "ejection_withheld",
        "ghost_lock_left",
        "intent_changed",
        "drain_began",
        "drain_stalled",
        "drain_went_on",
        "drain_ended",
        "healing_ended",
        "walk_refused",
        "claimed",
        "superseded",
        "active_router_seen",
        "active_router_lost",
    ],
)
def test_changes_are_always_said(capsys: Screen, name: str) -> None:
    """A change of state is said each time that it happens, however soon after the last."""
    assert len(lines(capsys, *[EVERY_FACT[name]] * 3)) == 3


WITHOUT: dict[tuple[Backend, ...], str] = {
    (BACKEND,): "state-1 has none",
    (backend(2), BACKEND): "state-1 and state-2 have none",
    (): "there is no server left to put one on",
}


@pytest.mark.parametrize(("without", "cause"), WITHOUT.items(), ids=WITHOUT.values())
def test_who_has_no_copy(capsys: Screen, without: tuple[Backend, ...], cause: str) -> None:
    """A save with too few copies names all servers that have none."""
    [line] = lines(capsys, lambda log: log.write_degraded(without, Operation.SET))

    assert cause == line["cause"]


def test_strangers_are_told_apart(capsys: Screen) -> None:
    """That one client was turned away does not hide that another one was."""
    written = lines(
        capsys,
        lambda log: log.client_turned_away("192.0.2.1", "not allowed"),
        lambda log: log.client_turned_away("192.0.2.2", "not allowed"),
    )

    assert ["192.0.2.1", "192.0.2.2"] == [line["client"] for line in written]


def test_backends_are_told_apart(capsys: Screen) -> None:
    """Trouble with one backend does not hide trouble with another, or of another kind."""
    written = lines(
        capsys,
        lambda log: log.backend_troubled(BackendTooSlow("state-1", Phase.READING, "slept")),
        lambda log: log.backend_troubled(BackendTooSlow("state-2", Phase.READING, "slept")),
        lambda log: log.backend_troubled(BackendMalformed("state-1", Phase.READING, "spoke in tongues")),
    )

    assert [("state-1", "slept"), ("state-2", "slept"), ("state-1", "spoke in tongues")] == [
        (line["backend"], line["cause"]) for line in written
    ]


def test_what_was_held_back_is_said_in_the_end(capsys: Screen) -> None:
    """How often a thing happened is said: with the next full minute, and with the last line."""
    report = EVERY_FACT["exchange_closed"]
    written = lines(capsys, *[report] * 5, minute, *[report] * 3, end)

    assert ["-", "4", "3", "-"] == [str(line.get("times_more", "-")) for line in written]
    assert [written[0]["event"]] * 3 == [line["event"] for line in written[:3]]


def test_refused_users_are_not_said_to_get_new_sessions(capsys: Screen) -> None:
    """With `lost_sessions: close` the log says so."""
    configure_log(as_json=True)
    log = FullLog(3, LostSessions.CLOSE)
    log.backend_ejected(BACKEND, EJECTED, "did not connect within 1s", 2)

    [line] = [json.loads(each) for each in capsys.readouterr().err.splitlines()]
    assert line["consequence"] == "its users are refused until it is back; 2 of 3 serve"


def test_the_pool_is_followed(capsys: Screen) -> None:
    """How many there are, and what becomes of sessions, is said of what is in force, not of what was."""
    backends = [backend(number) for number in (1, 2, 3, 4)]
    pools = [first_pool(backends[:1], HealthPolicy(), 1), first_pool(backends, HealthPolicy(), 2)]
    fates = [LostSessions.NEW, LostSessions.CLOSE]

    written = lines(
        capsys,
        lambda log: log.router.follow(lambda: pools[0], lambda: fates[0]),
        lambda log: log.backend_missing(BACKEND, "refused the connection", 0),
        lambda log: pools.reverse(),
        lambda log: log.backend_ejected(BACKEND, EJECTED, "did not connect within 1s", 3),
        lambda log: fates.reverse(),
        lambda log: log.backend_missing(BACKEND, "refused the connection", 0),
    )

    assert [
        "its users get new sessions on the other servers; 0 of 1 serve",
        "its sessions are served by their copies; 3 of 4 serve",
        "its users are refused until it is back; 0 of 4 serve",
    ] == [line["consequence"] for line in written]


def test_moved_sessions_are_counted(capsys: Screen) -> None:
    """Once a minute, and in the end, it is said how many have moved since this was said last."""
    report = EVERY_FACT["session_moved"]
    written = lines(capsys, report, report, minute, minute, report, end)

    assert ["2", "1"] == [str(line["count"]) for line in written[:-1]]


def test_a_router_that_nobody_serves_starts_with_an_error(capsys: Screen) -> None:
    """The first line says who it is, and how many servers it found."""
    address = BACKEND.address
    written = lines(
        capsys,
        lambda log: log.router.note_start("router-1", address, 3),
        lambda log: log.router.note_start("router-1", address, 0),
    )

    assert [("info", "3 of 3 serve"), ("error", "0 of 3 serve")] == [
        (line["level"], line["backends"]) for line in written
    ]
    assert [("router-1", str(address))] * 2 == [(line["name"], line["listen"]) for line in written]


class Broken:
    """Standard error whose reader has died."""

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        raise BrokenPipeError("nobody reads this")

    def flush(self) -> None:
        raise BrokenPipeError("nobody reads this")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_that_nobody_reads_ends_nothing(monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """When a log collector dies, or the disk is full, lines are lost; sessions are not."""
    monkeypatch.setattr(sys, "stderr", Broken())
    configure_log(as_json=as_json)
    log = FullLog()
    for name in sorted(EVERY_FACT):
        EVERY_FACT[name](log)
    end(log)


def test_the_last_line_counts(capsys: Screen) -> None:
    """What was answered, refused, closed and moved since the start, as metrics have counted it."""
    counters = Counters()
    for operation, status in ((Operation.GET, 200), (Operation.GET, 404), (Operation.SET, 423)):
        counters.exchange_finished(operation, status, 0.001, 0)
    counters.request_rejected("192.0.2.1", "the target is empty")
    counters.request_rejected("192.0.2.1", "the target is empty")
    counters.exchange_closed("192.0.2.1", Operation.SET, "no backend is up")
    counters.session_moved(BACKEND, "missed")
    counters.session_moved(BACKEND, "drained")
    [last] = lines(capsys, lambda log: log.log.note_end(counters))

    counted = {"answered": 3, "refused": 2, "closed": 1, "moved": 2}
    assert {"event": "stopped", "level": "info"} | counted == without_time(last)


def test_a_standby_starts_without_an_error(capsys: Screen) -> None:
    """No server serves for it, as it should be; one that no server answers is in trouble."""
    standby = "another router is active and used"
    written = lines(
        capsys,
        lambda log: log.router.note_start("farm", BACKEND.address, 3, standby),
        lambda log: log.router.note_start("farm", BACKEND.address, 0, standby),
    )

    assert [("info", "3 of 3 answer"), ("error", "0 of 3 answer")] == [
        (line["level"], line["backends"]) for line in written
    ]
    assert [standby] * 2 == [line["cause"] for line in written]


def test_a_record_that_is_everywhere_is_no_news(capsys: Screen) -> None:
    """It is written with every change. At a start it is written before any server is known to answer."""
    assert [] == lines(capsys, lambda log: log.record_written(3, 3), lambda log: log.record_written(0, 0))
