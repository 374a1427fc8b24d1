"""Bodies that say what they are, so that any wrong one is recognised for what is wrong with it.

    magic  run  session  length  version  digest  digest  digest ...   (cut to the size wanted)
    |------------- head, 28 bytes ------|------- fill, 16 bytes each ----- - -

The fill is the digest of the head, again and again. A body is checked by composing it anew from its
own head and comparing: a byte that was flipped in the fill does not match the digest, and one that was
flipped in the head makes another digest. Half an old body and half a new one do not match either. The
run is in the head because a session of an earlier bench must not pass for one of this.
"""

from dataclasses import dataclass
from struct import Struct

from xxhash import xxh3_128_digest

_MAGIC = b"bnch"
_HEAD = Struct(">4s8sIIQ")  # magic, run, session, length, version
_DIGEST_SIZE = 16

RUN_SIZE = 8
LEAST_SIZE = _HEAD.size + _DIGEST_SIZE
"""Bytes that a body must have at least: its head, and its digest once."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which content of which session a body is."""

    session: int
    version: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a body is none that this run has composed."""

    detail: str


@dataclass(frozen=True, slots=True)
class Content:
    """Composes and reads the bodies of one run, all of one size."""

    run: bytes  # RUN_SIZE random bytes
    size: int  # LEAST_SIZE or more

    def compose(self, stamp: Stamp) -> bytes:
        """The body that carries this stamp: always the same bytes."""
        head = _HEAD.pack(_MAGIC, self.run, stamp.session, self.size, stamp.version)
        repeats = -(-(self.size - _HEAD.size) // _DIGEST_SIZE)
        return (head + xxh3_128_digest(head) * repeats)[: self.size]

    def read(self, body: bytes) -> Stamp | Damage:
        """Say which content a body is, if it is whole and of this run."""
        if len(body) != self.size:
            return Damage(f"a body of {len(body)} bytes; expected {self.size}")
        magic, run, session, _, version = _HEAD.unpack_from(body)
        stamp = Stamp(session, version)
        expected = self.compose(stamp)
        if body == expected:
            return stamp
        if magic != _MAGIC:
            return Damage(f"a body that begins with {body[:8]!r}; expected {_MAGIC!r}")
        if run != self.run:
            return Damage(f"a body of the run {run.hex()}; expected {self.run.hex()}")
        differing = sum(ours != theirs for ours, theirs in zip(expected, body, strict=True))
        return Damage(f"a damaged body: {differing} of its {self.size} bytes do not fit its head")
