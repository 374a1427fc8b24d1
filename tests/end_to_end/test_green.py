"""With 20,000 sessions: how soon the pool is redundant after whatever may have taken copies away.

Within a minute, on a machine with nothing else to do. The seconds are printed; the limit is for any machine.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.end_to_end.knowledge.site import Router, site_in, wait_until
from tests.end_to_end.processes import run_to_end
from tests.end_to_end.web_server import WebServer

pytestmark = pytest.mark.slow

SESSIONS = 20_000
TWO_COPIES = "copies: 2\nhealth: {interval: 200ms, timeout: 1s, hold_down: 0s}\n"
LIMIT = 300.0
"""Seconds for each, on a machine that is busy with other things."""


def until(router: Router, name: str, is_so: Callable[[], bool]) -> None:
    """Wait until that is so, and print how many seconds it took."""
    began_at = time.monotonic()
    wait_until(is_so, name, LIMIT)
    click.echo(f"{name}: after {time.monotonic() - began_at:.1f} s")


def test_redundant_after_a_start_a_return_and_a_join(tmp_path: Path) -> None:
    """Nobody uses the sessions meanwhile, and all of them have their copies then."""
    with site_in(tmp_path, 3, TWO_COPIES) as site:
        router = site.start_router()
        with WebServer(router.port) as web:
            for number in range(SESSIONS):
                web.save(f"green{number:019d}", b"x" * 200)
        router.stop()
        router = site.start_router(like=router)
        until(router, "redundant after a start", router.is_redundant)
        site.kill_server("state-1")
        router.wait_until_health("state-1", "down")
        site.start_server("state-1")
        router.wait_until_health("state-1", "up")
        until(router, "redundant after a kill and return", router.is_redundant)
        site.start_servers(["state-4"])
        site.rewrite_file(router)
        router.reload()
        router.wait_until_health("state-4", "up")
        until(router, "redundant after a join", router.is_redundant)
        until(router, "all sessions moved after a join", lambda: not router.status()["healing_pending"])
        whole = run_to_end("verify", "--json", "--admin", f"http://{router.admin}")

    assert (0, {"2": SESSIONS}) == (whole.returncode, json.loads(whole.stdout)["on_servers"])
