"""The status page in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.browser import Browser, browser
from tests.end_to_end.farm import NAMES, QUICK_PROBES, farm_in
from tests.end_to_end.processes import router, state_server
from tests.end_to_end.web_server import WebServer

pytestmark = pytest.mark.slow

TABLE = """[...document.querySelectorAll('table.servers tbody tr:not(.advice)')].map(row =>
    [row.querySelector('th bdi').innerText, row.querySelector('.badge').innerText.trim()])"""
HEADLINE = "document.querySelector('h1').innerText"
COLOURS = """[...document.querySelectorAll('table.servers .badge:not(.quiet)')].map(badge =>
    getComputedStyle(badge).backgroundColor)"""
EVENTS = "document.querySelector('table.events').innerText"


def says(expression: str, text: str) -> str:
    return f"({expression}).includes({text!r})"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all."""
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def test_a_killed_server_turns_down(tab: Browser, tmp_path: Path) -> None:
    """Each server is there by name and state, and the page follows by itself when one of them is killed."""
    with farm_in(tmp_path) as farm:
        tab.open(f"{farm.in_front.admin}/")
        tab.wait_until(TABLE, [[name, "UP"] for name in NAMES])
        before = tab.evaluate(COLOURS)
        farm.servers["state-2"].program.kill()
        tab.wait_until(TABLE, [["state-1", "UP"], ["state-2", "DOWN"], ["state-3", "UP"]])

        assert "state-2 does not serve; 2 of 3 do" == tab.evaluate(HEADLINE)
        assert tab.evaluate(says(EVENTS, "backend is down"))
        assert tab.evaluate(says(EVENTS, "its sessions are served by their copies; 2 of 3 serve"))
        assert 1 == len(set(before))
        assert 2 == len(set(tab.evaluate(COLOURS)))
        assert [] == tab.complaints


def test_a_page_that_is_paused_stays(tab: Browser, tmp_path: Path) -> None:
    """Nothing is taken away from under a reader; the links lead there and back."""
    with farm_in(tmp_path) as farm:
        tab.open(f"{farm.in_front.admin}/")
        refreshed = "document.querySelector('meta[http-equiv=refresh]') !== null"
        tab.wait_until(refreshed, True)
        tab.evaluate("document.querySelector('.refresh a').click()")
        tab.wait_until(refreshed, False)
        assert "?refresh=0" == tab.evaluate("location.search")
        tab.evaluate("document.querySelector('.refresh a').click()")
        tab.wait_until(refreshed, True)

        assert [] == tab.complaints


def test_locks_and_drains_are_seen(tab: Browser, tmp_path: Path) -> None:
    """What an operator has ordered is on the page with its next refresh, and no session ID ever is."""
    session = "bpr4mimb2vjnvtn2jc4yp3uo"
    with farm_in(tmp_path, QUICK_PROBES) as farm:
        tab.open(f"{farm.in_front.admin}/?refresh=1")
        farm.web.save(session, b"content")
        assert 200 == farm.web.ask(Operation.ACQUIRE, session).status
        tab.wait_until("document.querySelectorAll('table.locks tbody tr').length", 1, timeout=30.0)
        assert httpx.post(f"{farm.in_front.admin}/api/v1/backends/state-1/drain").is_success
        tab.wait_until("document.querySelector('.drain strong')?.innerText", "state-1")
        tab.wait_until(TABLE, [["state-1", "DRAIN"], ["state-2", "UP"], ["state-3", "UP"]])

        assert not tab.evaluate(says("document.documentElement.outerHTML", session))
        assert [] == tab.complaints


def test_what_a_client_sends_is_text(tab: Browser, tmp_path: Path) -> None:
    """The log says what a malformed request was; on the page it does nothing."""
    with state_server() as one, router(tmp_path, [one.port]) as in_front, WebServer(in_front.port) as web:
        refused = web.send(b"<script> /x HTTP/1.1\r\n\r\n")
        tab.open(f"{in_front.admin}/?refresh=1")
        tab.wait_until(says(EVENTS, "malformed request refused"), True)

        assert 400 == refused.status
        assert tab.evaluate(says(EVENTS, "the verb is '<script>'; expected"))
        assert 0 == tab.evaluate("document.scripts.length")
        assert [] == tab.complaints


def test_a_browser_proves_itself_by_a_password(tab: Browser, tmp_path: Path) -> None:
    """On an address that others reach the token is taken as the password, with every refresh."""
    settings = "admin: 0.0.0.0:0\nadmin_token: secret\n"
    with state_server() as one, router(tmp_path, [one.port], settings) as in_front:
        tab.open(in_front.admin.replace("http://", "http://anybody:secret@") + "/?refresh=1")
        tab.wait_until(TABLE, [["state-1", "UP"]])
        first = tab.evaluate("performance.timeOrigin")
        tab.wait_until(f"performance.timeOrigin > {first} && document.querySelector('h1') !== null", True)

        assert [["state-1", "UP"]] == tab.evaluate(TABLE)
