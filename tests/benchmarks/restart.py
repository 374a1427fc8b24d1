"""What an exchange costs before and after a restart of the router: `python -m tests.benchmarks.restart`.

Each program that is given has four state servers, and a router that keeps two copies, in processes of their
own. Sessions are created and worked on; then the router is stopped in order and started again, and the same
sessions are worked on. Several programs take turns. Printed is the CPU time of the router for each exchange,
in microseconds: before the restart, and in the slices after it.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import trio

from tests.benchmarks.accounting import running_seconds
from tests.benchmarks.load import Load

SERVERS = 4
CONNECTIONS = 32
SLICES = 3
PROGRAM = (str(Path(sys.executable).with_name("partitioner")),)

CONFIGURATION = """name: farm
listen: 127.0.0.1:{port}
admin: 127.0.0.1:{admin}
state_dir: {directory}/state
backend_token_file: {directory}/token
copies: 2
backends:
{backends}"""


@click.command()
@click.option("--program", "programs", multiple=True, default=PROGRAM, help="A partitioner to measure.")
@click.option("--rounds", default=3, show_default=True, help="How often each takes its turn.")
@click.option("--sessions", default=3000, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="The length of a slice.")
def main(programs: tuple[str, ...], rounds: int, sessions: int, seconds: float) -> None:
    """Measure, and print a line for each turn."""
    names = [f"{number * seconds:g} s after" for number in range(SLICES)]
    click.echo("  ".join(["us an exchange:", "before", *names, "program"]))
    for _ in range(rounds):
        for program in programs:
            with tempfile.TemporaryDirectory() as directory:
                costs = trio.run(measure, program, Path(directory), sessions, seconds)
            click.echo("  ".join([*(f"{each * 1e6:8.0f}" for each in costs), program]))


async def measure(program: str, directory: Path, sessions: int, seconds: float) -> list[float]:
    """The CPU seconds of an exchange: before the restart, and in each slice after it."""
    ports = [free_port() for _ in range(SERVERS + 1)]
    path = directory / "partitioner.yml"
    admins = [free_port() for _ in range(SERVERS)]
    path.write_text(configuration(ports, admins, directory))
    token = directory / "token"
    token.touch(0o600)
    token.write_text("a token of state servers that list what they hold\n".replace(" ", "-"))
    with ExitStack() as stack:
        for port, admin in zip(ports[1:], admins, strict=True):
            serve = ["state-server", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
            serve += ["--admin-token-file", str(token)]
            stack.enter_context(running(program, serve, port, directory))
        load = Load(ports[0], CONNECTIONS, sessions, 1024)
        serve = ["serve", "-c", str(path)]
        with running(program, serve, ports[0], directory) as router:
            await load.create()
            await cost(load, router, seconds)
            costs = [await cost(load, router, seconds)]
            load.close()  # the connections; the sessions are worked on over new ones
        with running(program, serve, ports[0], directory) as router:
            for _ in range(SLICES):
                costs.append(await cost(load, router, seconds))
            load.close()
    return costs


async def cost(load: Load, router: "subprocess.Popen[bytes]", seconds: float) -> float:
    before = running_seconds(router.pid)
    counters = await load.work(seconds, None)
    return (running_seconds(router.pid) - before) / counters.exchanges


def configuration(ports: list[int], admins: list[int], directory: Path) -> str:
    lines = [
        f"  - {{name: state-{port}, address: '127.0.0.1:{port}', admin: '127.0.0.1:{admin}'}}"
        for port, admin in zip(ports[1:], admins, strict=True)
    ]
    return CONFIGURATION.format(
        port=ports[0], admin=free_port(), directory=directory, backends="\n".join(lines) + "\n"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    program: str, arguments: list[str], port: int, directory: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that listens there, until it is stopped in order."""
    with (directory / f"{port}.log").open("ab") as log:
        process = subprocess.Popen(
            [program, *arguments], stdout=log, stderr=log, env=os.environ, cwd=directory
        )
    try:
        wait_until_it_listens(port, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40.0)


def wait_until_it_listens(port: int, process: "subprocess.Popen[bytes]") -> None:
    give_up_at = time.monotonic() + 30.0
    while process.poll() is None and time.monotonic() < give_up_at:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise click.ClickException(f"nothing listens at port {port}")


if __name__ == "__main__":
    main()
