"""One of three state servers fails under load: what its sessions see, with one copy of them and with two."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from partitioner.bench.findings import Finding, Kind
from partitioner.bench.run import Bench, Plan, Stage
from partitioner.membership.backend import Address
from partitioner.placement.session_id import session_id
from partitioner.protocol.target import canonical_key
from tests.end_to_end.farm import FAST_PATH, ONE_COPY, QUICK_PROBES, Farm, farm_in, first_choice
from tests.end_to_end.processes import state_server

VICTIM = "state-2"
RATE = 300.0
EXCHANGES_BETWEEN = 300
"""Exchanges that must succeed before and after each step of a fault, so that all sessions are touched."""

A_MOMENT = 0.01

Fault = Callable[[Farm, Bench, ExitStack], Awaitable[None]]


async def killed(farm: Farm, bench: Bench, stack: ExitStack) -> None:
    farm.servers[VICTIM].program.kill()
    await log_says(farm, f"backend is down.*backend={VICTIM}")
    await exchanges(bench)


async def frozen_and_thawed(farm: Farm, bench: Bench, stack: ExitStack) -> None:
    farm.servers[VICTIM].program.freeze()
    await log_says(farm, f"backend is down.*backend={VICTIM}")
    await exchanges(bench)
    farm.servers[VICTIM].program.thaw()
    await log_says(farm, f"backend is back.*backend={VICTIM}.*still holds what it held")
    await exchanges(bench)


async def restarted(farm: Farm, bench: Bench, stack: ExitStack) -> None:
    assert farm.servers[VICTIM].program.stop() == 0
    stack.enter_context(state_server(farm.servers[VICTIM].port))
    await log_says(farm, f"backend is back.*backend={VICTIM}.*starts empty")
    await exchanges(bench)


FAULTS = [killed, frozen_and_thawed, restarted]


@pytest.mark.parametrize("fast_path", FAST_PATH)
@pytest.mark.parametrize("fault", FAULTS)
async def test_sessions_of_the_other_servers_notice_nothing(
    fault: Fault, fast_path: str, tmp_path: Path
) -> None:
    """Whatever is lost or stale with one copy belongs to the server that failed; nothing is ever wrong.

    A server that froze still has its sessions: they are waited for, and none is lost.
    """
    bench, findings = await run_through(fault, tmp_path, ONE_COPY + fast_path)

    owners = {first_choice(session_id(canonical_key(bench.targets[each.session]))) for each in findings}
    assert owners == (set() if fault is frozen_and_thawed else {VICTIM})
    assert {each.kind for each in findings} <= {Kind.LOST, Kind.STALE}


@pytest.mark.parametrize("fast_path", FAST_PATH)
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_session_is_lost_with_two_copies(fault: Fault, fast_path: str, tmp_path: Path) -> None:
    """With two copies one server may fail in any of these ways: nothing is lost, stale or wrong (P3, P4)."""
    _, findings = await run_through(fault, tmp_path, QUICK_PROBES + fast_path)

    assert findings == []


async def run_through(fault: Fault, directory: Path, settings: str) -> tuple[Bench, list[Finding]]:
    """Have a farm live through a fault under load; the load, and what it found."""
    findings: list[Finding] = []
    with farm_in(directory, settings) as farm, ExitStack() as stack:
        address = Address("127.0.0.1", farm.in_front.port)
        plan = Plan(address, connections=16, sessions=150, duration=60.0, rate=RATE, timeout=9.0)
        bench = Bench(plan, findings.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run)
            await exchanges(bench)
            await fault(farm, bench, stack)
            bench.stop()
    return bench, findings


async def exchanges(bench: Bench) -> None:
    """Wait until the bench has had so many more successes."""
    while bench.stage is Stage.CREATING:
        await trio.sleep(A_MOMENT)
    wanted = bench.counters.succeeded + EXCHANGES_BETWEEN
    while bench.counters.succeeded < wanted:
        await trio.sleep(A_MOMENT)


async def log_says(farm: Farm, pattern: str) -> None:
    await trio.to_thread.run_sync(farm.wait_until, pattern)
