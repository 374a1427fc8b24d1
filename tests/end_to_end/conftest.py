"""Running servers that several tests share, and the vectors that need time, run side by side."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from tests.conformance.runner import VECTORS, Deviation, run_vector
from tests.end_to_end.processes import WITHOUT_EPOLL, router, state_server

ROUTERS = {
    "router": "lanes: await\n",
    "router, both lanes": "lanes: both\n",
    "router, both lanes, one copy": "lanes: both\ncopies: 1\n",
}
"""The routers that are compared with state servers, and their settings."""

SERVERS = {"state server": "partitioner", "state server, await lane": WITHOUT_EPOLL}
"""The state servers that they are compared with, and the module that runs each."""

TARGETS = (*SERVERS, *ROUTERS)
TIME_VECTORS = [vector for vector in VECTORS if "time" in vector["tags"]]


@pytest.fixture(scope="session")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of two state servers, and of the routers, each in front of three others."""
    with ExitStack() as stack:
        found = {
            name: stack.enter_context(state_server(module=module)).port for name, module in SERVERS.items()
        }
        for name, settings in ROUTERS.items():
            directory: Path = tmp_path_factory.mktemp("router")
            in_pool = [stack.enter_context(state_server()).port for _ in range(3)]
            found[name] = stack.enter_context(router(directory, in_pool, settings)).port
        yield found


@pytest.fixture(scope="session")
def time_vectors(ports: dict[str, int]) -> dict[tuple[str, str], Future[None]]:
    """The outcomes to come of all vectors that need time to pass, by target and id.

    They start with the first of the vectors and are asked for last, so other tests run meanwhile.
    """
    outcomes: dict[tuple[str, str], Future[None]] = {
        (target, vector["id"]): Future() for target in TARGETS for vector in TIME_VECTORS
    }

    async def run_one(target: str, vector_id: str) -> None:
        (vector,) = (vector for vector in TIME_VECTORS if vector["id"] == vector_id)
        try:
            await run_vector(vector, "127.0.0.1", ports[target])
        except (Deviation, OSError, trio.TooSlowError) as error:
            outcomes[target, vector_id].set_exception(error)
        else:
            outcomes[target, vector_id].set_result(None)

    async def run_all() -> None:
        async with trio.open_nursery() as side_by_side:
            for target, vector_id in outcomes:
                side_by_side.start_soon(run_one, target, vector_id)

    thread = threading.Thread(target=trio.run, args=(run_all,), daemon=True)
    thread.start()
    return outcomes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for time to pass comes last."""
    items.sort(key=lambda item: item.get_closest_marker("passes_time") is not None)
