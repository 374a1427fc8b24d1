"""The marks of the ledger by server: which keys are marked on each, and what these marks say together."""

from collections import Counter
from collections.abc import Collection, Mapping

from partitioner.membership.backend import BackendId

_NO_KEYS: Mapping[bytes, None] = {}


class MarkIndex:
    """Keys and reasons of marks, by the identity of the marked server."""

    def __init__(self) -> None:
        self._keys: dict[BackendId, dict[bytes, None]] = {}
        self._reasons: dict[BackendId, set[str]] = {}  # of all marks since a server was last without any
        self._lost: Counter[BackendId] = Counter()  # marks of sessions that were declared lost

    def __len__(self) -> int:
        """How many marks there are, on all servers together."""
        return sum(len(keys) for keys in self._keys.values())

    def __repr__(self) -> str:
        return f"<MarkIndex, {len(self)} marks on {len(self._keys)} servers>"

    def clear(self) -> None:
        self._keys.clear()
        self._reasons.clear()
        self._lost.clear()

    def add(self, server: BackendId, key: bytes) -> None:
        """This key is marked on this server from now on."""
        self._keys.setdefault(server, {})[key] = None

    def discard(self, server: BackendId, key: bytes) -> None:
        """This key is not marked on this server any more."""
        del self._keys[server][key]
        if not self._keys[server]:
            del self._keys[server]
            del self._reasons[server]

    def add_reason(self, server: BackendId, reason: str) -> None:
        self._reasons.setdefault(server, set()).add(reason)

    def add_lost(self, server: BackendId, sessions: int) -> None:
        """So many sessions more were declared lost that are marked on this server; or fewer, if negative."""
        self._lost[server] += sessions

    def keys_on(self, server: BackendId) -> Collection[bytes]:
        """The keys that are marked on this server, as they are now."""
        return self._keys.get(server, _NO_KEYS).keys()

    def reasons(self) -> dict[BackendId, frozenset[str]]:
        """What the servers with marks may lack, by server."""
        return {server: frozenset(why) for server, why in self._reasons.items()}

    def lost_on(self, server: BackendId) -> int:
        return self._lost[server]

    @property
    def lost(self) -> int:
        """How many marks there are of sessions that were declared lost, on all servers together."""
        return self._lost.total()

    @property
    def most_marked(self) -> BackendId | None:
        """The server with the most marks."""
        return max(self._keys, key=lambda server: len(self._keys[server]), default=None)
