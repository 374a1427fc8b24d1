"""Living in a system: what a service manager is told, and sockets of its own that outlive a process."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.processes import LISTING_HEADERS, Program, listing_token_file, state_server
from tests.end_to_end.service_manager import Ear, ear, listening, service
from tests.end_to_end.web_server import WebServer

ROUTER = ("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
STATE_SERVER = ("state-server", "--listen", "127.0.0.1:0")
STATUS = r"3 of 3 serve, (not redundant|redundant for .*), [0-9.]+ requests/s"


@pytest.fixture(params=["path", "abstract"])
def notified(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    """A notify socket in the file system, and one that is not (its name begins with an @)."""
    name = f"@partitioner-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with ear(name) as made:
        yield made


# --- the notify protocol ---


@contextmanager
def ready_router(directory: Path) -> Iterator[tuple[Path, Ear, Program]]:
    """A router that has said that it is ready: its configuration file, who hears it, and the process."""
    file = directory / "partitioner.yml"
    file.write_text("embedded: 3\n")
    with (
        ear(str(directory / "notify")) as notified,
        service(*ROUTER, "-c", str(file), NOTIFY_SOCKET=notified.name) as program,
    ):
        notified.wait_for_name("READY")
        yield file, notified, program


def test_a_router_tells_how_it_fares(notified: Ear, tmp_path: Path) -> None:
    """READY when clients are served, RELOADING and READY around a reload, STATUS, and STOPPING at the end."""
    file = tmp_path / "partitioner.yml"
    file.write_text("embedded: 3\n")
    with service(*ROUTER, "-c", str(file), NOTIFY_SOCKET=notified.name) as program:
        notified.wait_for_name("READY")
        port = int(program.wait_for(r"tcpip=127\.0\.0\.1:([0-9]+)")[1])
        with WebServer(port) as web:
            web.save("session", b"content")
        status = notified.wait_for_name("STATUS")["STATUS"]
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        program.process.send_signal(signal.SIGHUP)
        reloading = notified.wait_for_name("RELOADING")
        notified.wait_for_name("READY")
        assert 0 == program.stop()
        stopping = notified.wait_for_name("STOPPING")

    assert re.fullmatch(STATUS, status)
    assert {"RELOADING", "MONOTONIC_USEC"} == reloading.keys()
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert "stopping, 0 exchanges under way, at most 30s" == stopping["STATUS"]
    assert 2 == sum("READY" in lines for lines in notified.heard)


def test_a_reload_that_is_asked_for_is_told_too(tmp_path: Path) -> None:
    """However it was ordered, and whatever came of it: `systemctl status` says that it is going on."""
    with ready_router(tmp_path) as (file, notified, program):
        reload = program.wait_for(r"(http://\S+:[0-9]+)/api/v1/status")[1] + "/api/v1/reload"
        for text, status in (("embedded: 3\n", 200), ("embeded: 3\n", 422)):
            file.write_text(text)

            assert status == httpx.post(reload).status_code
            assert {"RELOADING", "MONOTONIC_USEC"} == notified.wait_for_name("RELOADING").keys()
            assert {"READY": "1"} == notified.wait_for_name("READY")


def test_a_failed_reload_is_over_too(tmp_path: Path) -> None:
    """A service manager that waits for READY is not left waiting."""
    with ready_router(tmp_path) as (file, notified, program):
        file.write_text("embeded: 3\n")
        program.process.send_signal(signal.SIGHUP)
        notified.wait_for_name("RELOADING")
        program.wait_for("reload invalid")

        assert {"READY": "1"} == notified.wait_for_name("READY")


def test_a_state_server_tells_how_it_fares(notified: Ear, tmp_path: Path) -> None:
    """The same, without reloads; the writing of its file is part of the end."""
    file = tmp_path / "sessions"
    with service(*STATE_SERVER, "--state-file", str(file), NOTIFY_SOCKET=notified.name) as program:
        notified.wait_for_name("READY")
        port = int(program.wait_for(r"state server on 127\.0\.0\.1:([0-9]+)")[1])
        with WebServer(port) as web:
            web.save("session", b"content")
        status = notified.wait_for(lambda lines: lines.get("STATUS", "").startswith("1 sessions"))
        assert 0 == program.stop()
        stopping = [notified.wait_for_name("STOPPING")["STATUS"] for _ in range(2)]

    assert re.fullmatch(r"1 sessions, [0-9.]+\w+, [0-9.]+ requests/s", status["STATUS"])
    assert ["stopping, 0 exchanges under way, at most 30s", f"writing 1 sessions to {file}"] == stopping


@pytest.mark.parametrize("arguments", [ROUTER, STATE_SERVER], ids=["router", "state server"])
def test_the_watchdog_is_fed(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """For as long as the event loop turns; a process whose loop stands still is missed."""
    with (
        ear(str(tmp_path / "notify")) as notified,
        service(*arguments, NOTIFY_SOCKET=notified.name, WATCHDOG_USEC="200000") as program,
    ):
        for _ in range(4):
            notified.wait_for_name("WATCHDOG")

        assert 0 == program.stop()


def test_a_notify_socket_that_does_not_work_hurts_nobody() -> None:
    """The daemon serves as if it had not been asked."""
    with service(*STATE_SERVER, NOTIFY_SOCKET="/nobody/listens", WATCHDOG_USEC="much") as program:
        port = int(program.wait_for(r"state server on 127\.0\.0\.1:([0-9]+)")[1])
        with WebServer(port) as web:
            web.save("session", b"content")

            assert b"content" == web.read("session")
        assert 0 == program.stop()


# --- sockets that are passed ---


def test_an_upgrade_of_the_router_refuses_no_connection(tmp_path: Path) -> None:
    """Who connects between two routers waits in the backlog, and is answered by the second."""
    with ExitStack() as stack:
        passed = stack.enter_context(listening())
        one, two = stack.enter_context(state_server()), stack.enter_context(state_server())
        file = _file_for(tmp_path, one.port, two.port)
        with service("serve", "-c", file, sockets=[passed], names="state") as old, _web(passed) as web:
            old.wait_for("router started")
            web.save("session", b"content")
            assert 0 == old.stop()
        waiting = [stack.enter_context(_web(passed)) for _ in range(20)]
        with ThreadPoolExecutor(len(waiting)) as pool:
            answers = [pool.submit(web.read, "session") for web in waiting]
            with service("serve", "-c", file, sockets=[passed], names="state") as new:
                found = [answer.result(timeout=60) for answer in answers]
                assert 0 == new.stop()

    assert [b"content"] * len(waiting) == found
    assert "Traceback" not in old.output + new.output


def test_a_restart_under_load_refuses_nobody(tmp_path: Path) -> None:
    """Web servers that connect all the time while the router is stopped and started never hear a refusal."""
    refused: list[str] = []
    with ExitStack() as stack:
        passed = stack.enter_context(listening())
        server = stack.enter_context(state_server())
        file = _file_for(tmp_path, server.port)
        has_ended = False

        def connect_again_and_again() -> int:
            connected = 0
            while not has_ended:
                try:
                    socket.create_connection(passed.getsockname()[:2], timeout=60).close()
                    connected += 1
                except OSError as error:
                    refused.append(str(error))
                time.sleep(0.01)  # all of them have to wait in the backlog
            return connected

        with ThreadPoolExecutor(1) as pool:
            connected = pool.submit(connect_again_and_again)
            try:
                for _ in range(2):
                    with service("serve", "-c", file, sockets=[passed]) as program:
                        program.wait_for("router started")
                        assert 0 == program.stop()
            finally:
                has_ended = True

    assert [] == refused
    assert connected.result() > 10


def test_both_ports_of_a_router_can_be_passed(tmp_path: Path) -> None:
    """By name, in any order; what was configured is not used, and the log says so."""
    with listening() as state, listening() as admin, state_server() as server:
        file = _file_for(tmp_path, server.port, listen="127.0.0.1:1", admin="127.0.0.1:2")
        with service("serve", "-c", file, sockets=[admin, state], names="admin:state") as program:
            program.wait_for("router started")
            url = f"http://127.0.0.1:{admin.getsockname()[1]}"
            with _web(state) as web:
                web.save("session", b"content")

            assert 200 == httpx.get(f"{url}/readyz").status_code
            assert 0 == program.stop()
    for key, configured in (("listen", "127.0.0.1:1"), ("admin", "127.0.0.1:2")):
        assert re.search(rf"listening socket passed.*port={key}.*`{key}` {configured} is not", program.output)


def test_both_ports_of_a_state_server_can_be_passed() -> None:
    """An admin port that was not asked for is taken when it is passed."""
    token = ("--admin-token-file", str(listing_token_file()))
    with (
        listening() as state,
        listening() as admin,
        service(*STATE_SERVER, *token, sockets=[state, admin], names="state:admin") as program,
        _web(state) as web,
    ):
        program.wait_for("state server on")
        web.save("session", b"content")
        url = f"http://127.0.0.1:{admin.getsockname()[1]}/api/v1/keys"
        keys = httpx.get(url, headers=LISTING_HEADERS).json()
        assert 0 == program.stop()

    assert 1 == keys["sessions"]


def test_a_passed_admin_port_is_guarded_by_where_it_is() -> None:
    """The configuration says loopback, and the socket can be reached from everywhere: a token is needed."""
    with (
        listening() as state,
        socket.create_server(("0.0.0.0", 0)) as admin,
        service(*ROUTER, sockets=[state, admin], names="state:admin") as program,
    ):
        code = program.process.wait(60)

    assert 1 == code
    assert "can be reached from other machines, and there is no admin_token" in program.output


def test_sockets_for_another_process_are_left_alone() -> None:
    """LISTEN_PID says for whom they are; variables that were inherited by mistake mean nothing."""
    with service(*STATE_SERVER, names="state", LISTEN_PID=str(os.getpid()), LISTEN_FDS="1") as program:
        program.wait_for("state server on")
        assert 0 == program.stop()

    assert "listening socket passed" not in program.output


def _silent(directory: Path) -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def _datagrams(directory: Path) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


UNFIT: dict[str, tuple[Callable[[Path], socket.socket], tuple[str, ...], str]] = {
    "not listening": (_silent, ROUTER, "it does not listen; expected a listening TCP socket"),
    "datagrams": (_datagrams, STATE_SERVER, "it is a socket of datagrams; expected"),
    "of the machine": (listening, ROUTER, "it is not an Internet socket; expected"),
}


@pytest.mark.parametrize(("make", "daemon", "sentence"), UNFIT.values(), ids=UNFIT)
def test_what_is_no_listening_socket_is_a_sentence(
    tmp_path: Path, make: Callable[[Path], socket.socket], daemon: tuple[str, ...], sentence: str
) -> None:
    """Exit 1, and what was expected."""
    with make(tmp_path) as unfit, service(*daemon, sockets=[unfit]) as program:
        code = program.process.wait(60)

    assert 1 == code
    assert f"descriptor 3 was passed: {sentence}" in program.output
    assert "Traceback" not in program.output


def test_a_descriptor_that_is_not_there_is_a_sentence() -> None:
    """The service manager promises more than it passes."""
    with listening() as one, service(*ROUTER, sockets=[one], LISTEN_FDS="2", names="state:state") as program:
        code = program.process.wait(60)

    assert 1 == code
    assert re.search("descriptor 4 was passed: .*; expected a listening TCP socket", program.output)
    assert "Traceback" not in program.output


def test_a_second_socket_needs_a_name() -> None:
    """Which port it is cannot be guessed."""
    with listening() as one, listening() as two, service(*ROUTER, sockets=[one, two]) as program:
        code = program.process.wait(60)

    assert 1 == code
    assert "descriptor 4 was passed under the name 'unknown'; expected `state` or `admin`" in program.output


# --- helpers ---


def _file_for(directory: Path, *ports: int, listen: str = "127.0.0.1:0", admin: str = "127.0.0.1:0") -> str:
    backends = "".join(
        f"  - {{name: state-{number}, address: '127.0.0.1:{port}'}}\n" for number, port in enumerate(ports, 1)
    )
    file = directory / "partitioner.yml"
    file.write_text(f"listen: {listen}\nadmin: {admin}\nbackends:\n{backends}")
    return str(file)


def _web(passed: socket.socket) -> WebServer:
    return WebServer(passed.getsockname()[1])
