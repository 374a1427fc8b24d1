"""Reload, for a state server whose sessions are on an engine: wholly or not at all."""

from collections.abc import Callable

from partitioner.config import Settings
from partitioner.config.changes import restarts_needed
from partitioner.daemon.store import StoreParts
from partitioner.errors import ConfigurationInvalid, Refused


class Reloading:
    """Takes over what of a changed file can change while it serves: `allow_clients`."""

    def __init__(self, parts: StoreParts, running: Settings, read: Callable[[], Settings]) -> None:
        self._parts = parts
        self._running = running
        self._read = read

    async def reload(self, cause: str) -> object:
        """Read the configuration again. Raises nothing: what is wrong is logged."""
        try:
            return self.apply(cause)
        except ConfigurationInvalid as invalid:
            self._parts.log.complain("reload refused", cause=str(invalid), consequence="nothing has changed")
        except Refused as refused:
            self._parts.log.complain("reload refused", cause=str(refused), consequence="nothing has changed")
        return None

    def apply(self, cause: str) -> dict[str, object]:
        """The same. Raises ConfigurationInvalid or Refused; nothing has changed then."""
        wanted = self._read()
        problems = restarts_needed(self._running, wanted)
        if problems:
            raise Refused("; ".join(map(str, problems)))
        self._parts.downstream.allow(wanted.allow_clients)
        self._running = wanted
        self._parts.log.note("reloaded", cause=cause)
        return {"outcome": "applied"}
