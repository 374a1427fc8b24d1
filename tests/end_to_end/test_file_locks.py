"""Two processes never use one state file: the second is refused, or does without."""

from pathlib import Path

from tests.end_to_end.processes import CONFIGURATION, Program, router, running, state_server

STOPPED = 60.0


def refusal(program: Program) -> str:
    """Wait until a program that cannot start has ended with exit code 1; the line that says why."""
    assert program.process.wait(STOPPED) == 1
    return program.wait_for(r"Error: .*")[0]


def test_a_second_router_in_a_state_dir(tmp_path: Path) -> None:
    """A router of the same name is refused a directory that was asked for; the holder is named."""
    settings = f"state_dir: {tmp_path}/state\n"
    with state_server() as server, router(tmp_path, [server.port], settings) as first:
        with running("serve", "-c", str(tmp_path / CONFIGURATION)) as second:
            said = refusal(second)

        holder = first.program.process.pid
        assert said == f"Error: {tmp_path}/state/router-1.record is in use by process {holder}"


def test_a_default_state_dir_that_is_in_use(tmp_path: Path) -> None:
    """It was not asked for: the second router says so, and serves."""
    file, environment = tmp_path / CONFIGURATION, {"XDG_STATE_HOME": str(tmp_path)}
    with state_server() as server:
        backends = f"backends: [{{name: a, address: '127.0.0.1:{server.port}'}}]"
        file.write_text(f"listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n{backends}\n")
        with running("serve", "-c", str(file), environment=environment) as first:
            first.wait_for("router started")
            with running("serve", "-c", str(file), environment=environment) as second:
                holder = first.process.pid
                second.wait_for(rf"state is not kept.*router-1\.record is in use by process {holder}")
                second.wait_for("router started")


def test_a_second_state_server_with_a_state_file(tmp_path: Path) -> None:
    """Whichever port it listens on, it is refused, and leaves the file alone."""
    arguments = ("--state-file", str(tmp_path / "sessions"))
    with state_server(0, *arguments) as first:
        with running("state-server", "--listen", "127.0.0.1:0", *arguments) as second:
            said = refusal(second)

        assert said == f"Error: {tmp_path}/sessions is in use by process {first.program.process.pid}"


def test_the_next_process_gets_the_file(tmp_path: Path) -> None:
    """A process that was killed holds nothing."""
    arguments = ("--state-file", str(tmp_path / "sessions"))
    with state_server(0, *arguments) as first:
        first.program.kill()
        with state_server(0, *arguments) as second:
            assert second.program.stop() == 0
