"""A server has missed changes, and another router takes over before they are repaired."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.knowledge.site import QUICK_PROBES, Router, Site, site_in
from tests.end_to_end.knowledge.users import Users, in_words, session_ids

pytestmark = pytest.mark.slow

SAVED, REMOVED, LOCKED = session_ids(300), session_ids(20, 1000), session_ids(40, 2000)


def miss_changes(site: Site, router: Router, users: Users, saved: list[str] = SAVED) -> None:
    """Freeze state-1 and change sessions meanwhile: they are saved, removed and locked."""
    users.save([*saved, *REMOVED, *LOCKED], b"old")
    site.freeze("state-1")
    router.wait_until_health("state-1", "down")
    users.save(saved, b"new")
    users.remove(REMOVED)
    users.acquire(LOCKED)


def with_state_dir(directory: Path, number: int = 1) -> str:
    return f"{QUICK_PROBES}name: farm\nstate_dir: {directory / f'state-of-router-{number}'}\n"


def stop(router: Router) -> None:
    router.program.stop()


def kill(router: Router) -> None:
    router.program.kill()


def kill_later(router: Router) -> None:
    """A second later, when whatever was to be written down since the last change is written."""
    time.sleep(1.2)
    router.program.kill()


@pytest.mark.parametrize("end", [stop, kill_later])
def test_a_restart_during_repair(end: Callable[[Router], None], tmp_path: Path) -> None:
    """A router that begins again with its `state_dir` reads nothing old and gives no lock twice."""
    with site_in(tmp_path, servers=3, settings=with_state_dir(tmp_path)) as site:
        router = site.start_router()
        users = Users(router.port)
        miss_changes(site, router, users)
        site.thaw("state-1")
        router.wait_until_health("state-1", "up")
        end(router)
        site.start_router(like=router, serving=2)

        assert "" == in_words(users.find_fault())


def run_on(router: Router) -> None:
    """The clients go elsewhere, say because of a cut between them and this router."""


@pytest.mark.parametrize("end", [kill, run_on])
def test_a_standby_on_the_same_machine(end: Callable[[Router], None], tmp_path: Path) -> None:
    """A second router that has run beside all the time gets the clients: the same."""
    with site_in(tmp_path, servers=3) as site:
        router = site.begin_router(settings=with_state_dir(tmp_path, 1))
        standby = site.begin_router(settings=with_state_dir(tmp_path, 2))
        for each in (router, standby):
            each.wait_until_serving(3)
        users = Users(router.port)
        miss_changes(site, router, users)
        standby.wait_until_health("state-1", "down")
        site.thaw("state-1")
        for each in (router, standby):
            each.wait_until_health("state-1", "up")
        end(router)
        users.turn_to(standby.port)

        assert "" == in_words(users.find_fault())


@pytest.mark.parametrize("machine", ["home", "another machine"])
def test_a_server_that_is_away_over_a_restart(machine: str, tmp_path: Path) -> None:
    """Without a word on `state_dir`, on the machine of the router before it or on another: the same."""
    with site_in(tmp_path, servers=3) as site:
        router = site.start_router()
        users = Users(router.port)
        miss_changes(site, router, users)
        router.program.kill()
        again = site.start_router(like=router, home=machine, serving=2)
        again.wait_until_health("state-1", "down")
        site.thaw("state-1")
        again.wait_until_health("state-1", "up", "recovering")

        assert "" == in_words(users.find_fault())
