"""What is seen in one run of test_both_paths.py, without what differs from run to run."""

import re
from dataclasses import dataclass, field
from enum import Enum

from partitioner.membership.backend import Backend
from tests.doubles.observers import Fact

_PORT = re.compile(r"127\.0\.0\.1:[0-9]+")

COMPARED = frozenset(
    {
        "backend_came_up",
        "backend_ejected",
        "backend_doubted",
        "backend_trusted",
        "failed_over",
        "ghost_lock_released",
        "ghost_lock_left",
        "copy_written",
        "write_degraded",
        "session_moved",
        "session_repaired",
        "loss_declared",
        "lock_taken_over",
    }
)
"""Facts that are the same whichever path; others tell of times and connections."""


@dataclass
class RunRecord:
    """What was seen in one run."""

    clients: list[bytes] = field(default_factory=list)  # what came, by action
    backends: list[list[list[bytes]]] = field(default_factory=list)  # by step, what each was asked
    operations: list[str] = field(default_factory=list)  # that were reported
    facts: list[str] = field(default_factory=list)  # that were reported besides
    marks: list[set[tuple[bytes, str]]] = field(default_factory=list)  # by step: key and server
    pools: list[str] = field(default_factory=list)  # by step
    saved: dict[int, bytes] = field(
        default_factory=dict
    )  # by session: the last content, where that is certain
    read_back: dict[int, bytes] = field(default_factory=dict)  # of these: what is read at the end


def described(fact: Fact) -> str:
    """A fact without times and records."""
    return " ".join([str(fact[0]), *(text for said in fact[1:] if (text := _said(said)))])


def _said(said: object) -> str:
    if isinstance(said, Backend):
        return said.name
    if isinstance(said, tuple):
        return f"({', '.join(_said(each) for each in said)})"
    return without_port(str(said)) if isinstance(said, str | bool | Enum) else ""


def without_port(text: str) -> str:
    """Of a backend, which is another one in each run."""
    return _PORT.sub("its address", text)
