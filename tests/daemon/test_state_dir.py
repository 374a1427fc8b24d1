"""The file of a router in its state directory: read, set aside, and written."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock

from partitioner.daemon.state_dir import StateDir
from partitioner.errors import BackendRefused, FileUnusable, Phase
from partitioner.membership.health import Health, HealthPolicy
from partitioner.membership.pool import Pool, first_pool
from partitioner.ops.log import LogObserver, configure_log
from tests.doubles.routers import MemoryRouter

Screen = pytest.CaptureFixture[str]

FALL = 3
T_MAX = 3600.0


@pytest.fixture(autouse=True)
def structlog_as_before() -> Iterator[None]:
    """The log is configured for the whole process; other tests shall not notice."""
    yield
    structlog.reset_defaults()


def state_dir_in(directory: Path) -> StateDir:
    configure_log(as_json=True)
    return StateDir(directory, "router-1", T_MAX, LogObserver())


def opened(directory: Path) -> StateDir:
    state_dir = state_dir_in(directory)
    state_dir.read()
    return state_dir


def said(capsys: Screen) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def router_of(nursery: trio.Nursery) -> MemoryRouter:
    router = MemoryRouter(nursery, 3, copies=2)
    router.take_in()
    return router


def have_fallen(router: MemoryRouter, name: str) -> None:
    for _ in range(FALL):
        router.roster.probe_failed(BackendRefused(name, Phase.CONNECTING, "refused"))


def pool_at_start(state_dir: StateDir, router: MemoryRouter) -> Pool:
    first = first_pool(router.backends, HealthPolicy(), 2, trio.current_time())
    return state_dir.recall_pool(first, HealthPolicy())


def doubted(pool: Pool) -> list[str]:
    """Who is not read when it is found in the life that it had."""
    return [name for name, member in pool.members.items() if member.record.doubted_until > 0]


async def test_the_first_start(tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where nothing was kept nobody is doubted; the directory is made."""
    state_dir = opened(tmp_path / "some" / "where")

    assert [] == doubted(pool_at_start(state_dir, router_of(nursery)))
    assert (tmp_path / "some" / "where").is_dir()


async def test_what_was_kept_at_the_end(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The next router doubts whom this one left DOWN, and knows how long sessions live."""
    router = router_of(nursery)
    router.ledger.note_timeout(b"/key", 120)
    have_fallen(router, "state-2")
    opened(tmp_path).keep_last(router.lane)
    next_router = router_of(nursery)
    state_dir = opened(tmp_path)
    state_dir.recall_rest(next_router.lane)

    assert ["state-2"] == doubted(pool_at_start(state_dir, next_router))
    assert 7_200.0 == next_router.ledger.longest_life
    assert ["state-2"] == [hole.identity for hole in next_router.roster.redundancy.holes if hole.identity]


async def test_damage(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock, capsys: Screen
) -> None:
    """A damaged file is set aside; nobody is believed then, and the log says how to vouch for somebody."""
    state_dir = state_dir_in(tmp_path)
    state_dir.path.write_bytes(b"not ours")
    state_dir.read()
    pool = pool_at_start(state_dir, router_of(nursery))

    assert ["state-1", "state-2", "state-3"] == doubted(pool)
    assert b"not ours" == (tmp_path / "router-1.state.damaged-1").read_bytes()
    assert ["state file set aside", "no backend can be read"] == [line["event"] for line in said(capsys)]


async def test_vouching(tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After damage a backend is RECOVERING, until it is said to be ready or T_max has passed."""
    state_dir = state_dir_in(tmp_path)
    state_dir.path.write_bytes(b"not ours")
    state_dir.read()
    router = MemoryRouter(nursery, 3, copies=2)
    router.roster.pool = pool_at_start(state_dir, router)
    router.take_in()
    found = {name: member.record.health for name, member in router.roster.pool.members.items()}
    router.roster.set_intent("state-2", router.backends[1].intent)

    assert dict.fromkeys(("state-1", "state-2", "state-3"), Health.RECOVERING) == found
    assert {"state-2"} == router.serving


async def test_a_file_that_cannot_be_written_any_more(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock, capsys: Screen
) -> None:
    """It is said once, and the router goes on."""
    router = router_of(nursery)
    state_dir = opened(tmp_path / "directory")
    (tmp_path / "directory").rmdir()
    for _ in range(3):
        state_dir.keep_last(router.lane)

    assert ["state cannot be kept"] == [line["event"] for line in said(capsys)]


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    """What would fail later is found at the start."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(FileUnusable, match=r"router-1\.state cannot be used: (Not a directory|File exists)"):
        opened(tmp_path / "file")
