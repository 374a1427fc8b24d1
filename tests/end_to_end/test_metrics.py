"""What Prometheus scrapes of real programs, while requests go through them and servers die."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import NAMES, QUICK_PROBES, farm_in, session_on
from tests.end_to_end.processes import CONFIGURATION, router, running, started, state_server
from tests.end_to_end.web_server import Closed, WebServer
from tests.ops.metrics.pages import MetricsPage

SESSION = session_on("state-1")
UNTIL = 60.0  # seconds


def scrape(admin: str, **headers: str) -> MetricsPage:
    answer = httpx.get(f"{admin}/metrics", headers=headers)
    assert answer.status_code == 200
    return MetricsPage(answer.text)


def scrape_until(admin: str, is_so: Callable[[MetricsPage], bool]) -> MetricsPage:
    """Scrape until the page says so."""
    deadline = time.monotonic() + UNTIL
    while not is_so(page := scrape(admin)):
        assert time.monotonic() < deadline, page.text
        time.sleep(0.1)
    return page


def test_metrics_move_as_requests_go(tmp_path: Path) -> None:
    """What clients ask is counted by the router, by its backends' traffic, and by the state servers."""
    with farm_in(tmp_path, f"{QUICK_PROBES}copies: 2\n") as farm:
        before = scrape(farm.in_front.admin)
        farm.web.save(SESSION, b"content")
        assert farm.web.read(SESSION) == b"content"
        cookie = farm.web.ask(Operation.ACQUIRE, SESSION).head.lock_cookie
        locked = scrape(farm.in_front.admin)
        assert farm.web.ask(Operation.SET, SESSION, b"late", 7).status == 423
        farm.web.save(SESSION, b"new content", cookie or 0)
        after = scrape(farm.in_front.admin)
        servers = [scrape(f"http://127.0.0.1:{each.admin_port}") for each in farm.servers.values()]

    assert (0, 2) == tuple(
        page.value("requests_total", operation="set", outcome="ok") for page in (before, after)
    )
    assert (1, 1, 1) == (
        after.value("requests_total", operation="get", outcome="ok"),
        after.value("requests_total", operation="acquire", outcome="ok"),
        after.value("lost_updates_total"),
    )
    assert (0, 1, 0) == tuple(page.value("locks_held") for page in (before, locked, after))
    assert dict.fromkeys(NAMES, 1) == after.by("backend", "backend_up")
    assert after.value("backend_requests_total", backend="state-1", outcome="ok") >= 4
    assert 0 < after.value("backend_request_duration_seconds_sum", backend="state-1") < 5
    assert 2 == sum(after.by("backend", "copies_written_total", result="ok").values())
    assert 2 == after.value("session_size_bytes_count")
    # Two of them have the session, and it was saved twice in two places; items of routers are none.
    assert 2 == sum(page.value("sessions") for page in servers)
    assert 4 <= sum(page.value("requests_total", operation="set", outcome="ok") for page in servers)
    assert all(page.value("event_loop_lag_seconds_count") >= 0 for page in servers)


def test_a_server_dies_and_comes_back(tmp_path: Path) -> None:
    """Its state, the changes of it, the errors by phase, who stood in for it, and what was not copied."""
    with farm_in(tmp_path, f"{QUICK_PROBES}copies: 2\n") as farm:
        admin = farm.in_front.admin
        farm.web.save(SESSION, b"content")
        port = farm.servers["state-1"].port
        farm.servers["state-1"].program.kill()
        down = scrape_until(admin, lambda page: page.value("backend_up", backend="state-1") == 0)
        assert farm.web.read(SESSION) == b"content"
        stood_in = scrape(admin)
        with state_server(port):
            back = scrape_until(admin, lambda page: page.value("backend_up", backend="state-1") == 1)

    assert {"up": 0, "down": 1, "recovering": 0, "unknown": 0} == (
        down.by("state", "backend_state", backend="state-1")
    )
    assert {"up": 1, "down": 1, "recovering": 0} == (
        down.by("state", "backend_state_changes_total", backend="state-1")
    )
    assert (2, 1, 0) == (down.value("backends_serving"), down.value("ready"), down.value("redundant"))
    assert 1 == stood_in.value("failovers_total", backend="state-1")
    assert {"up": 2, "down": 1, "recovering": 0} == (
        back.by("state", "backend_state_changes_total", backend="state-1")
    )


def test_errors_by_phase(tmp_path: Path) -> None:
    """An exchange with a frozen server fails in reading, and its connection stays unanswered."""
    with farm_in(tmp_path, f"{QUICK_PROBES}copies: 1\ntimeouts: {{exchange: 2s}}\n") as farm:
        farm.web.save(SESSION, b"content")
        farm.servers["state-1"].program.freeze()
        with pytest.raises(Closed):
            farm.web.ask(Operation.ACQUIRE, SESSION)
        page = scrape(farm.in_front.admin)
        farm.servers["state-1"].program.thaw()

    assert 1 == page.value("backend_errors_total", backend="state-1", phase="reading")
    assert 1 == page.value("backend_connections", backend="state-1", state="unanswered")
    assert 1 == page.value("requests_total", operation="acquire", outcome="closed")
    assert 0 == page.value("requests_total", operation="acquire", outcome="ok")


def test_reloads(tmp_path: Path) -> None:
    """What came of them, whether the last one was good, and what it made of the map."""
    with farm_in(tmp_path) as farm:
        admin, good = farm.in_front.admin, farm.file.read_text()
        before = scrape(admin)
        farm.file.write_text("nonsense: true\n")
        assert httpx.post(f"{admin}/api/v1/reload").status_code == 422
        broken = scrape(admin)
        farm.file.write_text(good.replace("name: state-1,", "name: state-1, weight: 3,"))
        assert httpx.post(f"{admin}/api/v1/reload").status_code == 200
        after = scrape(admin)
        status = httpx.get(f"{admin}/api/v1/status").json()

    assert [1, 0, 1] == [page.value("config_last_reload_successful") for page in (before, broken, after)]
    assert {"applied": 1, "unchanged": 0, "refused": 0, "invalid": 1} == (
        after.by("outcome", "config_reloads_total")
    )
    assert before.value("map_fingerprint") == broken.value("map_fingerprint")
    assert int(status["map_fingerprint"], 16) == after.value("map_fingerprint")
    assert before.value("map_fingerprint") != after.value("map_fingerprint")
    assert 0.6 == after.value("backend_share", backend="state-1")


def test_two_routers_of_one_map(tmp_path: Path) -> None:
    """They have one fingerprint, in processes that hash strings differently, too."""
    command = [sys.executable, "-m", "partitioner", "serve", "-c", str(tmp_path / CONFIGURATION)]
    with (
        state_server() as server,
        router(tmp_path, [server.port]) as one,
        started(command) as two,  # anew, since those that are forked share their seed
    ):
        admin = two.wait_for(r"(http://\S+)/api/v1/status")[1]
        pages = [scrape(one.admin), scrape(admin)]

    assert pages[0].value("map_fingerprint") == pages[1].value("map_fingerprint")


def test_an_embedding_router() -> None:
    """It tells what its own servers hold."""
    with running("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") as program:
        port = int(program.wait_for(r"tcpip=127\.0\.0\.1:([0-9]+)")[1])
        admin = program.wait_for(r"(http://\S+)/api/v1/status")[1]
        with WebServer(port) as web:
            web.save(SESSION, b"content")
        page = scrape(admin)

    assert 2 == page.value("sessions")
    assert page.value("session_bytes") > 0


def test_who_may_scrape(tmp_path: Path) -> None:
    """Off loopback the token is needed, as for every request."""
    settings = "admin: 0.0.0.0:0\nadmin_token: secret\n"
    with state_server() as one, router(tmp_path, [one.port], settings) as in_front:
        without = httpx.get(f"{in_front.admin}/metrics")
        page = scrape(in_front.admin, Authorization="Bearer secret")

    assert 401 == without.status_code
    assert 1 == page.value("backend_up", backend="state-1")


def test_scraped_while_it_stops(tmp_path: Path) -> None:
    """A page is whole or there is none: never half of one."""
    with state_server() as one, router(tmp_path, [one.port]) as in_front:
        pages = [scrape(in_front.admin)]
        in_front.program.process.send_signal(signal.SIGTERM)
        while True:
            try:
                pages.append(scrape(in_front.admin))
            except httpx.TransportError:
                break
        assert in_front.program.process.wait(20) == 0

    assert {1} == {page.value("build_info", **_labels(page)) for page in pages}
    assert {tuple(sorted(pages[0].samples, key=str))} == {
        tuple(sorted(page.samples, key=str)) for page in pages
    }


def _labels(page: MetricsPage) -> dict[str, str]:
    return next(dict(labels) for name, labels in page.samples if name == "partitioner_build_info")
