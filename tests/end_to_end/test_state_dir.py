"""A router that is killed and started again still doubts whom the one before it had ejected."""

import time
from pathlib import Path

import httpx
import pytest

from partitioner.membership.backend import BackendId
from partitioner.membership.record_format import read_record
from tests.end_to_end.farm import NAMES, QUICK_PROBES, Farm, farm_in
from tests.end_to_end.processes import router
from tests.end_to_end.web_server import Closed, WebServer
from tests.identities import STATE_1, STATE_2, STATE_3, identities

SESSIONS = [f"session{number:017d}" for number in range(20)]
PATIENCE = 60.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "router-1.record"


def settings(file: Path) -> str:
    return f"{QUICK_PROBES}state_dir: {file.parent}\n"


def ports(farm: Farm) -> list[int]:
    return [farm.servers[name].port for name in NAMES]


def health_kept(file: Path, name: BackendId) -> str | None:
    """What the file says of a backend; None if it is not there, or says nothing of it."""
    if not file.exists():
        return None
    record = read_record(file.read_bytes(), "router-1", round(time.time() * 1000))
    entry = record.entry(name)
    return None if entry is None else entry.health


def wait_until_kept(file: Path, name: BackendId, health: str) -> None:
    """Wait until the file says this of a backend."""
    deadline = time.monotonic() + PATIENCE
    while health_kept(file, name) != health:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read_in_the_end(web: WebServer, session: str) -> bytes | None:
    """Read a session, for as long as its router closes the connection instead of an answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return web.read(session)
        except Closed:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_nothing_stale_is_read_after_a_restart(tmp_path: Path, file: Path) -> None:
    """A server that missed writes, and whose marks went with the router, is written to and not read."""
    with farm_in(tmp_path, settings(file)) as farm:
        for session in SESSIONS:
            farm.web.save(session, b"old")
        farm.servers["state-2"].program.freeze()
        farm.wait_until("backend is down.*backend=state-2")
        for session in SESSIONS:
            farm.web.save(session, b"new")
        wait_until_kept(file, STATE_2, "down")
        farm.in_front.program.kill()
        with router(tmp_path, ports(farm), settings(file)) as again, WebServer(again.port) as web:
            farm.servers["state-2"].program.thaw()
            again.program.wait_for("backend is recovering.*backend=state-2")

            assert [b"new"] * len(SESSIONS) == [web.read(session) for session in SESSIONS]


def test_those_that_were_up_are_up(tmp_path: Path, file: Path) -> None:
    """A router that is killed in settled times and started again reads everything."""
    with farm_in(tmp_path, settings(file)) as farm:
        for session in SESSIONS:
            farm.web.save(session, b"kept")
        for name in identities(NAMES):
            wait_until_kept(file, name, "up")
        farm.in_front.program.kill()
        with router(tmp_path, ports(farm), settings(file)) as again, WebServer(again.port) as web:
            again.program.wait_for("router started.*3 of 3 serve")

            assert [b"kept"] * len(SESSIONS) == [web.read(session) for session in SESSIONS]


def test_a_damaged_file(tmp_path: Path, file: Path) -> None:
    """It is set aside, which is said; what the state servers have of it is used."""
    with farm_in(tmp_path, settings(file)) as farm:
        farm.web.save(SESSIONS[0], b"kept")
        wait_until_kept(file, STATE_1, "up")
        farm.in_front.program.kill()
        file.write_bytes(file.read_bytes()[:-1])
        with router(tmp_path, ports(farm), settings(file)) as again, WebServer(again.port) as web:
            again.program.wait_for(r"state file set aside.*router-1\.record has a wrong checksum")

            assert b"kept" == read_in_the_end(web, SESSIONS[0])


def test_stopping_in_order_keeps_the_state(tmp_path: Path, file: Path) -> None:
    """What was so in the last moment is written down, too, and the events are told by the next router."""
    with farm_in(tmp_path, settings(file)) as farm:
        farm.servers["state-3"].program.kill()
        farm.wait_until("backend is down.*backend=state-3")
        farm.in_front.program.stop()

        assert "down" == health_kept(file, STATE_3)
        with router(tmp_path, ports(farm), settings(file)) as again:
            told = httpx.get(f"{again.admin}/api/v1/events").json()["events"]

    assert {"backend is down", "stopping"} <= {each["event"] for each in told}
    assert 2 == sum(each["event"] == "router started" for each in told)
