"""What the actions of the verbs share: tables, for people. What prints none need not import rich."""

import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

WIDTH_OF_A_PIPE = 200
"""Columns to fill where the output is not a terminal: enough that rich does not wrap what a script wants
to grep."""


def print_rich(*renderables: RenderableType) -> None:
    """Print tables and the like to stdout."""
    console = _console()
    for renderable in renderables:
        console.print(renderable)


def width_of_stdout() -> int:
    """How many columns there are to fill."""
    return _console().width


def _console() -> Console:
    """Made anew for each call, for stdout as it is now."""
    # A pipe has no width of its own.
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = None if is_terminal else WIDTH_OF_A_PIPE
    # Text is text: `[fe80::1]` is an address, no markup.
    return Console(width=width, markup=False, emoji=False, highlight=False)


def table(*headers: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table with these columns; `numbers` names those that are aligned to the right."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        made.add_column(header, justify="right" if header in numbers else "left", overflow="fold")
    return made
