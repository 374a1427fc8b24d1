"""Real programs whose log is not read any more: a hung journald, `docker logs`, Ctrl-S."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.processes import kept_port
from tests.end_to_end.web_server import WebServer
from tests.ops.metrics.pages import MetricsPage

SESSION = "bpr4mimb2vjnvtn2jc4yp3uo"
UNTIL = 60.0  # seconds


@contextmanager
def unread(arguments: list[str], port: int, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, the output of which is not read."""
    command = [sys.executable, "-m", "partitioner", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"XDG_STATE_HOME": str(directory)}
    ) as process:
        try:
            wait_for_listener(port)
            yield process
        finally:
            process.kill()


def wait_for_listener(port: int) -> None:
    deadline = time.monotonic() + UNTIL
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), UNTIL).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def dropped_lines(admin: int) -> float:
    answer = httpx.get(f"http://127.0.0.1:{admin}/metrics", timeout=UNTIL)
    return MetricsPage(answer.text).value("log_lines_dropped_total")


def write_until_lines_are_dropped(process: subprocess.Popen[bytes], admin: int) -> None:
    """Each of these signals is a line of the log; those that come in one moment are one."""
    deadline = time.monotonic() + UNTIL
    while dropped_lines(admin) == 0:
        assert time.monotonic() < deadline
        for _ in range(300):
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT):
                process.send_signal(number)
            time.sleep(0.001)


@pytest.mark.parametrize("verb", ["serve", "state-server"])
def test_a_log_that_is_not_read_stops_no_program(verb: str, tmp_path: Path) -> None:
    """It serves on; lines are dropped and counted; the next reader is told how many."""
    with kept_port() as port, kept_port() as admin:
        own = ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
        with unread([verb, *own], port, tmp_path) as process, WebServer(port) as web:
            write_until_lines_are_dropped(process, admin)
            web.save(SESSION, b"content")
            assert web.read(SESSION) == b"content"
            assert process.stderr is not None
            while b"log lines dropped" not in (line := process.stderr.readline()):
                assert line
