"""Bursts are worked off in slices: a few of many things at a time, and then everybody else has a turn.

A thousand connections may become overdue, be cut or be handed over at one moment. To react to each takes up
to a millisecond, and for as long as that goes on nobody else is served (design.md 6.6).
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

import trio

AT_A_TIME = 4
"""What may be begun before the others have a turn: two or three milliseconds of the slow path."""

T = TypeVar("T")


def in_slices(do: Callable[[T], None], things: Iterable[T], background: trio.Nursery) -> None:
    """Do it for the first few of these now, and for the others in the background, a few at each turn."""
    waiting = deque(things)
    _do_some(do, waiting)
    if waiting:
        background.start_soon(_do_others, do, waiting)


async def _do_others(do: Callable[[T], None], waiting: deque[T]) -> None:
    while waiting:
        await trio.lowlevel.checkpoint()
        _do_some(do, waiting)


def _do_some(do: Callable[[T], None], waiting: deque[T]) -> None:
    for _ in range(min(AT_A_TIME, len(waiting))):
        do(waiting.popleft())
