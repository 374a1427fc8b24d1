"""What is wrong and where, as the parts of this package tell each other."""

import re
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of mappings, and positions in lists from 0. The whole file is `()`."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_SIGHT = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule. Becomes an errors.Problem when its place in the file has been looked up."""

    path: KeyPath
    message: str
    line: int | None = None  # where that is not simply the line on which `path` is written


def spell(path: KeyPath) -> str:
    """Write a path as people do: `backends[1].weight`."""
    spelt = ""
    for step in path:
        if isinstance(step, int):
            spelt += f"[{step}]"
        else:
            # An odd key is quoted: each problem is one line, whatever the file has in it.
            key = step if _PLAIN_KEY.fullmatch(step) else sight(step)
            spelt += f".{key}" if spelt else key
    return spelt


def sight(value: object) -> str:
    """Write what was seen, as `!r` would or as YAML spells it, and no more of it than fits a line."""
    match value:
        case None:
            return "an empty value"
        case bool():
            return str(value).lower()
    written = repr(value)
    return written if len(written) <= _LONGEST_SIGHT else written[: _LONGEST_SIGHT - 3] + "..."
