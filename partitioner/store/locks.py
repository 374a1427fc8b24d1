"""Who holds a lock: a walk through all sessions of an engine, a page at a time."""

from typing import NamedTuple

import trio

from partitioner.errors import EngineLost, EngineTooSlow, EngineUnfit
from partitioner.membership.backend import Address
from partitioner.store.calls import Reply
from partitioner.store.pipe import Pipe
from partitioner.store.records import read_header
from partitioner.store.scripts import HEADER
from partitioner.store.shard import Shard

PAGE = 500
"""Sessions that are looked at together: the engine is held up for less than a millisecond."""

PATIENCE = 60.0


class HeldLock(NamedTuple):
    """A session that is locked."""

    name: bytes  # the engine's
    primary: Address
    age: float  # seconds, by the engine's clock


async def held_locks(shards: tuple[Shard, ...], prefix: bytes) -> list[HeldLock]:
    """All locks that are held, the oldest first. Raises EngineLost, EngineUnfit or EngineTooSlow."""
    found: dict[bytes, HeldLock] = {}  # a walk may tell of a session twice
    with trio.move_on_after(PATIENCE) as scope:
        for shard in shards:
            pipe, primary = shard.pipe, shard.primary
            if pipe is None or primary is None:
                raise shard.trouble or EngineLost("the engine is not reached just now")
            cursor = b"0"
            while True:
                told = await pipe.ask(b"SCAN", cursor, b"MATCH", prefix + b"*", b"COUNT", b"%d" % PAGE)
                cursor, names = _page(told)
                for lock in await _locks_of(pipe, primary.address, names):
                    found[lock.name] = lock
                if cursor == b"0":
                    break
    if scope.cancelled_caught:
        raise EngineTooSlow(f"not all sessions were looked at within {PATIENCE:g} s")
    return sorted(found.values(), key=lambda lock: -lock.age)


def _page(reply: Reply) -> tuple[bytes, list[bytes]]:
    match reply:
        case [bytes() as cursor, list() as names]:
            return cursor, [name for name in names if isinstance(name, bytes)]
        case _:
            why = "the engine does not list its sessions (see the ACL in docs/store.md)"
            raise EngineUnfit(f"{why}: {reply!s}")


async def _locks_of(pipe: Pipe, primary: Address, names: list[bytes]) -> list[HeldLock]:
    if not names:
        return []
    records = await pipe.ask_all([(b"GETRANGE", name, b"0", b"%d" % (HEADER.size - 1)) for name in names])
    now = trio.current_time() + pipe.clock_offset
    locks = []
    for name, record in zip(names, records, strict=True):
        header = read_header(record) if isinstance(record, bytes) else None
        if header is not None and header.is_locked:
            locks.append(HeldLock(name, primary, max(0.0, now - header.locked_at)))
    return locks
