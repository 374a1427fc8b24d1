"""Small pictures for the status page: SVG inside the page, made of numbers and known words alone.

Nothing in it needs a style attribute, a script or another file: the page's policy stays as it is.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup, escape

from partitioner.ops.admin.reports import STEPS, WORST_FIRST
from partitioner.ops.admin.units import age
from partitioner.ops.printable import printable

HEIGHT = 30
_KNOWN = frozenset(WORST_FIRST)


def curve(values: Sequence[float | None], top: float, title: str) -> Markup:
    """A curve of an hour, its newest value on the right; `top` is what reaches the upper edge.

    Where there is no value the curve is broken.
    """
    scale = top or 1.0
    first = STEPS - len(values)
    paths = []
    for has_value, run in groupby(enumerate(values, first), key=lambda each: each[1] is not None):
        if has_value:
            points = [(x, HEIGHT - (value or 0.0) / scale * (HEIGHT - 1)) for x, value in run]
            steps = " ".join(f"H{x + 1} V{y:.1f}" for x, y in points)
            paths.append(
                f"M{points[0][0]} {HEIGHT} V{points[0][1]:.1f} {steps} H{points[-1][0] + 1} V{HEIGHT} Z"
            )
    drawn = f'<path d="{" ".join(paths)}"/>' if paths else ""
    return Markup(
        f'<svg class="curve" viewBox="0 0 {STEPS} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(printable(title))}"><title>{escape(printable(title))}</title>{drawn}</svg>'
    )


def strip(states: Sequence[str], step: float, title: str) -> Markup:
    """A strip of an hour, a colour for each state."""
    first = STEPS - len(states)
    drawn = "".join(_runs(states, first, step))
    return Markup(
        f'<svg class="strip" viewBox="0 0 {STEPS} 8" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(printable(title))}">'
        f'<rect class="nothing" width="{STEPS}" height="8"/>{drawn}</svg>'
    )


def _runs(states: Sequence[str], first: int, step: float) -> Iterator[str]:
    for state, run in groupby(enumerate(states, first), key=lambda each: each[1]):
        places = [x for x, _ in run]
        began, ended = (STEPS - places[0]) * step, (STEPS - places[-1] - 1) * step
        until = f"to {age(ended)} ago" if ended else "until now"
        kind = state if state in _KNOWN else "unknown"
        yield (
            f'<rect class="is-{kind}" x="{places[0]}" width="{len(places)}" height="8">'
            f"<title>{escape(printable(state))}, {age(began)} ago {until}</title></rect>"
        )


def told(states: Sequence[str], step: float) -> str:
    """A strip in words, for those who do not see it."""
    lengths = {state: sum(each == state for each in states) * step for state in dict.fromkeys(states)}
    parts = ", ".join(f"{state} {age(length)}" for state, length in lengths.items())
    return f"in the last {age(len(states) * step)}: {parts}" if states else "nothing seen yet"
