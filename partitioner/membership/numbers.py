"""Whether the numbers of what was read can be reckoned with: a whole seal says nothing about them.

A record or a ledger with an age of infinity, or a time of a thousand digits, was written by no router. Found
out here it is damaged; found out later it would end a start with a fault.
"""

from dataclasses import fields, is_dataclass
from math import isfinite

LARGEST = 2**64
"""No clock or counter of ours reaches it, and a checksum of content is less."""


def check_numbers(value: object) -> None:
    """Look at every number in a tree of dataclasses, tuples and mappings.

    Raises ValueError for one that is not finite, or is beyond LARGEST on either side.
    """
    if isinstance(value, float):
        if not isfinite(value) or abs(value) > LARGEST:
            raise ValueError(f"{value} is not a number that occurs")
    elif isinstance(value, int):
        if abs(value) > LARGEST:
            raise ValueError(f"a number of {value.bit_length()} bits does not occur")
    elif isinstance(value, tuple):
        for each in value:
            check_numbers(each)
    elif isinstance(value, dict):
        for each in value.values():
            check_numbers(each)
    elif is_dataclass(value):
        for field in fields(value):
            check_numbers(getattr(value, field.name))
