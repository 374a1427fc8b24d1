"""Where a router keeps its state: by its configuration, else by its environment."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from partitioner.config import Settings, parse
from partitioner.daemon.state_dir import StatePlace, state_place
from tests.tables import each_case

POOL = "name: edge\nbackends: [{name: a, address: 10.0.0.1:42424}]\n"
HOME = {"HOME": "/home/op"}
XDG = {"XDG_STATE_HOME": "/var/op"}
SYSTEMD = {"STATE_DIRECTORY": "/var/lib/partitioner"}

DEFAULTS = [
    (SYSTEMD | XDG | HOME, "/var/lib/partitioner"),
    ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
    (XDG | HOME, "/var/op/partitioner/edge"),
    (HOME, "/home/op/.local/state/partitioner/edge"),
    ({"XDG_STATE_HOME": "relative"} | HOME, "/home/op/.local/state/partitioner/edge"),
    ({"XDG_STATE_HOME": "", "STATE_DIRECTORY": ""} | HOME, "/home/op/.local/state/partitioner/edge"),
]


@each_case(("environment", "directory"), DEFAULTS)
def test_the_default(environment: dict[str, str], directory: str) -> None:
    """systemd's directory comes before that of the XDG specification, which has a default of its own."""
    place = state_place(parse(POOL), environment)

    assert StatePlace(Path(directory), is_asked_for=False) == place


def test_the_one_that_is_asked_for() -> None:
    """What the file says goes before everything."""
    place = state_place(parse(f"{POOL}state_dir: /srv/x"), SYSTEMD | XDG | HOME)

    assert StatePlace(Path("/srv/x"), is_asked_for=True) == place


def test_nowhere() -> None:
    """Nothing is kept where the file says so, for embedded servers, and for a user without a home."""
    assert state_place(parse(f"{POOL}state_dir: none"), HOME) is None
    assert state_place(Settings(embedded=3), HOME) is None
    assert state_place(parse(POOL), {}) is None


def test_a_directory_that_could_be_made(tmp_path: Path) -> None:
    """Looking makes nothing."""
    assert StatePlace(tmp_path / "some" / "where", is_asked_for=True).why_unusable() is None
    assert [] == list(tmp_path.iterdir())


def test_a_directory_below_a_file(tmp_path: Path) -> None:
    """The part of the path that stands in the way is named."""
    (tmp_path / "file").write_bytes(b"")

    reason = StatePlace(tmp_path / "file" / "x", is_asked_for=True).why_unusable()

    assert f"{tmp_path}/file is not a directory" == reason


def test_a_file_system_that_takes_none() -> None:
    """Permissions do not tell; even root cannot make anything below /proc."""
    reason = StatePlace(Path("/proc/partitioner"), is_asked_for=True).why_unusable()

    assert reason is not None
    assert reason.startswith("/proc cannot be written to")


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Root may write everywhere, so tests that run as root are another user for a moment."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_a_directory_that_cannot_be_written_to(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What would fail is known before the router is started."""
    tmp_path.chmod(0o500)
    request.getfixturevalue("ordinary_user")

    reason = StatePlace(tmp_path / "x", is_asked_for=True).why_unusable()

    assert reason is not None
    assert reason.endswith("cannot be written to by this user")
