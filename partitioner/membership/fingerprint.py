"""Do two routers place sessions in the same way? A number that is the same on all that do."""

import json

from xxhash import xxh3_64_intdigest

from partitioner.membership.backend import Intent
from partitioner.membership.pool import Pool
from partitioner.placement.session_id import HashKey

BITS = 53
"""What a float holds exactly, and so what a metric can."""


def map_fingerprint(pool: Pool, hash_key: HashKey) -> int:
    """Sum up what decides where a session belongs while all servers are well; less than 2**53.

    That is: who is configured, with which weight, whether it is READY, what of a key is hashed, and the
    number of copies. Health does not count, nor does an address: a server may have two.
    """
    backends = (pool.members[identity].backend for identity in pool.places.values())
    servers = sorted((each.name, float(each.weight), each.intent is Intent.READY) for each in backends)
    canonical = json.dumps([servers, hash_key.value, pool.copies], separators=(",", ":"))
    return xxh3_64_intdigest(canonical.encode()) >> (64 - BITS)


def fingerprint_text(fingerprint: int) -> str:
    """As people compare it: fourteen hex digits."""
    return f"{fingerprint:014x}"
