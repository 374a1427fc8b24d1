"""Durations and sizes as people write them ("250ms", "64KiB") and as the code holds them.

Inside the program a duration is float seconds and a size is int bytes. What people write always
carries a unit, because `timeout: 5` in a configuration file has been read as five milliseconds by
one half of its readers and as five minutes by the other.
"""

import re
from itertools import pairwise

SECONDS_PER_UNIT = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES_PER_UNIT = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

_QUANTITY = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,15})?) ?(?P<unit>[A-Za-z]+)")


def parse_duration(text: str) -> float:
    """Read a duration such as `250ms`, `1.5s` or `1h`; return it in seconds.

    Raises ValueError, with a sentence that says what was expected.
    """
    number, factor = _number_and_factor(text, SECONDS_PER_UNIT, "a duration such as 250ms, 2s or 1h")
    return number * factor


def parse_size(text: str) -> int:
    """Read a size such as `64KiB` or `2GiB`; return it in whole bytes.

    Raises ValueError, with a sentence that says what was expected.
    """
    number, factor = _number_and_factor(text, BYTES_PER_UNIT, "a size such as 512B, 64KiB or 2GiB")
    return round(number * factor)


def format_duration(seconds: float) -> str:
    """Write a duration in the largest unit that keeps it short: `250ms`, `1.5s`, `2h`."""
    for unit in ("d", "h", "m", "s", "ms"):
        if seconds >= SECONDS_PER_UNIT[unit]:
            return f"{seconds / SECONDS_PER_UNIT[unit]:.4g}{unit}"
    return "0s" if seconds == 0 else f"{seconds * 1e6:.4g}us"


_UNITS_OF_AGES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def format_age(seconds: float) -> str:
    """Write a length of time for people, in its two largest units: `45s`, `3m 20s`, `2h`."""
    whole = max(0, round(seconds))
    for (unit, size), (lesser, lesser_size) in pairwise(_UNITS_OF_AGES):
        if whole >= size:
            rest = whole % size // lesser_size
            return f"{whole // size}{unit} {rest}{lesser}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def format_length(seconds: float) -> str:
    """Write how long something took: `250ms`, `13.7s`, and from a minute on as an age: `3m 20s`."""
    return format_duration(seconds) if seconds < 60 else format_age(seconds)


def format_size(size: int) -> str:
    """Write a size in the largest binary unit that keeps it short: `512B`, `64KiB`, `1.5GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= BYTES_PER_UNIT[unit]:
            return f"{size / BYTES_PER_UNIT[unit]:.4g}{unit}"
    return f"{size}B"


def format_share(share: float) -> str:
    """Write a share from 0 to 1 in per cent: `33.3 %`."""
    return f"{share * 100:.1f} %"


def _number_and_factor(
    text: str, factors: dict[str, float] | dict[str, int], expected: str
) -> tuple[float, float]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not {expected}")
    factor = factors.get(match["unit"])
    if factor is None:
        raise ValueError(f"{text!r} has the unit {match['unit']!r}; expected one of {', '.join(factors)}")
    return float(match["number"]), factor
