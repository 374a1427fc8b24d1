"""The points at which rivals are compared."""

from dataclasses import dataclass

KIBIBYTE = 1024


@dataclass(frozen=True)
class Point:
    """One kind of load. Of the rates, in exchanges a second, 0 is as many as go."""

    name: str
    size: int
    connections: int
    rate: float = 0.0
    sessions: int = 4096


HALF = -1.0  # of what the first router takes

POINTS = (
    Point("1KiB/16", KIBIBYTE, 16),
    Point("1KiB/64", KIBIBYTE, 64),
    Point("1KiB/256", KIBIBYTE, 256),
    Point("1KiB/1000", KIBIBYTE, 1000),
    Point("8KiB/64", 8 * KIBIBYTE, 64),
    Point("64KiB/64", 64 * KIBIBYTE, 64, sessions=512),
    Point("1KiB/64/4000", KIBIBYTE, 64, rate=4000.0),
    Point("1KiB/64/half", KIBIBYTE, 64, rate=HALF),
)
