"""A state server that is restarted with its state file comes back as the one that it was."""

import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import QUICK_PROBES
from tests.end_to_end.processes import StateServerProcess, router, running, state_server
from tests.end_to_end.web_server import WebServer

SESSION = "bpr4mimb2vjnvtn2jc4yp3uo"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@contextmanager
def keeping(file: Path, port: int = 0, *arguments: str) -> Iterator[StateServerProcess]:
    with state_server(port, "--state-file", str(file), *arguments) as server:
        yield server


def left_by_a_server(file: Path) -> int:
    """Have a server leave a file with one session, locked; return the lock's cookie."""
    with keeping(file) as server, WebServer(server.port) as web:
        web.save(SESSION, b"kept")
        cookie = web.ask(Operation.ACQUIRE, SESSION).head.lock_cookie
        assert server.program.stop() == 0
    assert cookie is not None
    return cookie


def test_sessions_and_locks_are_there_again(file: Path) -> None:
    """Who held a lock before the restart holds it after it, and no other page gets it."""
    cookie = left_by_a_server(file)
    with keeping(file) as server, WebServer(server.port) as web:
        assert 423 == web.ask(Operation.ACQUIRE, SESSION).status
        web.save(SESSION, b"saved by its holder", cookie)
        assert b"saved by its holder" == web.read(SESSION)


def test_a_router_sees_the_same_life(tmp_path: Path, file: Path) -> None:
    """The canary comes back with the sessions, so the router knows that nothing is missing."""
    with (
        keeping(file) as server,
        router(tmp_path, [server.port], QUICK_PROBES) as in_front,
        WebServer(in_front.port) as web,
    ):
        web.save(SESSION, b"kept")
        cookie = web.ask(Operation.ACQUIRE, SESSION).head.lock_cookie or 0
        server.program.stop()
        in_front.program.wait_for("backend is down.*refused")
        with keeping(file, server.port):
            in_front.program.wait_for("backend is back.*it still holds what it held")

            assert 423 == web.ask(Operation.ACQUIRE, SESSION).status
            web.save(SESSION, b"saved by its holder", cookie)
            assert b"saved by its holder" == web.read(SESSION)


def test_a_file_is_good_for_one_start(file: Path) -> None:
    """A server that is killed forgets; the file that it had started with is not taken in again."""
    left_by_a_server(file)
    with keeping(file) as server:
        server.program.kill()
    with keeping(file) as server, WebServer(server.port) as web:
        assert web.read(SESSION) is None
    assert file.with_name("sessions.loaded").exists()


def test_a_damaged_file_is_set_aside(file: Path) -> None:
    """It is kept under another name, which is said in one line, and the server starts empty."""
    left_by_a_server(file)
    damaged = bytearray(file.read_bytes())
    damaged[-10] ^= 1
    file.write_bytes(damaged)
    with keeping(file) as server, WebServer(server.port) as web:
        server.program.wait_for("state file set aside.*damaged.*the server starts empty")

        assert web.read(SESSION) is None
        assert damaged == file.with_name("sessions.damaged-1").read_bytes()


def test_an_unwritable_file_is_found_at_the_start(tmp_path: Path) -> None:
    """A directory that does not exist is said at once, in one sentence, before sessions are at stake."""
    file = tmp_path / "nowhere" / "sessions"
    with running("state-server", "--listen", "127.0.0.1:0", "--state-file", str(file)) as program:
        assert 1 == program.process.wait(20)
    assert program.output == f"Error: {file}.lock cannot be written: No such file or directory\n"


def test_sessions_that_cannot_be_kept(tmp_path: Path) -> None:
    """A write that fails at the end is an error in the log and in the exit code."""
    directory = tmp_path / "directory"
    directory.mkdir()
    with keeping(directory / "sessions") as server, WebServer(server.port) as web:
        web.save(SESSION, b"lost")
        shutil.rmtree(directory)
        web.close()

        assert server.program.stop() == 1
    assert "sessions could not be kept" in server.program.output
    assert "sessions_lost=1" in server.program.output


def test_a_second_signal_cuts_short_the_soft_stop_and_not_the_writing(file: Path) -> None:
    """An operator in a hurry still keeps the sessions."""
    with keeping(file) as server, socket.create_connection(("127.0.0.1", server.port)) as busy:
        with WebServer(server.port) as web:
            web.save(SESSION, b"kept")
        busy.sendall(b"GET ")
        server.program.process.send_signal(signal.SIGTERM)
        server.program.wait_for("stopping")
        server.program.process.send_signal(signal.SIGTERM)
        server.program.wait_for("stopping now.*a second signal, SIGTERM")
        server.program.wait_for("stopped")
    with keeping(file) as server, WebServer(server.port) as web:
        assert b"kept" == web.read(SESSION)
