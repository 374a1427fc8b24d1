"""A dict in many pieces, for a table of a million sessions that must never hold its server up.

One big dict stops all clients for 40 ms when it grows at 700,000 entries, and cannot be walked through
piece by piece while it changes: an iterator breaks at the first new key, and a copy of all keys takes
20 ms. So keys are spread by a checksum over small dicts, each of which grows and is read in no time. A
key never changes its piece, and that makes a walk over the pieces one after the other a walk that
finds every key that is there all the time, whatever comes and goes meanwhile.

The checksum is CRC-32 rather than Python's own hash, which differs from process to process: the order
in which a drain works must be the same in every run of a simulation.
"""

from collections.abc import Iterator, MutableMapping
from zlib import crc32

from partitioner.protocol.target import PIECES, piece_of

SHARDS = PIECES
"""Of a million sessions 250 are in each piece; while there are none, all pieces together take 260 KB."""


class Shards(MutableMapping[bytes, bytearray]):
    """Packed sessions by key."""

    __slots__ = ("_count", "_shards")

    def __init__(self) -> None:
        self._shards: tuple[dict[bytes, bytearray], ...] = tuple({} for _ in range(SHARDS))
        self._count = 0

    def __getitem__(self, key: bytes) -> bytearray:
        return self._shards[crc32(key) % SHARDS][key]

    def __setitem__(self, key: bytes, record: bytearray) -> None:
        shard = self._shards[crc32(key) % SHARDS]
        before = len(shard)
        shard[key] = record
        self._count += len(shard) - before

    def __delitem__(self, key: bytes) -> None:
        del self._shards[crc32(key) % SHARDS][key]
        self._count -= 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for shard in self._shards:
            yield from shard

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and key in self._shards[crc32(key) % SHARDS]

    def maybe_record(self, key: bytes) -> bytearray | None:
        return self._shards[crc32(key) % SHARDS].get(key)

    def keys_from(self, shard: int, at_least: int) -> tuple[list[bytes], int | None]:
        """Keys from this piece on, in whole pieces until they are so many; and the piece that is next.

        None says that there is none any more. A page has the keys of one piece more than asked for at most.
        """
        found: list[bytes] = []
        for index in range(shard, SHARDS):
            if len(found) >= at_least:
                return found, index
            found += self._shards[index]
        return found, None

    def sorted_from(self, first: bytes) -> Iterator[tuple[bytes, bytearray]]:
        """All records from this key on, in the order of protocol.target.listing_place.

        One piece is sorted at a time. Nothing may change before the next step.
        """
        begin = piece_of(first)
        for index in range(begin, SHARDS):
            shard = self._shards[index]
            for key in sorted(shard) if len(shard) > 1 else shard:
                if index > begin or key >= first:
                    yield key, shard[key]
