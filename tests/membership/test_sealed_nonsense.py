"""What is sealed and makes no sense: a seal says who wrote a file no more than that it is whole.

Every single value of a record and of a ledger is exchanged for values that no router writes. What is then
read is refused as damaged, or can be used: nothing in between ends a start.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from xxhash import xxh3_64_hexdigest

from partitioner.errors import MalformedFile
from partitioner.membership.backend import Address, Backend
from partitioner.membership.entry import Lock
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.health import HealthPolicy
from partitioner.membership.inheritance import inherit
from partitioner.membership.ledger import Ledger, LedgerPolicy
from partitioner.membership.legacy import read_legacy, restore_ledger, write_legacy
from partitioner.membership.pool import first_pool
from partitioner.membership.record import (
    FormerMap,
    FormerMemory,
    MemberEntry,
    Record,
)
from partitioner.membership.record_format import read_record, write_record
from tests.identities import STATE_1, STATE_2, A, B
from tests.membership.ledgers import KEY, NOW, OTHER, TARGET, ledger

WALL = 1_700_000_000_000
POLICY = HealthPolicy()
ODD: list[Any] = [
    *(None, True, "", "\u20ac", -1, 0, 10**30, -(10**30), 10**400, -(10**400)),
    *(1e308, -1e308, float("nan"), float("inf"), float("-inf"), [], {}),
]


def packed(kind: str, content: Any) -> bytes:
    """A file of this kind with this content, and a seal that fits."""
    body = zlib.compress(json.dumps(content).encode())
    return f"partitioner {kind}, format 1, checksum {xxh3_64_hexdigest(body)}\n".encode() + body


def content_of(written: bytes) -> Any:
    return json.loads(zlib.decompress(written.partition(b"\n")[2]))


def leaves(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree: a container, and an index or a key of it."""
    for place, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
        yield content, place
        if isinstance(value, dict | list):
            yield from leaves(value)


def faults(kind: str, written: bytes, use: Callable[[bytes], object]) -> list[str]:
    """Where, and by which value, a start ends with something else than a damaged file."""
    content, found, count = content_of(written), [], 0
    for container, place in leaves(content):
        right = container[place]
        for odd in ODD:
            container[place] = odd
            count += 1
            try:
                use(packed(kind, content))
            except MalformedFile:
                pass
            except Exception as error:  # noqa: BLE001 - whatever it is, it would end a start
                found.append(f"{place} = {str(odd)[:12]}: {type(error).__name__} {error}"[:120])
        container[place] = right
    assert count > 400
    return found


def test_a_record_that_makes_no_sense() -> None:
    """It is damaged, or a router can begin with it."""
    backends = [Backend(name, Address(f"10.0.0.{number}", 42424)) for number, name in enumerate("ab", 1)]
    record = Record(
        *("router-1", "lineage", 7, "word", 3, WALL, 3600.0),
        members=(
            MemberEntry(backends[0], "token", "up", 5, frozenset({"write"}), WALL, WALL, None),
            MemberEntry(backends[1], "other", "down", 5, frozenset(), WALL, WALL, WALL - 1000, True),
        ),
        maps=(FormerMap({"a": 1.0, "b": 2.0}, {"a": A, "b": B}, 2, WALL - 10_000, WALL),),
        former=(FormerMemory("former", WALL + 1000),),
        empty=("planted",),
    )

    def use(written: bytes) -> None:
        read = read_record(written, "router-1", WALL)
        clock, pool = FarmClock(WALL, NOW), first_pool(backends[:1], POLICY, 1, NOW)
        inheritance = inherit(read, pool, POLICY, NOW, clock, is_clean=True)
        inheritance.pool.ranking.preference_list(b"session", 2)
        write_record(read)

    use(write_record(record))
    assert [] == faults("record", write_record(record), use)


def test_a_ledger_that_makes_no_sense() -> None:
    """It is damaged, or its locks and marks can be taken over, swept and written again."""
    book = ledger()
    book.mark(KEY, TARGET, STATE_1, NOW, is_stale=True)
    book.note_lock(OTHER, TARGET, Lock(5, STATE_2, b"life", NOW), 20)
    written = write_legacy(book, Record(*("r", "l", 7, "word", 3, 0, 1.0, ())).order, NOW)

    def use(again: bytes) -> None:
        legacy = read_legacy(again)
        restored = Ledger(LedgerPolicy())
        restore_ledger(restored, legacy, NOW)
        for _ in restored.sweep(NOW + 1.0, ()):
            pass
        write_legacy(restored, legacy.order, NOW + 1.0)

    use(written)
    assert [] == faults("ledger", written, use)
