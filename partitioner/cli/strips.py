"""An hour in one line of text: heights of a curve, and states of a server. Pure.

A state is a character of its own, so that it is read without colours as well.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.text import Text

from partitioner.ops.admin.reports import STEPS, WORST_FIRST

HEIGHTS = "▁▂▃▄▅▆▇█"
PLAIN_HEIGHTS = "_.-=+*#@"
"""For terminals that show ASCII alone."""

_CHARACTERS = {
    "up": "-",
    "active": "-",
    "down": "X",
    "recovering": "r",
    "unknown": "?",
    "claiming": "?",
    "drain": "d",
    "maint": "m",
    "removed": "o",
    "standby": "=",
}
_COLOURS = {"up": "green", "active": "green", "down": "bold red", "recovering": "yellow", "unknown": "yellow"}


def curve(values: Sequence[float | None], width: int, heights: str = HEIGHTS) -> str:
    """The highest value of each column, `width` of them for an hour; a blank where there is none."""
    most = max((each for each in values if each is not None), default=0.0)
    drawn = ""
    for column in _columns(values, width):
        seen = [each for each in column if each is not None]
        drawn += _height(max(seen), most, heights) if seen else " "
    return drawn


def _height(value: float, most: float, heights: str) -> str:
    if most <= 0:
        return heights[0]
    return heights[min(len(heights) - 1, int(value / most * len(heights)))]


def strip(states: Sequence[str], width: int) -> Text:
    """The worst state of each column, `width` of them for an hour."""
    drawn = Text()
    worst = [min(column, key=WORST_FIRST.index) if column else "" for column in _columns(states, width)]
    for state, run in groupby(worst):
        drawn.append(_CHARACTERS.get(state, " ") * len(list(run)), style=_COLOURS.get(state, ""))
    return drawn


def _columns(values: Sequence[float | None] | Sequence[str], width: int) -> Iterable[list]:  # type: ignore[type-arg]
    """The values of each column, the newest in the last one; those before the first value are empty."""
    padding = STEPS - len(values)
    for number in range(width):
        first, end = number * STEPS // width, (number + 1) * STEPS // width
        yield list(values[max(0, first - padding) : max(0, end - padding)])
