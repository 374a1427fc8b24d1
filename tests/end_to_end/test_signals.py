"""Signals at every moment of a program's life: while it starts, while it works, and while it serves."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.processes import Program, router, started, state_server
from tests.end_to_end.web_server import WebServer

INTERRUPTED = 130
PATIENCE = 60.0
SIGNALLED = (sys.executable, "-m", "tests.end_to_end.signalled")
NOWHERE = "127.0.0.1:1"  # a port that nothing listens on
ENDING = [
    ["--help"],
    ["check"],
    ["locate", "key"],
    ["plan", "--add", "state-4"],
    ["bench", NOWHERE],
    ["status", "--admin", NOWHERE],
    ["backends", "--admin", NOWHERE],
    ["backends", "--watch", "--admin", NOWHERE],
    ["locks", "--admin", NOWHERE],
    ["drain", "state-1", "--wait", "--admin", NOWHERE],
    ["ready", "state-1", "--admin", NOWHERE],
    ["maint", "state-1", "--admin", NOWHERE],
]
"""The verbs that end by themselves."""

DAEMONS = [["serve", "-c", "/no/file.yml"], ["state-server", "--state-file", "/no/directory/file"]]
"""The others, which cannot serve so, and end when everything has been imported."""

HARMLESS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT")


def end_at_imports(number: signal.Signals, arguments: Sequence[str], directory: Path) -> tuple[set[int], str]:
    """Send a signal at the imports of a start; return the exit codes, and what was complained of."""
    command = [*SIGNALLED, "children", number.name, str(directory), *arguments]
    subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    codes = [int(line) for line in (directory / "codes").read_text().splitlines()]
    assert len(codes) > 2, "hardly an import was hit"
    return set(codes), (directory / "complaints").read_text()


@pytest.mark.parametrize("arguments", ENDING + DAEMONS, ids=" ".join)
def test_ctrl_c_while_it_starts_is_quiet(arguments: list[str], tmp_path: Path) -> None:
    """Wherever in its imports a verb is."""
    assert ({INTERRUPTED}, "") == end_at_imports(signal.SIGINT, arguments, tmp_path)


@pytest.mark.parametrize("arguments", DAEMONS, ids=" ".join)
def test_a_daemon_that_starts_is_ended_by_sigterm(arguments: list[str], tmp_path: Path) -> None:
    """At once and quietly, as any program."""
    assert ({-signal.SIGTERM}, "") == end_at_imports(signal.SIGTERM, arguments, tmp_path)


def pester(program: Program, said: dict[str, str]) -> None:
    """Send each signal to a daemon that serves, and wait for its second line in the log."""
    for name, line in said.items():
        program.process.send_signal(signal.Signals[name])
        program.wait_for(f"(?s){line}.*{line}", PATIENCE)


def test_a_router_outlives_what_is_sent_by_habit(tmp_path: Path) -> None:
    """While it starts and while it serves. A reload that is asked for too early comes when it serves."""
    file = tmp_path / "partitioner.yml"
    file.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nembedded: 3\n")
    said = {name: f"{name} ignored" for name in HARMLESS[1:]} | {"SIGHUP": "configuration reloaded.*SIGHUP"}
    with started([*SIGNALLED, "each", ",".join(HARMLESS), "serve", "-c", str(file)]) as program:
        for line in said.values():
            program.wait_for(line, PATIENCE)
        pester(program, said)

        assert 0 == program.stop()
        assert "Traceback" not in program.output


def test_a_state_server_outlives_what_is_sent_by_habit() -> None:
    """With its sessions: logs are rotated with SIGUSR1, and a terminal has a key for SIGQUIT."""
    said = {name: f"{name} ignored" for name in HARMLESS}
    command = [*SIGNALLED, "each", ",".join(HARMLESS), "state-server", "--listen", "127.0.0.1:0"]
    with started(command) as program:
        port = int(program.wait_for(r"state server on 127\.0\.0\.1:([0-9]+)", PATIENCE)[1])
        for line in said.values():
            program.wait_for(line, PATIENCE)
        with WebServer(port) as web:
            web.save("session", b"content")
            pester(program, said)

            assert b"content" == web.read("session")
        assert 0 == program.stop()
        assert "Traceback" not in program.output


def test_signals_at_the_end_change_nothing(tmp_path: Path) -> None:
    """The file is written and the exit code is 0, whatever comes while a state server stops."""
    file = tmp_path / "sessions"
    with state_server(0, "--state-file", str(file)) as server:
        with WebServer(server.port) as web:
            web.save("session", b"content")
        process = server.program.process
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT, signal.SIGTERM, signal.SIGINT):
                process.send_signal(number)
            time.sleep(0.001)

        assert 0 == process.returncode
        server.program.wait_for("stopped")
        assert file.exists()


@contextmanager
def at_work(*arguments: str, ignores: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A verb that runs, in a shell's foreground, or in a background that Ctrl-C does not reach."""
    process = subprocess.Popen(
        [sys.executable, "-m", "partitioner", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PARTITIONER_TOKEN"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignores else signal.SIG_DFL),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C; return the exit code, and what was complained of."""
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=PATIENCE)
    return process.returncode, complaints


@pytest.mark.parametrize("verb", ["bench", "check", "status", "drain", "backends"])
def test_ctrl_c_while_nobody_answers_is_quiet(verb: str, tmp_path: Path) -> None:
    """A verb has connected, and waits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        file = tmp_path / "partitioner.yml"
        file.write_text(f"timeouts: {{exchange: 60s}}\nbackends: [{{name: a, address: '{address}'}}]\n")
        arguments = {
            "bench": [address, "--timeout", "60s"],
            "check": ["--connect", "-c", str(file)],
            "status": ["--admin", address],
            "drain": ["a", "--wait", "--admin", address],
            "backends": ["--json", "--admin", address],
        }
        silent.settimeout(PATIENCE)
        with at_work(verb, *arguments[verb]) as process, silent.accept()[0] as connection:
            connection.recv(1)  # it has asked

            assert (INTERRUPTED, "") == interrupt(process)


def test_ctrl_c_while_a_drain_is_waited_for_is_quiet(tmp_path: Path) -> None:
    """The drain resumed without who waits for it."""
    with state_server() as one, state_server() as two, router(tmp_path, [one.port, two.port]) as in_front:
        with WebServer(in_front.port) as web:
            for number in range(20):
                web.save(f"waits{number:019d}", b"content")
        with at_work("drain", "state-1", "--wait", "--admin", in_front.admin) as process:
            in_front.program.wait_for("drain began", PATIENCE)

            assert (INTERRUPTED, "") == interrupt(process)
        assert in_front.program.process.poll() is None


def test_ctrl_c_while_it_reads_keys_is_quiet() -> None:
    """What was answered before stands."""
    with at_work("locate", "--json", "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("session\n")
        process.stdin.flush()
        first = process.stdout.readline()

        assert (INTERRUPTED, "") == interrupt(process)
    assert '"session"' in first


def test_what_a_shell_started_in_the_background_goes_on() -> None:
    """There Ctrl-C is ignored, because it is meant for what runs in the foreground."""
    with at_work("locate", "--json", "-", ignores=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("session\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        answers, complaints = process.communicate("another\n", timeout=PATIENCE)

    assert (0, "") == (process.returncode, complaints)
    assert re.search('"another"', answers)
