"""A relay to look into, for tests of the express lane."""

from collections.abc import Iterator

import pytest
import trio

from tests.fastpath.router_setup import Platform


@pytest.fixture
def platform(nursery: trio.Nursery) -> Iterator[Platform]:
    platform = Platform(nursery)
    yield platform
    platform.close()
