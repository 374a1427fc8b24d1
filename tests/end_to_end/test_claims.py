"""Two real routers in front of the same servers: one is active, the other can take over (design.md 5.3)."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from tests.end_to_end.farm import ONE_COPY, QUICK_PROBES
from tests.end_to_end.processes import RouterProcess, router, state_server
from tests.end_to_end.test_steering import outcome, steer
from tests.end_to_end.web_server import Closed, WebServer, request_bytes

SESSION = "claimed00000000000000000"
PATIENCE = 60.0
"""Seconds for what takes less than ten where the machine is idle."""

A_WHILE = 1.0
LARGE = 200_000  # bytes: a body that a router hands on while it still comes in
SELDOM_PROBES = "health: {interval: 60s}\ncopies: 1\n"

IS_STANDBY = "this router is a standby; ask the active one"


@dataclass
class Pair:
    """An active router and a standby."""

    active: RouterProcess
    standby: RouterProcess


def status_of(in_front: RouterProcess) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{in_front.admin}/api/v1/status", timeout=PATIENCE).json()
    return found


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def has_role(in_front: RouterProcess, role: str) -> Callable[[], bool]:
    return lambda: bool(status_of(in_front)["role"] == role)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Both have the same configuration; the first one to start is the active one."""
    with ExitStack() as stack:
        ports = [stack.enter_context(state_server()).port for _ in range(3)]
        routers = []
        for number in (1, 2):
            directory = tmp_path / str(number)
            directory.mkdir()
            settings = f"{QUICK_PROBES}name: farm\n"
            routers.append(stack.enter_context(router(directory, ports, settings)))
        pair = Pair(*routers)
        pair.active.program.wait_for("this router is the active one")
        yield pair


def test_a_standby_serves_nobody_and_is_ready(pair: Pair) -> None:
    """It says so at its start, closes clients while the other one is used, and takes no orders."""
    with WebServer(pair.active.port) as web, WebServer(pair.standby.port) as stray:
        web.save(SESSION, b"content")
        pair.standby.program.wait_for("This router is a standby: ")
        pair.standby.program.wait_for("router started as a standby.*3 of 3 answer")
        pair.standby.program.wait_for("standby: another router is active")
        for _ in range(3):
            assert web.read(SESSION) == b"content"
            with pytest.raises(Closed):
                stray.read(SESSION)
        readyz = httpx.get(f"{pair.standby.admin}/readyz")
        healthz = httpx.get(f"{pair.standby.admin}/healthz")
        drain = steer("drain", "state-1", admin=pair.standby.admin)
        told = steer("status", admin=pair.standby.admin)

    expected = {"ready": True, "role": "standby", "reasons": [], "warnings": []}
    assert (200, expected) == (readyz.status_code, readyz.json())
    assert (200, "ok\n") == (healthz.status_code, healthz.text)
    assert (1, f"Error: {IS_STANDBY}") == outcome(drain)
    assert "standby for " in told.stdout
    assert "3 of 3 answer" in told.stdout
    assert pair.standby.program.output.count("client connection closed instead of an answer") <= 2


def test_the_verb(pair: Pair) -> None:
    """It makes a standby the active router, says by which term, and how long it took; twice does no harm."""
    claimed = steer("claim", admin=pair.standby.admin)
    again = steer("claim", admin=pair.standby.admin)
    as_json = steer("claim", "--json", admin=pair.standby.admin)

    assert [(0, "")] * 3 == [outcome(each) for each in (claimed, again, as_json)]
    assert claimed.stdout.startswith("this router is the active one, term 2-")
    assert "; the claim took " in claimed.stdout
    assert again.stdout.startswith("this router is the active one already, term 2-")
    assert '"was_active": true' in as_json.stdout


def test_a_superseded_router_goes_on_as_a_standby_and_can_claim_back(pair: Pair) -> None:
    """It closes its clients, says why, and loses nothing of what it knows to be on the servers."""
    with WebServer(pair.active.port) as web, WebServer(pair.standby.port) as other:
        web.save(SESSION, b"old")
        assert 0 == steer("claim", admin=pair.standby.admin).returncode
        pair.active.program.wait_for("superseded: another router is the active one")
        assert web.is_closed_by_peer()
        web.close()
        other.save(SESSION, b"new")
        superseded = status_of(pair.active)
        assert 0 == steer("claim", admin=pair.active.admin).returncode
        wait_until(has_role(pair.standby, "standby"))

        assert ("standby", 1) == (superseded["role"], superseded["superseded"])
        assert b"new" == web.read_within(PATIENCE, SESSION)
        assert "active" == status_of(pair.active)["role"]


def test_a_save_that_was_half_sent_before_a_claim(tmp_path: Path) -> None:
    """State servers of ours do not carry it out, although its router has not noticed the claim."""
    with ExitStack() as stack:
        ports = [stack.enter_context(state_server()).port for _ in range(2)]
        routers = []
        for name, settings in (("former", SELDOM_PROBES), ("later", ONE_COPY)):
            directory = tmp_path / name
            directory.mkdir()
            routers.append(stack.enter_context(router(directory, ports, f"{settings}name: farm\n")))
        former, later = routers
        former.program.wait_for("this router is the active one")
        stack.enter_context(WebServer(former.port)).save(SESSION, b"old")
        client = stack.enter_context(socket.create_connection(("127.0.0.1", former.port), PATIENCE))
        late = request_bytes(Operation.SET, SESSION, b"n" * LARGE, 0)
        client.sendall(late[:-1])
        time.sleep(A_WHILE)  # for the router to hand on what has come
        assert 0 == steer("claim", admin=later.admin).returncode
        web = stack.enter_context(WebServer(later.port))
        web.save(SESSION, b"new")
        client.sendall(late[-1:])
        answer = client.recv(1000)

        assert b"" == answer
        assert b"new" == web.read(SESSION)


def test_after_a_kill_a_claim_is_served_at_once(pair: Pair) -> None:
    """A standby that is told to claim does not wait until the beats have stood still."""
    with WebServer(pair.active.port) as web, WebServer(pair.standby.port) as other:
        web.save(SESSION, b"content")
        pair.standby.program.wait_for("standby: another router is active")
        web.read(SESSION)
        pair.active.program.kill()
        claimed = steer("claim", "--json", admin=pair.standby.admin)
        content = other.read(SESSION)
        pair.standby.program.wait_for(
            "this router is the active one.*an operator or a takeover script said so"
        )

    assert (0, b"content") == (claimed.returncode, content)
    assert '"term": "2-' in claimed.stdout


def test_after_a_kill_a_client_is_served_when_the_beats_have_stood_still(pair: Pair) -> None:
    """No operator has to claim: a client that comes makes the standby the active router."""
    with WebServer(pair.active.port) as web, WebServer(pair.standby.port) as other:
        web.save(SESSION, b"content")
        pair.standby.program.wait_for("standby: another router is active")
        web.read(SESSION)
        pair.active.program.kill()
        content = other.read_within(PATIENCE, SESSION)
        pair.standby.program.wait_for("this router is the active one.*a client has come")

        assert b"content" == content
        assert "active" == status_of(pair.standby)["role"]


def test_a_health_check_makes_nobody_active(pair: Pair) -> None:
    """A HEAD of what is not a session, as HAProxy's `option httpchk` sends it, is closed; a client is
    served."""
    pair.active.program.kill()
    pair.standby.program.wait_for("standby: no router is active", timeout=PATIENCE)
    check = b"HEAD " + encode_target("/health") + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with WebServer(pair.standby.port) as web:
        for _ in range(3):
            with pytest.raises(Closed):
                web.send(check, Operation.RESET_TIMEOUT)
        checked = status_of(pair.standby)["role"]
        web.save(SESSION, b"content")

    assert "standby" == checked
    assert "active" == status_of(pair.standby)["role"]


def test_a_claim_that_no_server_takes_is_exit_1(tmp_path: Path) -> None:
    """With the reason; the router goes on as a standby."""
    with state_server() as one, router(tmp_path, [one.port], f"{QUICK_PROBES}name: farm\n") as in_front:
        in_front.program.wait_for("this router is the active one")
    with router(tmp_path, [one.port], f"{QUICK_PROBES}name: farm\n") as in_front:
        code, complaint = outcome(steer("claim", admin=in_front.admin))
        role = status_of(in_front)["role"]

    expected = "Error: this router could not become the active one: no server took the claim of this router"
    assert (1, expected, "standby") == (code, complaint, role)
