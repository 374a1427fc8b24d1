"""A server comes back with a memory that is older than what the router has acknowledged, or with none."""

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.knowledge.site import LOOPBACK, Router, Site, site_in
from tests.end_to_end.knowledge.users import Users, in_words, session_ids

pytestmark = pytest.mark.slow

SAVED, REMOVED = session_ids(50), session_ids(10, 1000)

FAST_CLOCK = """\
session_timeout: 1m
session_timeout_max: 1m
health: {interval: 2s, timeout: 6s, hold_down: 0s}
timeouts: {connect: 10s, exchange: 1m, copy: 10s}
"""
"""Nothing here takes less than a sixth of a second of real time."""


def change(users: Users) -> None:
    users.save(SAVED, b"new")
    users.remove(REMOVED)


def begin(site: Site) -> tuple[Router, Users]:
    """Start a router, and make all sessions exist."""
    router = site.start_router()
    users = Users(router.port)
    users.save([*SAVED, *REMOVED], b"old")
    return router, users


def wait_until_back(router: Router, name: str = "state-1") -> None:
    router.wait_until_health(name, "up", "recovering")


def test_a_state_file_that_was_left_out_once(tmp_path: Path) -> None:
    """A server is stopped, begins empty, and then begins with what it had left the first time."""
    with site_in(tmp_path, servers=3, state_files=True) as site:
        router, users = begin(site)
        site.stop_server("state-1")
        router.wait_until_health("state-1", "down")
        site.start_server("state-1", with_file=False)
        router.wait_until_health("state-1", "up")
        change(users)
        site.kill_server("state-1")
        router.wait_until_health("state-1", "down")
        site.start_server("state-1")
        wait_until_back(router)

        assert "" == in_words(users.find_fault())


def test_a_memory_that_went_back_in_time(tmp_path: Path) -> None:
    """After a crash an operator puts the file back with which the server had begun, as a snapshot does."""
    with site_in(tmp_path, servers=3, state_files=True) as site:
        router, users = begin(site)
        site.stop_server("state-1")
        router.wait_until_health("state-1", "down")
        site.start_server("state-1")
        router.wait_until_health("state-1", "up")
        change(users)
        site.kill_server("state-1")
        router.wait_until_health("state-1", "down")
        file = site.servers["state-1"].file
        shutil.copy(file.with_name(f"{file.name}.loaded"), file)
        site.start_server("state-1")
        wait_until_back(router)

        assert "" == in_words(users.find_fault())


def test_a_clock_that_stood_still(tmp_path: Path) -> None:
    """A machine was paused, clock and all, for longer than sessions live: its sessions have not expired.

    The clocks of all processes run 12 times as fast, so a session of one minute lives for 5 seconds; and
    they stand still while the process is stopped.
    """
    with site_in(tmp_path, servers=3, settings=FAST_CLOCK, entry="fast_clock.py") as site:
        router = site.begin_router(entry="fast_clock.py")
        router.wait_until_serving(3)
        users = Users(router.port, timeout_minutes=1)
        users.save([*SAVED, *REMOVED], b"old")
        site.freeze("state-1")
        router.wait_until_health("state-1", "down")
        change(users)
        paused_at = router.status()["uptime"]
        while router.status()["uptime"] < paused_at + 90.0:
            users.read(SAVED)
        site.thaw("state-1")
        wait_until_back(router)

        assert "" == in_words(users.find_fault())


def move_house(site: Site, router: Router, name: str, new_name: str) -> None:
    """Start a stopped server at another port, with its file, and tell the router, under this name."""
    site.start_server(name, port=site.free_port())
    site.backends.pop(name, None)
    site.backends[new_name] = f"{LOOPBACK}:{site.servers[name].port}"
    site.rewrite_file(router)
    router.reload()


def test_a_server_that_moves_house(tmp_path: Path) -> None:
    """It was away while its sessions were changed, and comes back at another address with its file."""
    with site_in(tmp_path, servers=3, state_files=True) as site:
        router, users = begin(site)
        site.stop_server("state-1")
        router.wait_until_health("state-1", "down")
        change(users)
        move_house(site, router, "state-1", "state-1")
        wait_until_back(router)

        assert "" == in_words(users.find_fault())


@pytest.mark.parametrize("moves", [False, True], ids=["at its address", "at another address"])
def test_a_server_under_another_name(moves: bool, tmp_path: Path) -> None:
    """It is removed while it is down, and added again, under another name, with its file."""
    with site_in(tmp_path, servers=3, state_files=True) as site:
        router, users = begin(site)
        site.stop_server("state-1")
        router.wait_until_health("state-1", "down")
        address = site.backends.pop("state-1")
        site.rewrite_file(router)
        router.reload()
        change(users)
        if moves:
            move_house(site, router, "state-1", "another")
        else:
            site.start_server("state-1")
            site.backends["another"] = address
            site.rewrite_file(router)
            router.reload()
        wait_until_back(router, "another")

        assert "" == in_words(users.find_fault())


def test_an_empty_server_is_put_back(tmp_path: Path) -> None:
    """After a long time out of the file: it is trusted at once, as it has nothing to be wrong about.

    Long is a minute, in which a server that is down and was removed is waited for; here the router's
    constant for it is set to one second.
    """
    with site_in(tmp_path, servers=3) as site:
        router = site.begin_router(entry="short_waits.py")
        router.wait_until_serving(3)
        users = Users(router.port)
        users.save(SAVED, b"kept")
        address = site.backends.pop("state-1")
        site.rewrite_file(router)
        router.reload()
        site.kill_server("state-1")
        router.wait_until_forgotten("state-1")
        site.start_server("state-1")
        site.backends["state-1"] = address
        site.rewrite_file(router)
        router.reload()

        assert "up" == router.wait_until_health("state-1", "up", "recovering")
        assert "" == in_words(users.find_fault())
