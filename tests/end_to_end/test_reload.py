"""SIGHUP at a running router: servers join, and a file that cannot be applied changes nothing."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.farm import Farm, farm_in
from tests.end_to_end.processes import running, state_server

SESSIONS = [f"session{number:017d}" for number in range(60)]


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    with farm_in(tmp_path) as running_farm:
        yield running_farm


def reload(farm: Farm, file: str) -> None:
    """Write the router's file, and have it read."""
    farm.file.write_text(file)
    farm.in_front.program.process.send_signal(signal.SIGHUP)


def test_a_fourth_server_joins_and_sessions_survive(farm: Farm) -> None:
    """Every session is read back after the join, saved before it or since; the plan is logged."""
    for session in SESSIONS:
        farm.web.save(session, session.encode())
    with state_server() as fourth:
        reload(farm, farm.file.read_text() + f"  - {{name: state-4, address: '127.0.0.1:{fourth.port}'}}\n")
        farm.wait_until(r"subject=state-4 change='joins at 127.*takes 2[0-9]\.[0-9] % of the sessions")
        farm.wait_until(r"configuration reloaded.*cause=SIGHUP.*2[0-9]\.[0-9] % of the sessions")
        farm.wait_until(r"backend is up.*backend=state-4.*4 of 4 serve")

        assert [each.encode() for each in SESSIONS] == [farm.web.read(each) for each in SESSIONS]
        for session in SESSIONS:
            farm.web.save(session, b"since")
        assert [b"since"] * len(SESSIONS) == [farm.web.read(each) for each in SESSIONS]


def test_an_invalid_file_changes_nothing(farm: Farm) -> None:
    """The log has every problem, and the router serves on."""
    farm.web.save("kept", b"kept")
    reload(farm, farm.file.read_text().replace("health:", "helth:") + "  - {name: state-4}\n")
    farm.wait_until(r"reload invalid.*helth: unknown key; did you mean 'health'\?")
    farm.wait_until(r"reload invalid.*backends\[3\]\.address: missing.*what was in force goes on")

    assert farm.web.read("kept") == b"kept"


def test_a_changed_listen_address_is_refused(farm: Farm) -> None:
    """Nothing of that file is applied, and the key is named; the next right file is taken."""
    right = farm.file.read_text()
    reload(farm, right.replace("listen: 127.0.0.1:0", "listen: 127.0.0.1:1\ncopies: 1"))
    farm.wait_until(r"reload refused.*listen: changed from 127\.0\.0\.1:0 to 127\.0\.0\.1:1, which takes")
    reload(farm, right)
    farm.wait_until(r"configuration reloaded.*none: the file says what is in force already")

    assert farm.web.read("nobody's") is None


def test_without_a_file_there_is_nothing_to_reload() -> None:
    """A router that was started without one says so, and so does a state server; both go on."""
    with running("serve", "--listen", "127.0.0.1:0") as program, state_server() as server:
        program.wait_for("router started")
        for each in (program, server.program):
            each.process.send_signal(signal.SIGHUP)
        program.wait_for(r"reload refused.*there is no file to read: the router was started without -c")
        server.program.wait_for(r"SIGHUP ignored.*a state server has no file to reload")

        assert [0, 0] == [program.stop(), server.program.stop()]


def test_the_listen_option_is_not_mistaken_for_a_change(tmp_path: Path) -> None:
    """`serve --listen` stands in place of the file's address in a reload as well."""
    file = tmp_path / "partitioner.yml"
    file.write_text("embedded: 1\n")
    with running("serve", "-c", str(file), "--listen", "127.0.0.1:0") as program:
        program.wait_for("router started")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for(r"configuration reloaded.*none: the file says what is in force already")
