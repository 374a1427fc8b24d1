"""What the operating system says of this process."""

import os
import time
from pathlib import Path

import pytest
from prometheus_client.process_collector import ProcessCollector

from partitioner.ops.metrics.catalog import PROCESS
from partitioner.ops.metrics.process import process_families
from partitioner.ops.metrics.process_numbers import FILES_AT_A_TIME, count_files, process_numbers


async def test_as_the_client_library_says() -> None:
    """Every number is what prometheus-client itself would tell, but for what goes on meanwhile."""
    told = {
        sample.name: sample.value
        for each in process_families(await process_numbers())
        for sample in each.samples
    }
    theirs = ProcessCollector(registry=None).collect()
    expected = {sample.name: sample.value for each in theirs for sample in each.samples}

    assert list(PROCESS) == list(told)
    assert (
        pytest.approx(expected["process_resident_memory_bytes"], rel=0.2)
        == (told["process_resident_memory_bytes"])
    )
    assert expected["process_max_fds"] == told["process_max_fds"]
    assert pytest.approx(expected["process_cpu_seconds_total"], abs=1.0) == told["process_cpu_seconds_total"]
    assert (
        pytest.approx(expected["process_start_time_seconds"], abs=2.0) == told["process_start_time_seconds"]
    )
    assert told["process_start_time_seconds"] < time.time()


async def test_a_process_is_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When that was does not change, even when the machine's clock is put right."""
    first = await started_at()
    late = time.time() + 100.0
    monkeypatch.setattr(time, "time", lambda: late)

    assert first == await started_at()


async def started_at() -> float:
    told = {
        sample.name: sample.value
        for each in process_families(await process_numbers())
        for sample in each.samples
    }
    return told["process_start_time_seconds"]


@pytest.mark.parametrize("may_ask", [True, False])
async def test_open_files(may_ask: bool) -> None:
    """Open files are counted, whether or not the kernel knows how many there are."""
    directory = Path("/proc/self/fd")
    before = await count_files(directory, may_ask=may_ask)
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(FILES_AT_A_TIME)]
    after = await count_files(directory, may_ask=may_ask)
    for each in files:
        os.close(each)

    assert FILES_AT_A_TIME == after - before


async def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Less is told, and nothing fails."""
    monkeypatch.setattr("partitioner.ops.metrics.process_numbers._OWN", tmp_path)
    told = {sample.name for each in process_families(await process_numbers()) for sample in each.samples}

    assert {"process_cpu_seconds_total", "process_max_fds"} == told
