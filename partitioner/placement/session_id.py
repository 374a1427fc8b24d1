"""What of a session's key is hashed: the session ID, found as a partition resolver would see it.

    /LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/bpr4mimb2vjnvtn2jc4yp3uo
    \\____ app ID ____/\\_________ base64(SHA-256(app ID)) _________/  \\_____ session ID _____/

Hashing the ID alone lets several applications that share one ID agree on its server. An app ID and a
custom session ID may contain parentheses themselves, so the right `(hash)/` has to be told from
look-alikes (protocol.md 4.3).
"""

import re
from base64 import b64encode
from enum import Enum
from hashlib import sha256
from typing import NamedTuple

from partitioner.protocol.target import canonical_form, server_key

_HASH = re.compile(rb"\(([A-Za-z0-9+/]{16,128}={0,2})\)/")


class HashKey(Enum):
    """What decides the placement of a session: configuration key `hash_key`."""

    SESSION_ID = "session-id"
    TARGET = "target"


class SessionRef(NamedTuple):  # which is made in a third of the time of a frozen dataclass
    """The session that something is about: how it is filed, spelt and placed.

    All three are bytes, and no two of them can stand for each other: made once, where the target is read.
    """

    key: bytes  # as a state server files it: the decoded target
    target: bytes  # as the client has spelt it
    placement: bytes  # what is hashed

    @classmethod
    def of(cls, target: bytes, hash_key: HashKey) -> "SessionRef":
        """The session that a request for this target is about."""
        key = server_key(target)
        return cls(key, target, placement_key(canonical_form(key), hash_key))


_MOST_APPLICATIONS = 256
"""As in protocol.target.Applications."""


class SessionRefs:
    """Makes SessionRefs as `SessionRef.of` does, at a fraction of the price.

    A target is mostly that of its application, `%2f`, and an ID that stands for itself. Then key and
    placement end with that ID, and what comes before it is the same for all sessions of the application: an
    ID without parentheses is no part of a hash.
    """

    def __init__(self, hash_key: HashKey) -> None:
        self._hash_key = hash_key
        self._beginnings: dict[bytes, tuple[bytes, bytes]] = {}  # of key and placement, by application

    def of(self, target: bytes) -> SessionRef:
        """The session that a request for this target is about."""
        application, _, session_id = target.rpartition(b"%2f")
        if not application or not session_id.isalnum():
            return SessionRef.of(target, self._hash_key)
        beginnings = self._beginnings.get(application)
        if beginnings is None:
            whole, end = SessionRef.of(target, self._hash_key), -len(session_id)
            beginnings = whole.key[:end], whole.placement[:end]
            if len(self._beginnings) < _MOST_APPLICATIONS:
                self._beginnings[application] = beginnings
        key, placement = beginnings
        return SessionRef(key + session_id, target, placement + session_id)


def placement_key(canonical_key: bytes, hash_key: HashKey) -> bytes:
    """The bytes that are hashed for the session of this canonical key."""
    return session_id(canonical_key) if hash_key is HashKey.SESSION_ID else canonical_key


def session_id(canonical_key: bytes) -> bytes:
    """The part after `(hash)/`, or the whole key where there is no such thing. Never refuses.

    Of several candidates the one is right whose hash is that of the text before it; where none fits
    (hashes made with a machine key), the leftmost: app IDs are chosen by administrators, session IDs
    may come from users.
    Source: protocol.md 4.3 step 4.
    """
    candidates = list(_HASH.finditer(canonical_key))
    if not candidates:
        return canonical_key
    chosen = candidates[0]
    if len(candidates) > 1:
        chosen = next((each for each in candidates if _is_hash_of_what_precedes(each)), chosen)
    return canonical_key[chosen.end() :]


def _is_hash_of_what_precedes(candidate: re.Match[bytes]) -> bool:
    app_id = candidate.string[: candidate.start()]
    return b64encode(sha256(app_id).digest()) == candidate[1]
