"""Rules of a store, each switched off on purpose: what keeps sessions when engines fail (docs/store.md).

PROOFS says which history of the model turns red without it. Not here are the rules that are inside a script
(deadlines, the flag of a new session, what a repetition finds): tests/store/test_scripts.py holds them, on a
real engine. `python -m tests.store.failovers` switches rules off on real engines, too.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from partitioner.store import calls, canary, giving_back, shard, topology

Break = Callable[[], Any]


def _policy_does_it() -> Any:
    """The key `acknowledge` says so (engine_world.py)."""
    return patch.object(shard, "DOUBT_PAUSE", shard.DOUBT_PAUSE)


def _believe_any_primary() -> Any:
    """A primary that replicas have left is believed, whatever Sentinels say."""

    async def tenure(self: topology.SentinelTopology, primary: topology.Primary) -> topology.Tenure:
        return topology.Tenure.LASTED

    return patch.object(topology.SentinelTopology, "tenure", tenure)


def _wait_for_connected_replicas() -> Any:
    """Those that are away are not waited for, and not missed."""
    find = topology.SentinelTopology.find

    async def find_less(self: topology.SentinelTopology) -> topology.Primary:
        return replace(await find(self), replicas=None)

    return patch.object(topology.SentinelTopology, "find", find_less)


def _write(change: Callable[[calls.Call], None]) -> Any:
    """Change a call each time before it is sent."""
    write_to = calls.Call.write_to

    def write_changed(call: calls.Call, pieces: list[bytes], clock_offset: float) -> None:
        change(call)
        write_to(call, pieces, clock_offset)

    return patch.object(calls.Call, "write_to", write_changed)


def _another_id(call: calls.Call) -> None:
    """What is sent again is not known by its id."""
    if call.is_again and call.script.name in ("acquire", "set", "insert"):
        call.arguments = (os.urandom(8), *call.arguments[1:])
        call.is_again = False


def _nothing_again(call: calls.Call) -> None:
    """It has its id, but does not say that it may have been carried out."""
    call.is_again = False


def _keep_locks() -> Any:
    """The lock of a page that has failed stays."""
    return patch.object(giving_back.GivingBack, "_begin", lambda *_: None)


def _believe_any_engine() -> Any:
    """Nobody looks whether the engine is the one that had the sessions."""
    right = patch.object(shard.Shard, "_is_canary_right", lambda *_: True)

    def judge(self: canary.Canary, found: bytes | None) -> canary.Finding:
        if found is None:
            return canary.Finding.PLANT_FIRST
        self.value = None
        self.adopt(found)
        return canary.Finding.FITS

    return _both(right, patch.object(canary.Canary, "judge", judge))


def _believe_any_number() -> Any:
    """An engine that has gone back is believed."""
    return patch.object(canary.Canary, "mark", property(lambda self: canary.NO_MARK))


@contextmanager
def _both(one: Any, other: Any) -> Iterator[None]:
    with one, other:
        yield


RULES: dict[str, Break] = {
    "acknowledgement": _policy_does_it,
    "the word of Sentinels": _believe_any_primary,
    "replicas that are away": _wait_for_connected_replicas,
    "ids": lambda: _write(_another_id),
    "again": lambda: _write(_nothing_again),
    "giving back": _keep_locks,
    "the canary": _believe_any_engine,
    "counting": _believe_any_number,
}


PROOFS: dict[str, tuple[str, int]] = {
    "acknowledgement": ("killed", 0),
    "the word of Sentinels": ("frozen, unnoticed", 0),
    "replicas that are away": ("killed in turn", 1),
    "ids": ("moments", 0),
    "again": ("moments", 0),
    "giving back": ("long", 0),
    "the canary": ("emptied", 0),
    "counting": ("away", 2),
}
"""For each rule the story and the seed that miss it."""


def without(rule: str) -> Any:
    """Switch a rule off for a while."""
    return RULES[rule]()
