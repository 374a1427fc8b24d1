"""State servers that die, freeze, hang up and come back, as a web farm sees it."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import FAST_PATH, NAMES, ONE_COPY, QUICK_PROBES, Farm, farm_in, session_on
from tests.end_to_end.processes import router, running, state_server
from tests.end_to_end.web_server import Closed, request_bytes


@pytest.fixture(params=FAST_PATH)
def farm(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Farm]:
    """Three servers, and two copies of every session: the default. By each path."""
    with farm_in(tmp_path, QUICK_PROBES + request.param) as running_farm:
        yield running_farm


@pytest.fixture(params=FAST_PATH)
def plain_farm(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Farm]:
    """Three servers, and one copy of every session. By each path."""
    with farm_in(tmp_path, ONE_COPY + request.param) as running_farm:
        yield running_farm


# --- two copies ---


def test_a_killed_server_costs_no_sessions(farm: Farm) -> None:
    """With two copies the sessions of a dead server are served by their copies (P3)."""
    for name in NAMES:
        farm.web.save(session_on(name), name.encode())
    farm.servers["state-2"].program.kill()

    assert [name.encode() for name in NAMES] == [farm.web.read(session_on(name)) for name in NAMES]


def test_a_session_can_be_saved_while_its_server_is_out(farm: Farm) -> None:
    """What is saved meanwhile is what is read, before and after its server is back, empty (P4)."""
    session = session_on("state-2")
    farm.web.save(session, b"before")
    port = farm.servers["state-2"].port
    farm.servers["state-2"].program.kill()
    farm.web.save(session, b"meanwhile")
    during = farm.web.read(session)
    with state_server(port):
        farm.wait_until(r"backend is back.*backend=state-2.*starts empty")

        assert [b"meanwhile", b"meanwhile"] == [during, farm.web.read(session)]


def test_a_frozen_server_does_not_come_back_with_old_content(farm: Farm) -> None:
    """A server that missed a save while it was frozen is not read before it has been put right (P4)."""
    session = session_on("state-1")
    farm.web.save(session, b"old")
    farm.servers["state-1"].program.freeze()
    farm.wait_until(r"backend is down.*backend=state-1")
    farm.web.save(session, b"new")
    farm.servers["state-1"].program.thaw()
    farm.wait_until(r"backend is back.*backend=state-1")

    assert [b"new"] * 20 == [farm.web.read(session) for _ in range(20)]


def test_an_abandoned_session_does_not_come_back(farm: Farm) -> None:
    """A server that missed a remove while it was frozen does not bring the session back (P4)."""
    session = session_on("state-1")
    farm.web.save(session, b"to be abandoned")
    farm.servers["state-1"].program.freeze()
    farm.wait_until(r"backend is down.*backend=state-1")
    farm.web.ask(Operation.REMOVE, session)
    farm.servers["state-1"].program.thaw()
    farm.wait_until(r"backend is back.*backend=state-1")

    assert [None] * 20 == [farm.web.read(session) for _ in range(20)]


def test_a_restarted_server_costs_no_sessions(farm: Farm) -> None:
    """A server that starts empty is filled from the copies as its sessions are touched (P3)."""
    session = session_on("state-3")
    farm.web.save(session, b"kept by its copy")
    port = farm.servers["state-3"].port
    farm.servers["state-3"].program.kill()
    with state_server(port):
        farm.wait_until(r"backend is back.*backend=state-3.*starts empty")

        assert farm.web.read(session) == b"kept by its copy"


def test_a_lock_outlives_its_server(farm: Farm) -> None:
    """While a page holds a session whose server has died no other one gets it, and the page's save counts."""
    session = session_on("state-1")
    farm.web.save(session, b"before")
    cookie = farm.web.ask(Operation.ACQUIRE, session).head.lock_cookie
    farm.servers["state-1"].program.kill()
    farm.wait_until(r"backend is down.*backend=state-1")
    refused = farm.web.ask(Operation.ACQUIRE, session)
    saved = farm.web.ask(Operation.SET, session, body=b"after", cookie=cookie)

    assert (423, cookie, 200) == (refused.status, refused.head.lock_cookie, saved.status)
    assert farm.web.read(session) == b"after"


def test_an_acquire_that_froze_with_its_server_leaves_no_lock(farm: Farm) -> None:
    """The lock that a thawed server grants to a client that has gone does not stay (P5)."""
    session = session_on("state-1")
    farm.web.save(session, b"free again")
    farm.servers["state-1"].program.freeze()
    with pytest.raises(Closed):
        farm.web.ask(Operation.ACQUIRE, session)
    farm.servers["state-1"].program.thaw()
    farm.wait_until(r"backend is back.*backend=state-1")

    assert farm.web.ask(Operation.ACQUIRE, session).status == 200


# --- one copy ---


def test_a_killed_server_costs_its_own_sessions_only(plain_farm: Farm) -> None:
    """With one copy the sessions of a dead server are gone; all others go on, and new ones find a place."""
    for name in NAMES:
        plain_farm.web.save(session_on(name), name.encode())
    plain_farm.servers["state-2"].program.kill()
    plain_farm.wait_until(r"backend is down.*backend=state-2")

    assert [b"state-1", None, b"state-3"] == [plain_farm.web.read(session_on(name)) for name in NAMES]
    plain_farm.web.save(session_on("state-2"), b"a new one")
    assert plain_farm.web.read(session_on("state-2")) == b"a new one"


def test_a_refused_connection_is_retried_until_the_server_is_ejected(plain_farm: Farm) -> None:
    """Where nothing was written a client need not notice: it is answered by the next of the list."""
    plain_farm.servers["state-2"].program.kill()

    assert plain_farm.web.ask(Operation.ACQUIRE, session_on("state-2")).status == 404


def test_a_frozen_server_keeps_its_sessions(plain_farm: Farm) -> None:
    """A server that froze and thawed is the same incarnation: its sessions come home with it."""
    plain_farm.web.save(session_on("state-1"), b"kept")
    plain_farm.servers["state-1"].program.freeze()
    plain_farm.wait_until(r"backend is down.*backend=state-1.*within 1s")
    plain_farm.servers["state-1"].program.thaw()
    plain_farm.wait_until(r"backend is back.*backend=state-1.*it still holds what it held")

    assert plain_farm.web.read(session_on("state-1")) == b"kept"


def test_a_restarted_server_is_noticed_before_it_is_asked(plain_farm: Farm) -> None:
    """A restart between two probes shows in the canary: the server is taken in again as an empty one."""
    plain_farm.web.save(session_on("state-3"), b"gone with the process")
    port = plain_farm.servers["state-3"].port
    plain_farm.servers["state-3"].program.kill()
    with state_server(port):
        plain_farm.wait_until(r"backend is back.*backend=state-3.*starts empty")

        assert plain_farm.web.read(session_on("state-3")) is None


def test_lost_sessions_close_refuses_instead_of_saying_not_found(tmp_path: Path) -> None:
    """With `lost_sessions: close` no client is told that a session on a dead server does not exist."""
    with farm_in(tmp_path, ONE_COPY + "lost_sessions: close\n") as farm:
        session = session_on("state-2")
        farm.web.save(session, b"of another server")
        farm.servers["state-1"].program.kill()
        farm.wait_until(r"backend is down.*backend=state-1")

        with pytest.raises(Closed):
            farm.web.ask(Operation.ACQUIRE, session_on("state-1"))
        assert farm.web.read(session) == b"of another server"


def test_an_acquire_that_froze_with_the_only_copy_leaves_no_lock(plain_farm: Farm) -> None:
    """The server takes the lock when it thaws; a plain get shows the router the cookie to release."""
    session = session_on("state-1")
    plain_farm.web.save(session, b"free again")
    plain_farm.servers["state-1"].program.freeze()
    with pytest.raises(Closed):
        plain_farm.web.ask(Operation.ACQUIRE, session)
    plain_farm.servers["state-1"].program.thaw()
    plain_farm.wait_until("ghost lock released.*state-1")
    plain_farm.wait_until(r"backend is back.*backend=state-1")

    assert plain_farm.web.ask(Operation.ACQUIRE, session).status == 200


def test_a_web_server_that_dies_while_it_waits_leaves_no_lock(farm: Farm) -> None:
    """An acquire's 200 that finds its client gone is taken back."""
    session = session_on("state-2")
    farm.web.save(session, b"free again")
    farm.servers["state-2"].program.freeze()
    impatient = socket.create_connection(("127.0.0.1", farm.in_front.port))
    request = request_bytes(Operation.ACQUIRE, session)
    impatient.sendall(request)
    time.sleep(0.05)  # let the request be relayed, within the time of one probe
    impatient.close()
    farm.servers["state-2"].program.thaw()
    farm.wait_until("ghost lock released.*state-2")

    assert farm.web.ask(Operation.ACQUIRE, session).status == 200


# --- at the start, at the end, and odd servers ---


def test_a_server_that_is_down_at_the_start_is_taken_in_later(tmp_path: Path) -> None:
    """The router starts without it, says so once, and takes it in when it answers."""
    with state_server() as one, state_server() as placeholder:
        placeholder.program.kill()
        with router(tmp_path, [one.port, placeholder.port], QUICK_PROBES) as in_front:
            in_front.program.wait_for(r"backend is not there yet.*backend=state-2.*refused")
            with state_server(placeholder.port):
                in_front.program.wait_for(r"backend is (back|up).*backend=state-2")

    assert in_front.program.output.count("backend is not there yet") == 1


def test_a_server_that_hangs_up_at_once_is_explained(tmp_path: Path) -> None:
    """A stock server that takes no remote clients connects and closes; the log says what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as listener, state_server() as one:

        def hang_up_forever() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up_forever, daemon=True).start()
        with router(tmp_path, [one.port, listener.getsockname()[1]], QUICK_PROBES) as in_front:
            in_front.program.wait_for(
                r"backend=state-2.*connected and closed at once, is AllowRemoteConnection 0 there\?"
            )
        listener.shutdown(socket.SHUT_RDWR)


def test_a_term_signal_finishes_what_is_under_way(farm: Farm) -> None:
    """SIGTERM: no client is accepted, idle connections are closed, an exchange in progress is answered."""
    idle = farm.web
    session = session_on("state-1")
    idle.save(session, b"saved")
    with socket.create_connection(("127.0.0.1", farm.in_front.port)) as busy:
        request = request_bytes(Operation.GET, session)
        busy.sendall(request[:20])
        farm.wait_until("backend is up")
        time.sleep(0.2)  # the first bytes must have been read, or the connection counts as idle
        farm.in_front.program.process.send_signal(signal.SIGTERM)
        farm.wait_until("stopping")

        assert idle.is_closed_by_peer()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", farm.in_front.port))
        busy.sendall(request[20:])
        assert b"saved" in busy.recv(65536)
        assert busy.recv(1) == b""
    assert farm.in_front.program.process.wait(20) == 0


def test_a_second_term_signal_stops_now(farm: Farm) -> None:
    """An exchange that does not end need not be waited for."""
    with socket.create_connection(("127.0.0.1", farm.in_front.port)) as busy:
        busy.sendall(b"GET half-a-head")
        time.sleep(0.2)
        farm.in_front.program.process.send_signal(signal.SIGTERM)
        farm.wait_until("stopping")
        farm.in_front.program.process.send_signal(signal.SIGTERM)
        farm.wait_until("stopping now.*a second signal, SIGTERM")

        assert farm.in_front.program.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """The router takes signals before it listens: it ends well, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the first look at it takes its whole time-out
        file = tmp_path / "partitioner.yml"
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        listen = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
        file.write_text(f"{listen}backends: [{{name: a, address: '{address}'}}]\n")
        with running("serve", "-c", str(file)) as program, silent.accept()[0]:
            # Its first probe has come: by now it listens.
            program.process.send_signal(number)
            exit_code = program.process.wait(20)

    assert exit_code == 0
    assert "Traceback" not in program.output
