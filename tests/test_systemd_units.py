"""The units in conf/systemd are right: systemd reads them, and their commands are ours."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from partitioner.cli import main

UNITS = Path(__file__).parent.parent / "conf" / "systemd"
SERVICES = ("partitioner.service", "partitioner-state-server.service")
PROGRAM = "/opt/partitioner/bin/partitioner"


def values(unit: str, key: str) -> list[str]:
    """What a unit says under a key, with continued lines joined."""
    text = (UNITS / unit).read_text().replace("\\\n", " ")
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """No misspelt key, no value out of range, no command that is not there."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        assert not os.environ.get("CI"), "systemd-analyze is missing (Debian: apt-get install systemd)"
        pytest.skip("systemd-analyze is not there; Debian has it in the package systemd")
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, sys.executable))
    ended = subprocess.run(
        [verify, "verify", *(str(unit) for unit in sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )

    assert (0, "") == (ended.returncode, ended.stdout + ended.stderr)


@pytest.mark.parametrize("unit", SERVICES)
def test_the_commands_are_ours(unit: str) -> None:
    """Every verb and option exists."""
    for command in values(unit, "ExecStart"):
        program, verb, *arguments = shlex.split(command)
        main.commands[verb].make_context(verb, arguments).close()

        assert PROGRAM == program


@pytest.mark.parametrize("unit", SERVICES)
def test_files_are_where_the_service_may_write(unit: str) -> None:
    """All else of the file system is read-only for it."""
    [directory] = values(unit, "StateDirectory")
    written = re.findall(r"(?:--state-file |state_dir: )(/var/lib/[a-z-]+)", (UNITS / unit).read_text())

    assert [f"/var/lib/{directory}"] == sorted(set(written))


def test_the_services_are_hardened_alike() -> None:
    """What one of them may not do, the other may not do either."""
    hardening = [
        key
        for key in re.findall(r"^([A-Z]\w+)=", (UNITS / SERVICES[0]).read_text(), re.MULTILINE)
        if key.startswith(("Protect", "Private", "Restrict", "System", "NoNew", "Cap", "Memory", "Lock"))
        and not key.startswith("RestrictPrevent")
    ]

    assert len(hardening) > 15
    assert [values(SERVICES[0], key) for key in hardening] == [values(SERVICES[1], key) for key in hardening]


def test_the_socket_is_the_state_port() -> None:
    """Under the name by which the router knows it, and on the port that web servers know."""
    unit = RawConfigParser()
    unit.read(UNITS / "partitioner.socket")

    assert ("state", "no") == (unit["Socket"]["FileDescriptorName"], unit["Socket"]["Accept"])
    assert unit["Socket"]["ListenStream"].endswith(":42424")
