"""Programs that are forked from a warm process are like any others; some are started anew all the same."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.end_to_end.forked import Warm
from tests.end_to_end.processes import kept_port, run_to_end, running, started, state_server
from tests.end_to_end.web_server import WebServer

PATIENCE = 60.0
STATE_SERVER = ("state-server", "--listen", "127.0.0.1:0")
ROUTER = ("serve", "--listen", "127.0.0.1:0")
COMMANDS = {
    "console script": [str(Path(sys.executable).with_name("partitioner"))],
    "module": [sys.executable, "-m", "partitioner"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("arguments", [ROUTER, STATE_SERVER], ids=lambda arguments: arguments[0])
def test_what_is_installed_is_started(command: list[str], arguments: Sequence[str]) -> None:
    """One of each daemon as its users start it: it serves a session, and ends in order."""
    admin = ("--admin", "127.0.0.1:0")
    with started([*command, *arguments, *admin]) as program:
        port = int(program.wait_for(r"(?:tcpip=|state server on )127\.0\.0\.1:([0-9]+)")[1])
        with WebServer(port) as web:
            web.save("session", b"content")

            assert web.read("session") == b"content"
        assert program.stop() == 0


def test_a_forked_process_is_one_of_its_own() -> None:
    """Its number, arguments, environment and directory are its own, and it has no descriptor of another."""
    with state_server() as one, state_server() as two:
        numbers = {one.program.process.pid, two.program.process.pid, os.getpid()}
        open_files = [
            {os.readlink(each) for each in Path(f"/proc/{server.program.process.pid}/fd").iterdir()}
            for server in (one, two)
        ]

    assert len(numbers) == 3
    assert {each for each in open_files[0] & open_files[1] if "anon_inode" not in each} == {"/dev/null"}


def test_exit_codes_and_both_outputs() -> None:
    """As a shell sees them."""
    good, bad = run_to_end("--version"), run_to_end("locate", "--nonsense")

    assert (0, "partitioner, version") == (good.returncode, good.stdout[:20])
    assert (2, "") == (bad.returncode, bad.stdout)
    assert "No such option" in bad.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_a_signal_ends(number: signal.Signals) -> None:
    """Its end is reported at once, with the signal's number, even if it was frozen."""
    with running(*STATE_SERVER) as program:
        program.wait_for("state server on")
        program.freeze()
        program.process.send_signal(number)
        program.thaw()

        assert -number == program.process.wait(PATIENCE)


def test_two_processes_draw_different_numbers() -> None:
    """What is random is not the same in all that is forked from one process."""
    drawn: set[str] = set()
    for _ in range(2):
        with running(module="tests.end_to_end.drawing") as program:
            drawn.update(program.wait_for(r"(\S+) (\S+)\n").groups())

    assert len(drawn) == 4


def test_whatever_happens_to_the_tests_nothing_is_left(tmp_path: Path) -> None:
    """When the tests are killed, the warm process ends and what it has forked is killed."""
    program = (
        "import signal, sys\n"
        "from tests.end_to_end.processes import forked_from_warm_processes, state_server\n"
        "with forked_from_warm_processes(), state_server() as server:\n"
        "    print(server.port, flush=True)\n"
        "    signal.pause()\n"
    )
    command = [sys.executable, "-c", program]
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # they do not tidy up
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as tests:
        assert tests.stdout is not None
        port = int(tests.stdout.readline())
        socket.create_connection(("127.0.0.1", port)).close()
        tests.kill()
    deadline = time.monotonic() + PATIENCE
    while is_open(port):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_is_kept_for_one() -> None:
    """No other socket is given a port while it is kept."""
    with kept_port() as one, kept_port() as two, socket.socket(socket.AF_UNIX) as reservation:
        assert one != two
        with pytest.raises(OSError, match="in use"):
            reservation.bind(f"\0partitioner-test-port-{one}")


def test_a_module_that_cannot_be_imported_is_noticed() -> None:
    """Nothing waits for a process that can never be forked."""
    warm = Warm("tests.end_to_end.nothing")
    with pytest.raises((AssertionError, OSError)), open(os.devnull, "w") as nowhere:
        warm.fork((), os.environ, nowhere.fileno(), nowhere.fileno()).wait(PATIENCE)
    warm.close()
