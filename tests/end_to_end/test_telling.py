"""What real processes say of what an operator got wrong, and what helps."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import Farm, farm_in, session_on
from tests.end_to_end.processes import kept_port, router, run_to_end, running
from tests.end_to_end.test_steering import steer

PATIENCE = 60.0


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with farm_in(tmp_path_factory.mktemp("farm")) as running_farm:
        yield running_farm


def written(directory: Path, text: str) -> str:
    """The path of a configuration of this text."""
    file = directory / "checked.yml"
    file.write_text(text)
    return str(file)


def test_a_router_entered_as_a_backend(farm: Farm, tmp_path: Path) -> None:
    """`check --connect` names it; the router that is asked says whose key that was."""
    file = written(tmp_path, f"backends: [{{name: a, address: '127.0.0.1:{farm.in_front.port}'}}]\n")
    ended = run_to_end("check", "-c", file, "--connect", "--json")

    assert 1 == ended.returncode
    assert [{"name": "a", "trouble": "is a router, this one or another; expected a state server"}] == [
        {"name": each["name"], "trouble": each["trouble"]} for each in json.loads(ended.stdout)["examined"]
    ]
    farm.wait_until("malformed request refused.*is this router entered as a backend there")


def test_a_wait_without_a_terminal(farm: Farm) -> None:
    """It prints lines, and Ctrl-C says what goes on, and how to end it."""
    session = session_on("state-1")
    farm.web.save(session, b"content")
    cookie = farm.web.ask(Operation.ACQUIRE, session).head.lock_cookie  # a page holds it: it is not moved
    with running("drain", "state-1", "--wait", "--admin", farm.in_front.admin) as draining:
        draining.wait_for(r"state-1: \d+ sessions moved, ")
        draining.process.send_signal(signal.SIGINT)
        code = draining.process.wait(PATIENCE)
    farm.web.save(session, b"content", cookie or 0)
    steer("ready", "state-1", "--wait", admin=farm.in_front.admin)

    assert 130 == code
    assert "the drain of state-1 goes on; `partitioner ready state-1` ends it" in draining.output
    assert "`partitioner ready state-1` ends it" in draining.output


def test_a_standby_whose_servers_are_all_away(tmp_path: Path) -> None:
    """It names them with their reasons, at its start and later. A claim would not help: none is named."""
    with kept_port() as one, kept_port() as other, router(tmp_path, [one, other]) as alone:
        alone.program.wait_for(r"router started as a standby.*\n")
        told = steer("status", admin=alone.admin).stdout
        output = alone.program.output

    reason = (
        f"no state server answers: state-1 (127.0.0.1:{one}) refused the connection, "
        f"state-2 (127.0.0.1:{other}) refused the connection"
    )
    assert f"No client is served yet: {reason}. That begins when one does." in " ".join(output.split())
    assert f"cause='{reason}'" in output
    assert "partitioner claim" not in output
    assert reason in " ".join(told.split())
    assert told.count("down (refused the connection)") == 2
