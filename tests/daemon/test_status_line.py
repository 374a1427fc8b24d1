"""How a daemon is, in a line."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.daemon.notify import (
    Rate,
    coarse_duration,
    coarse_number,
    round_size,
    router_status,
    state_server_status,
)
from partitioner.membership.health import HealthPolicy
from partitioner.sessions.table import SessionTable
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import MemoryRouter
from tests.tables import each_case

DURATIONS = [
    (0.0, "less than a minute"),
    (59.9, "less than a minute"),
    (60.0, "1 min"),
    (7199.0, "119 min"),
    (7200.0, "2 h"),
    (172_799.0, "47 h"),
    (172_800.0, "2 days"),
]


@each_case(("seconds", "text"), DURATIONS)
def test_durations_are_coarse(seconds: float, text: str) -> None:
    """To the unit of which there are at least two."""
    assert text == coarse_duration(seconds)


@each_case(("number", "text"), [(0.0, "0"), (0.25, "0.25"), (344.0, "340"), (12_345.0, "12000")])
def test_numbers_are_coarse(number: float, text: str) -> None:
    """To two digits."""
    assert text == coarse_number(number)


@pytest.mark.parametrize(("size", "rounded"), [(1000, 1000), (3 * 2**20 - 1, 2 * 2**20)])
def test_sizes_are_coarse(size: int, rounded: int) -> None:
    """To a MiB."""
    assert rounded == round_size(size)


def test_a_rate_is_of_the_time_since_it_was_last_asked() -> None:
    """Whatever came before does not count."""
    count, now = 100, 10.0
    rate = Rate(lambda: count, lambda: now)
    count, now = 120, 20.0
    first = rate.per_second()
    at_once = rate.per_second()
    count, now = 121, 21.0

    assert [2.0, 0.0, 1.0] == [first, at_once, rate.per_second()]


async def test_a_router_says_who_serves(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """And whether one of them may fail, and how busy it is."""
    router = MemoryRouter(nursery, 2, copies=2, health=HealthPolicy(interval=1000.0))
    for each in router.backends:
        MemoryStateServer(router.network, each.address)
    requests = Rate(lambda: 0, trio.current_time)
    before = router_status(router.core, requests, trio.current_time())
    await router.probe_on()
    await trio.sleep(10_000)

    assert "0 of 2 serve, not redundant, 0 requests/s" == before
    assert "2 of 2 serve, redundant for 2 h, 0 requests/s" == router_status(
        router.core, requests, trio.current_time()
    )


def test_a_state_server_says_how_full_it_is() -> None:
    """And how busy it is."""
    assert "0 sessions, 0B, 0 requests/s" == state_server_status(
        SessionTable(None), Rate(lambda: 0, lambda: 0.0)
    )
