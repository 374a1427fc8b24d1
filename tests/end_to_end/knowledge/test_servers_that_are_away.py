"""Nothing is declared lost that a server still has: sessions are closed meanwhile, and then all are there."""

from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.knowledge.foreign_server import foreign_server
from tests.end_to_end.knowledge.site import Router, site_in, wait_until
from tests.end_to_end.knowledge.users import Users, in_words, session_ids, session_ids_on

pytestmark = pytest.mark.slow

LONGER_THAN_A_COPY_MAY_TAKE = 1.0  # seconds; timeouts.copy is 250 ms


def test_a_connection_that_is_never_closed(tmp_path: Path) -> None:
    """The only server that is left of two has the last acknowledged content, and a save that came too late.

    The late one was sent over a connection of which this server does not close its end, so the router
    cannot know that it has been worked off; it waits for 30 s.
    """
    with site_in(tmp_path, servers=2) as site, foreign_server() as foreign:
        site.backends["state-3"] = foreign.address
        router = site.start_router()
        users = Users(router.port)
        there = session_ids_on(("state-1", "state-3"), servers=3, count=40)
        users.save(there, b"old")
        foreign.saves_take = LONGER_THAN_A_COPY_MAY_TAKE
        users.save(there, b"new")
        foreign.saves_take = 0.0
        router.wait_until_serving(3)
        save_with_copies(router, users, there)
        assert router.serves(3)
        site.kill_server("state-1")

        assert "" == in_words(users.find_fault(patience=60.0, most_closed=0.0))


def save_with_copies(router: Router, users: Users, sessions: list[str]) -> None:
    """Save each session until its copies are written in time: of a degraded save nothing is promised."""

    def is_redundant(session: str) -> bool:
        before = router.metric("partitioner_degraded_writes_total")
        users.save([session], b"newest")
        return router.metric("partitioner_degraded_writes_total") == before

    for session in sessions:
        wait_until(partial(is_redundant, session), f"the copies of {session} are written")


def test_two_servers_behind_a_dead_switch(tmp_path: Path) -> None:
    """Two of four are silent for longer than it takes to eject them: sessions with both copies there stay."""
    both = ("state-1", "state-2")
    with site_in(tmp_path, servers=4) as site:
        router = site.start_router()
        users = Users(router.port)
        behind = session_ids_on(both, servers=4, count=24)
        users.save({*behind, *session_ids(40)}, b"kept")
        for name in both:
            site.freeze(name)
        for name in both:
            router.wait_until_health(name, "down")
        told = [reply.status for reply in users.read(behind).values() if reply is not None]
        for name in both:
            site.thaw(name)
        for name in both:
            router.wait_until_health(name, "up")

        told_lost = [f"{told.count(404)} of {len(behind)} told that they do not exist"] if told else []
        assert "" == in_words(told_lost, users.find_fault(most_closed=0.0))
