"""A rolling restart, and waiting until a server may be stopped, with real processes (design.md 7.6, 9.1)."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.knowledge.site import Router, Site, site_in, wait_until
from tests.end_to_end.processes import kept_port, run_to_end
from tests.end_to_end.web_server import WebServer

SESSIONS = [f"rolled{number:018d}" for number in range(300)]
NAMES = ("state-1", "state-2", "state-3")
QUICK = "health: {interval: 200ms, timeout: 1s, hold_down: 0s}\n"
TWO_COPIES = f"copies: 2\n{QUICK}"


def begin(site: Site) -> Router:
    """A router over whole sessions."""
    router = site.start_router()
    with WebServer(router.port) as web:
        for session in SESSIONS:
            web.save(session, session.encode())
    return router


def lost(router: Router) -> list[str]:
    with WebServer(router.port) as web:
        return [session for session in SESSIONS if web.read(session) != session.encode()]


@contextmanager
def rolling(router: Router, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The verb, with an operator at its standard input."""
    command = [sys.executable, "-m", "partitioner", "roll", *arguments, "--admin", f"http://{router.admin}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("names", [NAMES[1:2], pytest.param(NAMES, marks=pytest.mark.slow)], ids=len)
def test_servers_are_killed_and_no_session_is_lost(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Each comes back empty, and gets its copies before the next one is taken out."""
    with site_in(tmp_path, 3, TWO_COPIES) as site:
        router = begin(site)
        with rolling(router, "--json", *(() if names == NAMES else names)) as roll:
            assert roll.stdin is not None
            assert roll.stdout is not None
            said = []
            for line in roll.stdout:
                said.append(json.loads(line))
                if said[-1]["step"] == "aside":
                    name = said[-1]["server"]
                    site.kill_server(name)
                    site.start_server(name)
                    roll.stdin.write("\n")
                    roll.stdin.flush()
            code = roll.wait(60)

        steps = [(each["server"], each["step"]) for each in said if each["step"] in ("aside", "redundant")]
        assert (0, []) == (code, lost(router))
        assert [(name, step) for name in names for step in ("aside", "redundant")] == steps
        assert {"at", "server", "step", "sentence"} == set(said[-1])
        assert (None, "done") == (said[-1]["server"], said[-1]["step"])


def test_a_roll_that_nobody_goes_on_with(tmp_path: Path) -> None:
    """Standard input has ended: exit 1, and the command that brings the server back."""
    with site_in(tmp_path, 3, TWO_COPIES) as site:
        router = begin(site)
        ended = run_to_end("roll", "state-2", "--admin", f"http://{router.admin}")
        backend = router.backend("state-2")

    assert backend is not None
    assert (1, "maint") == (ended.returncode, backend["intent"])
    assert "nobody said that it was restarted: standard input has ended" in ended.stderr
    assert "state-2 stays in maint; `partitioner ready state-2` has it serve again" in ended.stdout


def test_ctrl_c_says_how_things_stand(tmp_path: Path) -> None:
    """What was ordered last stays, and the command that ends it is said."""
    with site_in(tmp_path, 3, TWO_COPIES) as site:
        router = begin(site)
        with rolling(router) as roll:
            assert roll.stdout is not None
            next(line for line in roll.stdout if "state-1 is left alone, and may be restarted" in line)
            roll.send_signal(signal.SIGINT)
            rest, complaint = roll.communicate(timeout=60)

    assert 130 == roll.returncode
    assert "Traceback" not in complaint
    assert rest.endswith("state-1 stays in maint; `partitioner ready state-1` has it serve again\n")


def test_waiting_until_a_server_may_be_stopped(tmp_path: Path) -> None:
    """A server came back empty; another one may be stopped when healing has been through. Without a terminal
    the reason is a line."""
    with site_in(tmp_path, 3, TWO_COPIES) as site:
        router = begin(site)
        admin = ("--admin", f"http://{router.admin}")
        site.kill_server("state-1")
        router.wait_until_health("state-1", "down")
        down = run_to_end("status", "--safe-to-stop", "state-2", "--wait", "--timeout", "1s", *admin)
        site.start_server("state-1")
        waited = run_to_end("status", "--safe-to-stop", "state-2", "--wait", *admin)
        site.kill_server("state-2")
        wait_until(lambda: router.health("state-2") == "down", "state-2 is down")

        assert [] == lost(router)
        assert (0, 1) == (waited.returncode, down.returncode)
        assert "state-2 must not be stopped now:" in down.stdout
        assert "state-2 must not be stopped yet: state-1 went down" in down.stderr


def test_no_router_is_exit_3() -> None:
    """Scripts can tell it from a server that must not be stopped."""
    with kept_port() as port:
        url = f"http://127.0.0.1:{port}"
        ended = [
            run_to_end("status", "--safe-to-stop", "state-1", *wait, "--admin", url).returncode
            for wait in ((), ("--wait",))
        ]

    assert [3, 3] == ended
