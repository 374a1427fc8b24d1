"""A fast router to look into, for tests of the fast path."""

from collections.abc import Iterator

import pytest
import trio

from tests.fastpath.router_setup import RouterSetup


@pytest.fixture
def router_setup(nursery: trio.Nursery) -> Iterator[RouterSetup]:
    router_setup = RouterSetup(nursery)
    yield router_setup
    router_setup.close()
