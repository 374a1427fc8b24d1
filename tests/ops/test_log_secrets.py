"""What must never stand in the log: a session ID, and what a stranger would have it say."""

import inspect
import json

import pytest

from partitioner.errors import MalformedRequest
from partitioner.ops.log import Log
from partitioner.ops.log_output import configure_log
from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.transport.observer import Observer
from tests.doubles.observers import FACT_NAMES
from tests.doubles.sessions import APPLICATION
from tests.ops.logged import FullLog, Screen, lines
from tests.tables import each_case

pytestmark = pytest.mark.usefixtures("structlog_as_before")

SESSION_ID = b"bpr4mimb2vjnvtn2jc4yp3uo"
TELLTALE = 9
"""So many characters of a session ID in a row are too many; clipped to eight, 80 bits of it are secret."""


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


@each_case("hostile", HOSTILE.values(), ids=HOSTILE)
@each_case("as_json", [False, True])
def test_hostile_strings_forge_nothing(capsys: Screen, hostile: str, as_json: bool) -> None:
    """What others have sent is one line, and does nothing to the terminal that shows it."""
    configure_log(as_json=as_json)
    log = FullLog()
    log.request_rejected("192.0.2.1", hostile)
    log.log.note(hostile, subject=hostile)
    log.conversation_crashed("192.0.2.1", ValueError(hostile))

    written = capsys.readouterr().err
    entries = [line for line in written.split("\n") if line and not line.startswith("  ")]
    assert 3 == len(entries)
    assert [] == [line for line in written.split("\n") if not line.isprintable()]


def test_what_is_harmless_stays_as_it_is(capsys: Screen) -> None:
    """Text in any language, paths and quotes are read as they were written."""
    configure_log(as_json=False)
    Log().note("reload", subject="Größe", path="C:\\new\\file")

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


@each_case("raw", LEAKY.values(), ids=LEAKY)
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
