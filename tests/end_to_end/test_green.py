"""With 20,000 sessions the pool is redundant within a minute of whatever may have taken copies away."""

import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.end_to_end.knowledge.site import Router, site_in, wait_until
from tests.end_to_end.web_server import WebServer

pytestmark = pytest.mark.slow

SESSIONS = 20_000
TWO_COPIES = "copies: 2\nhealth: {interval: 200ms, timeout: 1s, hold_down: 0s}\n"
MINUTE = 60.0


def until_green(router: Router, name: str, begin: Callable[[], None]) -> float:
    """Seconds from when something has come back or joined until the pool is redundant; they are printed."""
    began_at = time.monotonic()
    begin()
    patient_until = began_at + 5 * MINUTE
    while router.status()["redundant_since"] is None:
        assert time.monotonic() < patient_until, router.status()["not_redundant"]
        time.sleep(0.1)
    took = time.monotonic() - began_at
    click.echo(f"{name}: redundant after {took:.1f} s")
    return took


def test_redundant_within_a_minute(tmp_path: Path) -> None:
    """Of a start, of a kill and return, and of a join."""
    with site_in(tmp_path, 3, TWO_COPIES) as site:
        router = site.start_router()
        with WebServer(router.port) as web:
            for number in range(SESSIONS):
                web.save(f"green{number:019d}", b"x" * 200)
        router.stop()
        took = {"start": -time.monotonic()}
        router = site.start_router(like=router)
        took["start"] += time.monotonic() + until_green(router, "start", lambda: None)

        def back() -> None:
            site.start_server("state-1")
            router.wait_until_health("state-1", "up")

        site.kill_server("state-1")
        router.wait_until_health("state-1", "down")
        took["return"] = until_green(router, "kill and return", back)

        def joined() -> None:
            site.rewrite_file(router)
            router.reload()
            router.wait_until_health("state-4", "up")
            wait_until(lambda: not router.status()["healing_pending"], "healing has been through")

        site.start_servers(["state-4"], None)
        took["join"] = until_green(router, "join", joined)
        held = [len(site.sessions_on(f"state-{number}")) for number in (1, 2, 3, 4)]

    assert {name: seconds for name, seconds in took.items() if seconds > MINUTE} == {}
    assert 2 * SESSIONS <= sum(held) or 10_000 in held  # a listing is asked for 10,000 keys at most
