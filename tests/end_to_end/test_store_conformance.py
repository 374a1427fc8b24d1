"""The conformance vectors against state servers whose sessions are on a real engine."""

import struct
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conformance.runner import VECTORS, Advance, Deviation, run_vector
from tests.end_to_end.engines import REDIS, VALKEY, Engine, cluster, engine
from tests.end_to_end.processes import PARTITIONER, WITHOUT_EPOLL
from tests.end_to_end.store_servers import configured_store_server, store_server

TIME_VECTORS = [vector for vector in VECTORS if "time" in vector["tags"]]
SINGLE_WAITS = [vector for vector in TIME_VECTORS if vector["id"] in ("lock-age", "expiry", "expiry-locked")]
AT_ONCE = [vector for vector in VECTORS if vector not in TIME_VECTORS]

PATHS = (PARTITIONER, WITHOUT_EPOLL)
"""By the fast path with the slow one beside it, and by the slow path alone."""

_LOCKED_AT = slice(9, 17)  # of a record


@pytest.mark.parametrize("kind", [VALKEY, REDIS])
@pytest.mark.parametrize("module", PATHS)
async def test_vectors(kind: str, module: str, tmp_path: Path) -> None:
    """An engine's sessions are the same to a client as those in memory, by each path."""
    with (
        engine(tmp_path, kind) as running_engine,
        store_server(running_engine.url, module=module) as (_, port),
    ):
        deviations = await run_side_by_side(AT_ONCE, port, trio.sleep)

    assert [] == deviations


@pytest.mark.parametrize("kind", [VALKEY, REDIS])
@pytest.mark.parametrize("module", PATHS)
async def test_vectors_that_need_time(kind: str, module: str, tmp_path: Path) -> None:
    """Sessions slide and expire, and locks age: by the engine's clock, so all it holds is made older."""
    deviations: list[str] = []
    with (
        engine(tmp_path, kind) as running_engine,
        store_server(running_engine.url, module=module) as (_, port),
    ):

        async def grow_older(seconds: float) -> None:
            make_older(running_engine, seconds)
            await trio.lowlevel.checkpoint()

        for vector in TIME_VECTORS:  # one after the other: the others' sessions would grow older, too
            await run(vector, port, grow_older, deviations)

    assert [] == deviations


@pytest.mark.slow
@pytest.mark.parametrize("kind", [VALKEY, REDIS])
async def test_vectors_on_a_cluster(kind: str, tmp_path: Path) -> None:
    """Three primaries and three replicas are the same to a client as one engine."""
    with cluster(tmp_path, kind) as nodes:
        addresses = ", ".join(f"'127.0.0.1:{node.port}'" for node in nodes[:2])
        with configured_store_server(tmp_path, f"store:\n  cluster: [{addresses}]\n") as server:
            deviations = await run_side_by_side(AT_ONCE, server.port, trio.sleep)

    assert [] == deviations


@pytest.mark.slow
async def test_vectors_in_real_time(tmp_path: Path) -> None:
    """The same for those of a single wait, by the engine's own clock."""
    with engine(tmp_path) as running_engine, store_server(running_engine.url) as (_, port):
        deviations = await run_side_by_side(SINGLE_WAITS, port, trio.sleep)

    assert [] == deviations


async def run_side_by_side(vectors: list[dict[str, Any]], port: int, advance: Advance) -> list[str]:
    """Run vectors at the same time; what was otherwise than they expect."""
    deviations: list[str] = []
    async with trio.open_nursery() as side_by_side:
        for vector in vectors:
            side_by_side.start_soon(run, vector, port, advance, deviations)
    return deviations


async def run(vector: dict[str, Any], port: int, advance: Advance, deviations: list[str]) -> None:
    try:
        await run_vector(vector, "127.0.0.1", port, advance)
    except (Deviation, OSError, trio.TooSlowError) as error:
        deviations.append(str(error) or repr(vector["id"]))


def make_older(running_engine: Engine, seconds: float) -> None:
    """Make everything that an engine holds older by so many seconds."""
    names = running_engine.ask("KEYS", "aspnet:*")
    assert isinstance(names, list)
    for name in names:
        if name == b"aspnet:canary":
            continue
        left = running_engine.ask("PTTL", name)
        assert isinstance(left, int)
        record = running_engine.ask("GETRANGE", name, "0", "32")
        assert isinstance(record, bytes)
        (locked_at,) = struct.unpack("<d", record[_LOCKED_AT])
        older = struct.pack("<d", locked_at - 1000 * seconds)
        running_engine.ask("SETRANGE", name, str(_LOCKED_AT.start), older)
        if left >= 0:
            running_engine.ask("PEXPIRE", name, str(round(left - 1000 * seconds)))
