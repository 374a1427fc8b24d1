"""A real engine for all tests of the store: each test begins with an empty one."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.engines import Engine, engine
from tests.store.talk import Talk


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def talk(valkey: Engine) -> Iterator[Talk]:
    """A connection to an empty engine."""
    with Talk(valkey.port) as connected:
        connected.ask(b"FLUSHALL")
        connected.ask(b"CONFIG", b"SET", b"maxmemory", b"0")
        yield connected
