"""Where a key belongs, for the command line and for HTTP."""

from dataclasses import dataclass

from partitioner.placement.rendezvous import Ranking
from partitioner.placement.session_id import HashKey, placement_key, session_id
from partitioner.protocol.target import canonical_key


@dataclass(frozen=True, slots=True)
class Location:
    """A session and its preference list. The names of the fields are those of the JSON."""

    key: str  # as it was given
    session_id: str
    backends: tuple[str, ...]  # names, best first


def is_target(key: bytes) -> bool:
    """Whether this is the target of a request; otherwise it is a session ID."""
    return b"/" in key or b"%" in key


def names_no_session(key: bytes) -> bool:
    """Whether a target has no `(hash)/` in it, so that all of it is taken for the session ID."""
    return is_target(key) and session_id(canonical_key(key)) == canonical_key(key)


def locate(key: bytes, ranking: Ranking, hash_key: HashKey) -> Location:
    """Find the preference list of a session ID, or of a target.

    Raises ValueError at a bare session ID where whole targets are hashed.
    """
    if is_target(key):
        canonical = canonical_key(key)
        found_id, hashed = session_id(canonical), placement_key(canonical, hash_key)
    elif hash_key is HashKey.SESSION_ID:
        found_id = hashed = _as_decoded(key)
    else:
        raise ValueError(
            f"{text_of(key)!r} is a bare session ID, which has no place of its own under "
            f"`hash_key: {hash_key.value}`; expected a target such as "
            f"%2fLM%2fW3SVC%2f2%2fROOT(...)%2f{text_of(key)}"
        )
    return Location(text_of(key), text_of(found_id), ranking.preference_list(hashed))


def text_of(key: bytes) -> str:
    """A key for people to read."""
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return key.decode("utf-8", "replace")


def _as_decoded(key: bytes) -> bytes:
    """A bare session ID as the router has it from a target, where what is no UTF-8 has been replaced."""
    return text_of(key).encode("utf-8", "surrogatepass")
