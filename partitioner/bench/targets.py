"""Names for the sessions of one run: random ones, so that a bench never touches anybody else's."""

import secrets
from base64 import b64encode
from hashlib import sha256

from partitioner.protocol.target import encode_target

APP_ID = "/LM/W3SVC/1/ROOT/bench"
_ALPHABET = "abcdefghijklmnopqrstuvwxyz012345"  # what ASP.NET writes session IDs in
_ID_LENGTH = 24


def new_targets(count: int) -> tuple[bytes, ...]:
    """Targets of new sessions, percent-encoded, in the shape of real ones (protocol.md 4.1)."""
    app_hash = b64encode(sha256(APP_ID.encode()).digest()).decode()
    prefix = f"{APP_ID}({app_hash})/"
    return tuple(encode_target(prefix + _new_session_id()) for _ in range(count))


def _new_session_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
