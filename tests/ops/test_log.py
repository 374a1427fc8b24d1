"""What the log says: one line for a change, with its cause and its consequence, and never a session ID."""

import inspect
import json
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from partitioner.errors import BackendEjected, BackendMalformed, BackendTooSlow, MalformedRequest, Phase
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.health import HealthPolicy, HealthRecord, Symptom
from partitioner.membership.losses import LostSessions
from partitioner.membership.pool import first_pool
from partitioner.net.observer import Observer
from partitioner.ops.log import LogObserver, configure_log
from partitioner.ops.metrics.tally import Tally
from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.protocol.messages import Operation
from tests.doubles.observers import FACT_NAMES
from tests.doubles.routers import backend
from tests.doubles.sessions import APPLICATION

SESSION_ID = b"bpr4mimb2vjnvtn2jc4yp3uo"
BACKEND = backend(1)
TELLTALE = 9
"""So many characters of a session ID in a row are too many; clipped to eight, 80 bits of it are secret."""

Line = dict[str, str]
Report = Callable[[LogObserver], None]
Screen = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def structlog_as_before() -> Iterator[None]:
    """The log is configured for the whole process; other tests shall not notice."""
    yield
    structlog.reset_defaults()


def lines(capsys: Screen, *reports: Report) -> list[Line]:
    """What one observer writes when it hears these reports."""
    configure_log(as_json=True)
    log = LogObserver(pool_size=3)
    for report in reports:
        report(log)
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def end(log: LogObserver) -> None:
    """The last line of a program that has done nothing."""
    log.note_end(Tally())


def without_time(line: Line) -> Line:
    return {name: value for name, value in line.items() if name != "timestamp"}


EJECTED = HealthRecord(symptom=Symptom.TIMED_OUT, since=100.0, held_until=100.0)
HELD = HealthRecord(symptom=Symptom.REFUSED, since=100.0, held_until=120.0)
RESTARTED = HealthRecord(symptom=Symptom.RESTARTED, since=100.0, held_until=100.0)

LINES: dict[str, tuple[Report, Line]] = {
    "turned away": (
        lambda log: log.client_turned_away("192.0.2.1"),
        {
            "level": "warning",
            "event": "client turned away",
            "client": "192.0.2.1",
            "cause": "its address is not in allow_clients",
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
            "consequence": "it is written to, and not read for 1h, unless `partitioner ready state-1` "
            "vouches for it; 2 of 3 serve",
        },
    ),
    "recovered": (
        lambda log: log.backend_trusted(BACKEND, 3),
        {
            "level": "warning",
            "event": "backend has recovered",
            "backend": "state-1",
            "cause": "whatever it missed has expired since, or an operator vouched for it",
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
            "consequence": "its users get new sessions on the other servers; 2 of 3 serve",
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


@pytest.mark.parametrize(("report", "line"), LINES.values(), ids=LINES)
def test_line(capsys: Screen, report: Report, line: Line) -> None:
    """A change is one line that says what, of whom, why, and what follows."""
    assert [line] == [without_time(each) for each in lines(capsys, report)]


EVERY_FACT: dict[str, Report] = {
    "client_turned_away": lambda log: log.client_turned_away("192.0.2.1"),
    "clients_filled_up": lambda log: log.clients_filled_up(10),
    "accepting_failed": lambda log: log.accepting_failed("Too many open files"),
    "request_rejected": lambda log: log.request_rejected("192.0.2.1", "the target is empty"),
    "exchange_finished": lambda log: log.exchange_finished(Operation.GET, 200, 0.001, 0),
    "exchange_was_slow": lambda log: log.exchange_was_slow("192.0.2.1", Operation.SET, 1.23456, "state-1"),
    "exchange_closed": lambda log: log.exchange_closed("192.0.2.1", None, "no backend is up"),
    "applications_mixed": lambda log: log.applications_mixed(
        "/LM/W3SVC/2/ROOT(oXvpnxcu...)", "/LM/W3SVC/3/ROOT(Q382tQy2...)"
    ),
    "conversation_crashed": lambda log: log.conversation_crashed("192.0.2.1", ZeroDivisionError("ours")),
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
    "write_degraded": lambda log: log.write_degraded((BACKEND,), Operation.SET),
    "session_moved": lambda log: log.session_moved(BACKEND, "missed"),
    "session_repaired": lambda log: log.session_repaired(BACKEND),
    "loss_declared": lambda log: log.loss_declared(Operation.GET, ("state-1",)),
    "lock_taken_over": lambda log: log.lock_taken_over(BACKEND),
    "failed_over": lambda log: log.failed_over(BACKEND),
    "copy_written": lambda log: log.copy_written(BACKEND, True),
    "reloaded": lambda log: log.reloaded("applied"),
}

SILENT = {
    *("exchange_finished", "session_moved", "session_repaired", "failed_over", "copy_written"),
    *("reloaded", "backend_put_aside"),  # these have lines of their own
}
"""What a counter counts, and the log does not say."""


def test_every_fact_is_tried() -> None:
    """The cases here are all that an observer can hear."""
    assert set(EVERY_FACT) == set(FACT_NAMES)


@pytest.mark.parametrize("name", sorted(set(EVERY_FACT) - SILENT))
def test_one_line_with_a_cause(capsys: Screen, name: str) -> None:
    """Each report is one line, and says why or how much, or what follows from it."""
    [line] = lines(capsys, EVERY_FACT[name])

    assert line.keys() & {"cause", "consequence", "exception"}


@pytest.mark.parametrize("name", sorted(SILENT))
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


@pytest.mark.parametrize("name", AT_TIMES)
def test_once_a_minute(capsys: Screen, name: str) -> None:
    """What may happen thousands of times a second is said once, and then not for a while."""
    assert len(lines(capsys, *[EVERY_FACT[name]] * 1000)) == 1


@pytest.mark.parametrize(
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
        lambda log: log.client_turned_away("192.0.2.1"),
        lambda log: log.client_turned_away("192.0.2.2"),
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
    written = lines(capsys, *[report] * 5, LogObserver.repeat_held_back, *[report] * 3, end)

    assert ["-", "4", "3", "-"] == [str(line.get("times_more", "-")) for line in written]
    assert [written[0]["event"]] * 3 == [line["event"] for line in written[:3]]


def test_refused_users_are_not_said_to_get_new_sessions(capsys: Screen) -> None:
    """With `lost_sessions: close` the log says so."""
    configure_log(as_json=True)
    log = LogObserver(3, LostSessions.CLOSE)
    log.backend_ejected(BACKEND, EJECTED, "did not connect within 1s", 2)

    [line] = [json.loads(each) for each in capsys.readouterr().err.splitlines()]
    assert line["consequence"] == "its users are refused until it is back; 2 of 3 serve"


def test_the_pool_is_followed(capsys: Screen) -> None:
    """How many there are, and what becomes of sessions, is said of the pool as it is, not as it was."""
    backends = [backend(number) for number in (1, 2, 3, 4)]
    pools = [first_pool(backends[:1], HealthPolicy(), 1), first_pool(backends, HealthPolicy(), 2)]

    written = lines(
        capsys,
        lambda log: log.follow(lambda: pools[0]),
        lambda log: log.backend_ejected(BACKEND, EJECTED, "did not connect within 1s", 0),
        lambda log: pools.reverse(),
        lambda log: log.backend_ejected(BACKEND, EJECTED, "did not connect within 1s", 3),
        lambda log: log.backend_ejected(BACKEND, EJECTED, "did not connect within 1s", 0),
    )

    assert [
        "its users get new sessions on the other servers; 0 of 1 serve",
        "its sessions are served by their copies; 3 of 4 serve",
        "its users get new sessions on the other servers; 0 of 4 serve",
    ] == [line["consequence"] for line in written]


def test_moved_sessions_are_counted(capsys: Screen) -> None:
    """Once a minute, and in the end, it is said how many have moved since this was said last."""
    report = EVERY_FACT["session_moved"]
    minute = LogObserver.repeat_held_back
    written = lines(capsys, report, report, minute, minute, report, end)

    assert ["2", "1"] == [str(line["count"]) for line in written[:-1]]


def test_a_router_that_nobody_serves_starts_with_an_error(capsys: Screen) -> None:
    """The first line says who it is, and how many servers it found."""
    address = BACKEND.address
    written = lines(
        capsys,
        lambda log: log.note_start("router-1", address, 3),
        lambda log: log.note_start("router-1", address, 0),
    )

    assert [("info", "3 of 3 serve"), ("error", "0 of 3 serve")] == [
        (line["level"], line["backends"]) for line in written
    ]
    assert [("router-1", str(address))] * 2 == [(line["name"], line["listen"]) for line in written]


# --- hostile strings ---

HOSTILE = {
    "a line": "x\n2026-01-01 00:00:00 [info     ] backend is up",
    "a carriage return": "x\r2026-01-01 00:00:00 [info     ] backend is up",
    "a colour": "\x1b[31mred",
    "a title": "\x1b]0;owned\x07",
    "an eight-bit escape": "\x9b31m",
    "right to left": "\u202eevil",
    "another separator of lines": "x\u2028[info     ]",
    "half a character": "\udc80",
    "nothing": "\x00",
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("as_json", [False, True])
def test_hostile_strings_forge_nothing(capsys: Screen, hostile: str, as_json: bool) -> None:
    """What others have sent is one line, and does nothing to the terminal that shows it."""
    configure_log(as_json=as_json)
    log = LogObserver()
    log.request_rejected("192.0.2.1", hostile)
    log.note(hostile, subject=hostile)
    log.conversation_crashed("192.0.2.1", ValueError(hostile))

    written = capsys.readouterr().err
    entries = [line for line in written.split("\n") if line and not line.startswith("  ")]
    assert 3 == len(entries)
    assert [] == [line for line in written.split("\n") if not line.isprintable()]


def test_what_is_harmless_stays_as_it_is(capsys: Screen) -> None:
    """Text in any language, paths and quotes are read as they were written."""
    configure_log(as_json=False)
    LogObserver().note("reload", subject="Größe", path="C:\\new\\file")

    assert "subject=Größe path=C:\\new\\file" in capsys.readouterr().err


# --- no session ID ---

TARGET = APPLICATION + SESSION_ID

LEAKY = {
    "blank before the ID": b"GET " + APPLICATION + b" " + SESSION_ID + b" HTTP/1.1\r\n\r\n",
    "blank in the ID": b"GET " + APPLICATION + b"x " + SESSION_ID + b" HTTP/1.1\r\n\r\n",
    "no version": b"GET x " + SESSION_ID + b"\r\n\r\n",
    "ID for a verb": SESSION_ID + b" HTTP/1.1\r\n\r\n",
    "target for a verb": b"/" + SESSION_ID + b" HTTP/1.1\r\n\r\n",
    "verb runs on": b"GET" + SESSION_ID + b" HTTP/1.1\r\n\r\n",
    "HTTP/1.0": b"GET " + TARGET + b" HTTP/1.0\r\n\r\n",
    "control character": b"GET " + TARGET + b"\x01 HTTP/1.1\r\n\r\n",
    "ID for a number": b"GET " + TARGET + b" HTTP/1.1\r\nLockCookie:" + SESSION_ID + b"\r\n\r\n",
    "ID for an order": b"GET " + TARGET + b" HTTP/1.1\r\nExclusive: " + SESSION_ID + b"\r\n\r\n",
    "line break in the ID": b"GET " + TARGET + b" HTTP/1.1\r\n" + SESSION_ID + b"\n: x\r\n\r\n",
    "odd field": b"GET " + TARGET + b" HTTP/1.1\r\ntimeout:1\r\n\r\n",
    "content of a get": b"GET " + TARGET + b" HTTP/1.1\r\nContent-Length:1\r\n\r\n",
}


def pieces_of_the_id() -> list[str]:
    text = SESSION_ID.decode()
    return [text[start : start + TELLTALE] for start in range(len(text) - TELLTALE + 1)]


@pytest.mark.parametrize("raw", LEAKY.values(), ids=LEAKY)
def test_no_session_id_of_a_malformed_request(capsys: Screen, raw: bytes) -> None:
    """However a request is malformed, the log does not show its session ID (protocol.md 10.1.13)."""
    with pytest.raises(MalformedRequest) as refusal:
        parse_request_head(raw, Dialect.GUARDED)
    reason = str(refusal.value)
    text = json.dumps(lines(capsys, lambda log: log.request_rejected("192.0.2.1", reason)))

    assert [piece for piece in pieces_of_the_id() if piece in text] == []


def test_no_report_takes_a_session() -> None:
    """No fact has a request, a target or a key to tell of: what is not told cannot be written."""
    told = {
        parameter
        for name in FACT_NAMES
        for parameter in inspect.signature(getattr(Observer, name)).parameters
        if parameter != "self"
    }

    assert told.isdisjoint({"request", "head", "target", "key", "session", "session_id", "body"})


def test_no_session_id_of_a_crash(capsys: Screen) -> None:
    """The traceback of a fault of ours shows code, and not what was in the variables."""

    def divide(target: bytes) -> float:
        return len(target) / 0

    with pytest.raises(ZeroDivisionError) as crash:
        divide(TARGET)
    error = crash.value
    [line] = lines(capsys, lambda log: log.conversation_crashed("192.0.2.1", error))

    assert "ZeroDivisionError" in line["exception"]
    assert [piece for piece in pieces_of_the_id() if piece in json.dumps(line)] == []


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
    log = LogObserver(pool_size=3)
    for name in sorted(EVERY_FACT):
        EVERY_FACT[name](log)
    end(log)


def test_the_last_line_counts(capsys: Screen) -> None:
    """What was answered, refused, closed and moved since the start, as metrics have counted it."""
    tally = Tally()
    for operation, status in ((Operation.GET, 200), (Operation.GET, 404), (Operation.SET, 423)):
        tally.exchange_finished(operation, status, 0.001, 0)
    tally.request_rejected("192.0.2.1", "the target is empty")
    tally.request_rejected("192.0.2.1", "the target is empty")
    tally.exchange_closed("192.0.2.1", Operation.SET, "no backend is up")
    tally.session_moved(BACKEND, "missed")
    tally.session_moved(BACKEND, "drained")
    [last] = lines(capsys, lambda log: log.note_end(tally))

    counted = {"answered": 3, "refused": 2, "closed": 1, "moved": 2}
    assert {"event": "stopped", "level": "info"} | counted == without_time(last)
