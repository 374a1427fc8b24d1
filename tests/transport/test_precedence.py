"""Large bodies come in one after the other, the oldest first; none that does not come on holds others up."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.transport.precedence import LARGE, STALLED, STORED, ComingBody, Precedence
from tests.tables import each_case

BODY = 2 * LARGE
A_PIECE = 0.1
"""Seconds."""


async def come_in(body: ComingBody, stored: list[int]) -> None:
    """In ten pieces; it is stored at once then."""
    try:
        for _ in range(10):
            await body.wait_for_turn()
            await trio.sleep(A_PIECE)
        body.complete()
    finally:
        body.end()
    stored.append(body.number)


async def test_the_oldest_comes_first(autojump_clock: MockClock) -> None:
    """Each takes as long as alone, in the order of their beginnings; or in pairs."""
    found = []
    for window in (BODY, 2 * BODY):
        precedence, stored, began_at = Precedence(window), list[int](), trio.current_time()
        bodies = [precedence.begin(BODY) for _ in range(4)]
        async with trio.open_nursery() as coming:
            for body in bodies:
                coming.start_soon(come_in, body, stored)
                await wait_all_tasks_blocked()
        found.append((stored if window == BODY else sorted(stored), round(trio.current_time() - began_at, 3)))

    assert [([1, 2, 3, 4], 4.0), ([1, 2, 3, 4], 2.0)] == found


async def wait_beside(precedence: Precedence, what: str) -> None:
    """One that is as it is called holds the only turn, or has left it."""
    other = precedence.begin(BODY)
    await other.wait_for_turn()
    if what == "whole":
        other.complete()
    if what == "broken off":
        other.end()


WAITS = [
    ("silent", BODY, STALLED),
    ("whole", BODY, STORED),
    ("broken off", BODY, 0.0),
    ("silent", LARGE, 0.0),  # a smaller one waits for nobody
]


@each_case(("other", "told", "expected"), WAITS)
async def test_how_long_a_body_waits(
    other: str, told: int, expected: float, autojump_clock: MockClock
) -> None:
    """For one that sends no more, or whose state server hangs, not longer than a moment."""
    precedence, began_at = Precedence(BODY), trio.current_time()
    await wait_beside(precedence, other)
    await precedence.begin(told).wait_for_turn()

    assert expected <= trio.current_time() - began_at <= expected + STALLED
    with trio.move_on_after(STALLED / 2):  # who gives up while it waits has no turn
        await precedence.begin(BODY).wait_for_turn()
    assert "0 wait" in repr(precedence)
