"""Running servers that several tests share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.processes import (
    PARTITIONER,
    WITHOUT_EPOLL,
    forked_from_warm_processes,
    router,
    state_server,
    state_servers,
)

ROUTERS = {
    "router": "fast_path: off\n",
    "router, both paths": "fast_path: on\n",
    "router, both paths, one copy": "fast_path: on\ncopies: 1\n",
}
"""The routers that are compared with state servers, and their settings."""

SERVERS = {"state server": PARTITIONER, "state server, slow path": WITHOUT_EPOLL}
"""The state servers that they are compared with, and the module that runs each."""

TARGETS = (*SERVERS, *ROUTERS)


@pytest.fixture(scope="session", autouse=True)
def warm_processes() -> Iterator[None]:
    """All programs are forked, but for those whose start is tested."""
    with forked_from_warm_processes():
        yield


@pytest.fixture(scope="session")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of two state servers, and of the routers, each in front of three others."""
    with ExitStack() as stack:
        found = {
            name: stack.enter_context(state_server(module=module)).port for name, module in SERVERS.items()
        }
        for name, settings in ROUTERS.items():
            directory: Path = tmp_path_factory.mktemp("router")
            in_pool = [each.port for each in stack.enter_context(state_servers(3))]
            found[name] = stack.enter_context(router(directory, in_pool, settings)).port
        yield found
