"""The conformance vectors, against state servers and through routers in front of three, by each path."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conformance.runner import VECTORS, Advance, Deviation, run_vector
from tests.end_to_end.conftest import ROUTERS, SERVERS, TARGETS
from tests.end_to_end.moved_clock import LOOK, VARIABLE, MovedClock
from tests.end_to_end.processes import Program, router, state_servers

TIME_VECTORS = [vector for vector in VECTORS if "time" in vector["tags"]]
AT_ONCE = [vector for vector in VECTORS if vector not in TIME_VECTORS]


def test_no_vector_is_left_out() -> None:
    """All 75 vectors are run, at once or by a clock that is moved."""
    assert len(AT_ONCE) + len(TIME_VECTORS) == len(VECTORS) == 75


@pytest.mark.parametrize("vector", AT_ONCE, ids=lambda vector: vector["id"])
async def test_vector(vector: dict[str, Any], ports: dict[str, int]) -> None:
    """State servers and routers, by each path, are the same to a client."""
    deviations: list[str] = []

    async def run_at(target: str) -> None:
        await run_all([vector], target, ports[target], trio.sleep, deviations)

    async with trio.open_nursery() as side_by_side:
        for target in TARGETS:
            side_by_side.start_soon(run_at, target)

    assert [] == deviations


# --- by a clock that is moved ---


@dataclass
class Moved:
    """A target whose time a test lets pass: its port, its clock and its processes."""

    port: int
    clock: MovedClock
    programs: Sequence[Program]

    async def advance(self, seconds: float) -> None:
        """Move the clock, a second at a time; after each one all processes have their turn."""
        for _ in range(round(seconds)):
            self.clock.move(1.0)
            for program in self.programs:
                program.process.send_signal(LOOK)
            await trio.sleep(1 / STEPS)


STEPS = 120
"""Seconds of the moved clock that pass in a real one."""

PATIENT = "health: {interval: 20s, timeout: 60s, hold_down: 0s}\ntimeouts: {copy: 50s, exchange: 100s}\n"
"""A step of the clock in the middle of a probe or of an exchange is not taken for trouble."""

MODULES = {
    "state server": "tests.end_to_end.by_moved_clock",
    "state server, slow path": "tests.end_to_end.by_moved_clock_without_epoll",
}


@contextmanager
def moved(target: str, directory: Path) -> Iterator[Moved]:
    """Start a target by a moved clock."""
    module = MODULES.get(target, MODULES["state server"])
    clock = MovedClock(directory / "clock")
    with pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        environment.setenv(VARIABLE, str(clock.file))
        stack.callback(clock.close)
        servers = stack.enter_context(state_servers(1 if target in SERVERS else 3, module=module))
        programs = [each.program for each in servers]
        if target in SERVERS:
            yield Moved(servers[0].port, clock, programs)
            return
        ports = [each.port for each in servers]
        in_front = stack.enter_context(router(directory, ports, PATIENT + ROUTERS[target], module=module))
        yield Moved(in_front.port, clock, [*programs, in_front.program])


@pytest.mark.parametrize("target", TARGETS)
async def test_vectors_that_need_time(target: str, tmp_path: Path) -> None:
    """Sessions slide and expire, and locks age."""
    deviations: list[str] = []
    with moved(target, tmp_path) as where:
        await run_all(TIME_VECTORS, target, where.port, where.advance, deviations)

    assert [] == deviations


async def test_the_moved_clock_is_what_counts(tmp_path: Path) -> None:
    """A session that expires after a minute is there while the clock is not moved, and then it is not."""
    (expiry,) = (vector for vector in TIME_VECTORS if vector["id"] == "expiry")

    async def stand_still(seconds: float) -> None:
        await trio.lowlevel.checkpoint()

    with moved("router", tmp_path) as where, pytest.raises(Deviation, match="status 200, expected 404"):
        await run_vector(expiry, "127.0.0.1", where.port, stand_still)


SINGLE_WAITS = ("lock-age", "expiry", "expiry-locked")


@pytest.mark.slow
async def test_real_time_is_real(ports: dict[str, int]) -> None:
    """The same for those of a single wait, by the clocks of the programs as they are shipped."""
    deviations: list[str] = []
    async with trio.open_nursery() as side_by_side:
        for target, port in ports.items():
            for vector in TIME_VECTORS:
                if vector["id"] in SINGLE_WAITS:
                    side_by_side.start_soon(run_all, [vector], target, port, trio.sleep, deviations)

    assert [] == deviations


async def run_all(
    vectors: Sequence[dict[str, Any]], target: str, port: int, advance: Advance, deviations: list[str]
) -> None:
    """Run vectors one after the other; what a target does otherwise is added to the deviations."""
    for vector in vectors:
        try:
            await run_vector(vector, "127.0.0.1", port, advance)
        except (Deviation, OSError, trio.TooSlowError) as error:
            deviations.append(f"{target}: {error or vector['id']!r}")
