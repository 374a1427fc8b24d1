"""The checker sees what is wrong: what the users of a state server are told is changed behind their backs."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.knowledge.site import site_in
from tests.end_to_end.knowledge.users import Users, in_words, session_ids
from tests.end_to_end.web_server import WebServer

_tests = count()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory: Path = tmp_path_factory.mktemp("site")
    with site_in(directory, servers=1) as site:
        yield site.servers["state-1"].port


@pytest.fixture
def users(port: int) -> Users:
    """Those of five sessions that no other test has to do with."""
    users = Users(port)
    users.save(session_ids(5, 10 * next(_tests)), b"saved")
    return users


@pytest.fixture
def web(port: int) -> Iterator[WebServer]:
    with WebServer(port) as web:
        yield web


def test_all_is_well(users: Users) -> None:
    """Nothing is found, with a session removed and another one locked."""
    sessions = list(users.owed)
    users.remove(sessions[:1])
    users.acquire(sessions[1:2])

    assert "" == in_words(users.find_fault())
    users.save_held(b"saved")


def test_stale(users: Users, web: WebServer) -> None:
    sessions = list(users.owed)
    web.save(sessions[2], b"other")

    assert "1 of 5 stale" == in_words(users.find_fault())


def test_lost_and_back(users: Users, web: WebServer) -> None:
    """A session that is gone, and one that was removed and is there."""
    sessions = list(users.owed)
    users.remove(sessions[:2])
    web.save(sessions[0], b"saved")
    web.ask(Operation.REMOVE, sessions[4], cookie=0)

    assert "1 of 3 lost, 1 of 2 removed sessions back" == in_words(users.find_fault())


def test_a_lock_given_twice(users: Users, web: WebServer) -> None:
    sessions = list(users.owed)
    users.acquire(sessions[:2])
    web.ask(Operation.RELEASE, sessions[1], cookie=users.held[sessions[1]])

    assert "1 of 2 locks given twice" == in_words(users.find_fault())


def test_out_of_reach(users: Users) -> None:
    """Where nothing listens, every connection is closed until the patience ends."""
    users.turn_to(1)

    assert "5 of 5 out of reach" == in_words(users.find_fault(patience=0.0))
