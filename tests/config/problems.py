"""The ranges of keys, and what is wrong with a configuration, as pairs of path and message."""

import re

from partitioner.config import parse
from partitioner.errors import ConfigurationInvalid

ONE_BACKEND = "backends: [{name: state-1, address: 10.0.0.11:42424}]\n"

RANGES = [
    # path, least, most, what is too little, what is too much
    ("health.interval", "10ms", "1h", "9ms", "3601s"),
    ("health.timeout", "10ms", "1h", "9ms", "3601s"),
    ("health.fall", "1", "100", "0", "101"),
    ("health.rise", "1", "100", "0", "101"),
    ("health.hold_down", "0s", "5m", None, "301s"),
    ("timeouts.connect", "10ms", "1h", "9ms", "3601s"),
    ("timeouts.exchange", "1s", "1h", "999ms", "3601s"),
    ("timeouts.copy", "10ms", "1h", "9ms", "3601s"),
    ("timeouts.client_idle", "20s", "24h", "19999ms", "86401s"),
    ("timeouts.shutdown", "10ms", "1h", "9ms", "3601s"),
    ("limits.connections", "1", "1000000", "0", "1000001"),
    ("limits.body", "1B", "1GiB", "0B", "1073741825B"),
    ("limits.body_memory", "1MiB", "1TiB", "1023KiB", "1025GiB"),
    ("limits.per_backend_connections", "1", "65535", "0", "65536"),
    ("limits.ledger", "1", "100000000", "0", "100000001"),
    ("copies", "1", "64", "0", "65"),
    ("session_timeout", "1s", "366d", "999ms", "367d"),
    ("session_timeout_max", "1s", "366d", "999ms", "367d"),
]


def problems(text: str) -> list[tuple[str, str]]:
    """Path and message of everything that is wrong with a configuration, in the order of the report."""
    try:
        parse(text)
    except ConfigurationInvalid as invalid:
        return [(each.path, each.message) for each in invalid.problems]
    return []


def only_problem(text: str) -> tuple[str, str]:
    """Path and message, without its line, of the one thing that is wrong with a configuration."""
    ((path, message),) = problems(text)
    return path, re.sub(r" \(line [0-9]+\)$", "", message)
