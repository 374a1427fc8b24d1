"""What a killed server has taken away is restored by itself, with real processes (design.md 7.5)."""

import json
from pathlib import Path

from tests.end_to_end.knowledge.site import site_in, wait_until
from tests.end_to_end.processes import run_to_end
from tests.end_to_end.web_server import WebServer

SESSIONS = [f"session{number:017d}" for number in range(300)]
NAMES = ("state-1", "state-2", "state-3")
TWO_COPIES = "copies: 2\nhealth: {interval: 200ms, timeout: 1s, hold_down: 0s}\n"


def test_quiet_sessions_survive_two_kills_in_a_row(tmp_path: Path) -> None:
    """Without use between the kills an empty server gets its copies back; then the next one may die."""
    with site_in(tmp_path, 3, TWO_COPIES) as site:
        router = site.start_router()
        with WebServer(router.port) as web:
            for session in SESSIONS:
                web.save(session, session.encode())
        held = site.sessions_on("state-1")
        site.kill_server("state-1")
        router.wait_until_health("state-1", "down")
        site.start_server("state-1")
        router.wait_until_health("state-1", "up")
        wait_until(lambda: router.status()["redundant_since"] is not None, "the pool is redundant")
        copies = [sum(session in site.sessions_on(name) for name in NAMES) for session in SESSIONS]
        healed = site.sessions_on("state-1")
        whole = run_to_end("verify", "--json", "--admin", f"http://{router.admin}")
        site.kill_server("state-2")
        router.wait_until_health("state-2", "down")
        with WebServer(router.port) as web:
            lost = [session for session in SESSIONS if web.read(session) != session.encode()]

        assert {2} == set(copies)
        assert (0, {"2": 300}) == (whole.returncode, json.loads(whole.stdout)["on_servers"])
        assert held == healed
        assert [] == lost
        assert router.metric("partitioner_sessions_healed_total") >= len(held)
        assert router.has_said("healing ended")


def test_verify_finds_what_is_not_whole(tmp_path: Path) -> None:
    """A session that was put on one server behind the router's back: exit 1, and a count."""
    with site_in(tmp_path, 3, f"{TWO_COPIES}heal: {{rate: 1}}\n") as site:
        router = site.start_router()
        with WebServer(router.port) as web:
            for session in SESSIONS[:20]:
                web.save(session, session.encode())
        wait_until(lambda: router.status()["redundant_since"] is not None, "the pool is redundant")
        with WebServer(site.servers["state-1"].port) as behind:
            behind.save("session99999999999999999", b"alone")
        ended = run_to_end("verify", "--admin", f"http://{router.admin}")

        assert 1 == ended.returncode
        assert "21 sessions, looked at in" in ended.stdout
        assert "on 1 server: 1\n" in ended.stdout
        assert "on 2 servers: 20\n" in ended.stdout
        assert "lacking a copy: 1\n" in ended.stdout
