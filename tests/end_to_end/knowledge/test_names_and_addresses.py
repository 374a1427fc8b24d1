"""The file calls a server by another name, or spells its address differently: it is the same memory."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.knowledge.site import (
    ENVIRONMENT,
    QUICK_PROBES,
    Router,
    Site,
    command,
    site_in,
    wait_until,
)
from tests.end_to_end.knowledge.users import Users, in_words, session_ids

IN_USE = session_ids(30)
IS_THE_SAME = "is the same server as"
STANDS_STILL_FOR = 2.0
"""Seconds without a move after which nothing moves any more; repair and hand-off look once a second."""


def respell(site: Site) -> None:
    """One address: `localhost` for `127.0.0.1`."""
    site.backends["state-1"] = site.backends["state-1"].replace("127.0.0.1", "localhost")


def respell_all(site: Site) -> None:
    site.backends = {name: each.replace("127.0.0.1", "localhost") for name, each in site.backends.items()}


def rename(site: Site) -> None:
    site.backends = {f"new-{name}": address for name, address in site.backends.items()}


def swap(site: Site) -> None:
    """The servers get each other's names."""
    site.backends = dict(zip(site.backends, reversed(site.backends.values()), strict=True))


CHANGES = pytest.mark.parametrize("change", [respell, respell_all, rename, swap])


def copies_missing(site: Site, users: Users) -> list[str]:
    """What is wrong with what the servers hold, where each should hold everything."""
    missing = {name: set(users.owed) - site.sessions_on(name) for name in site.servers}
    return [f"{len(gone)} of {len(users.owed)} not on {name}" for name, gone in missing.items() if gone]


@CHANGES
def test_pages_that_run_during_a_reload(change: Callable[[Site], None], tmp_path: Path) -> None:
    """Acquired before it and saved after it, a session is what was saved, on both servers."""
    with site_in(tmp_path, servers=2) as site:
        router = site.start_router()
        users = Users(router.port)
        users.save(IN_USE, b"before")
        users.acquire(IN_USE)
        change(site)
        site.rewrite_file(router)
        router.reload()
        users.save_held(b"after")

        assert "" == in_words(users.find_fault(), copies_missing(site, users))


@CHANGES
def test_a_restart_with_an_edited_file(change: Callable[[Site], None], tmp_path: Path) -> None:
    """The same when the router is stopped and started again meanwhile, with a `state_dir`."""
    settings = f"{QUICK_PROBES}state_dir: {tmp_path / 'state'}\n"
    with site_in(tmp_path, servers=2, settings=settings) as site:
        router = site.start_router()
        users = Users(router.port)
        users.save(IN_USE, b"before")
        users.acquire(IN_USE)
        router.stop()
        change(site)
        site.start_router(like=router)
        users.save_held(b"after")

        assert "" == in_words(users.find_fault(), copies_missing(site, users))


def test_a_rename_without_traffic(tmp_path: Path) -> None:
    """No copy is deleted before there is another one, and the moving comes to an end."""
    with site_in(tmp_path, servers=3) as site:
        router = site.start_router()
        users = Users(router.port)
        users.save(session_ids(60), b"kept")
        rename(site)
        site.rewrite_file(router)
        router.reload()

        assert "" == in_words(_thin_while_it_moves(site, router, users), users.find_fault())


def _thin_while_it_moves(site: Site, router: Router, users: Users) -> list[str]:
    """Look at the servers until nothing moves any more; returns what was wrong."""
    thin_before: set[str] = set()
    deadline = time.monotonic() + 20.0
    moved, since = router.metric("partitioner_sessions_moved_total"), time.monotonic()
    while time.monotonic() - since < STANDS_STILL_FOR:
        held = [site.sessions_on(name) for name in site.servers]
        thin = {session for session in users.owed if sum(session in each for each in held) < 2}
        # A session may move between two looks at two servers; not twice in a row.
        if thin & thin_before:
            return [f"{len(thin)} of {len(users.owed)} have lost a copy"]
        thin_before = thin
        if (moved_now := router.metric("partitioner_sessions_moved_total")) != moved:
            moved, since = moved_now, time.monotonic()
        if time.monotonic() > deadline:
            return [f"{moved:.0f} moves of {len(users.owed)} sessions, and no end"]
    return []


# --- one server, entered twice ---


def enter_twice(site: Site) -> None:
    site.backends["twin"] = site.backends["state-1"].replace("127.0.0.1", "localhost")


def test_check_of_a_server_that_is_entered_twice(tmp_path: Path) -> None:
    """`check --connect` says so, and fails."""
    with site_in(tmp_path, servers=2) as site:
        enter_twice(site)
        file = tmp_path / "partitioner.yml"
        site.write_file(file)
        checked = subprocess.run(
            command("check", "--connect", "-c", str(file)),
            capture_output=True,
            text=True,
            env={**os.environ, **ENVIRONMENT, "COLUMNS": "200"},
        )

        assert IS_THE_SAME in checked.stdout + checked.stderr
        assert 1 == checked.returncode


def test_a_start_with_a_server_that_is_entered_twice(tmp_path: Path) -> None:
    """The second entry does not serve, which is said; so both copies are not in one memory."""
    with site_in(tmp_path, servers=1) as site:
        enter_twice(site)
        router = site.start_router(serving=1)
        users = Users(router.port)

        noticed = entries_of_one_server_that_serve(router)
        users.save(session_ids(60), b"kept")

        assert "" == in_words(noticed, users.find_fault())


def test_a_reload_with_a_server_that_is_entered_twice(tmp_path: Path) -> None:
    """The same, or nothing of that file is taken; the sessions that are there stay."""
    with site_in(tmp_path, servers=2) as site:
        router = site.start_router()
        users = Users(router.port)
        users.save(session_ids(60), b"kept")
        enter_twice(site)
        site.rewrite_file(router)
        router.begin_reload()

        assert "" == in_words(entries_of_one_server_that_serve(router), users.find_fault())


def entries_of_one_server_that_serve(router: Router) -> list[str]:
    """Wait until the router has noticed the second entry; returns what is wrong, where it serves both."""
    both = ("state-1", "twin")

    def serve() -> bool:
        return all((backend := router.backend(name)) is not None and backend["serves"] for name in both)

    wait_until(lambda: router.has_said(IS_THE_SAME) or serve(), "the second entry is noticed")
    return ["both entries of one server serve"] if serve() else []
