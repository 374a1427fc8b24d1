"""Reload, for a state server whose sessions are on an engine: wholly or not at all."""

from collections.abc import Awaitable, Callable

from partitioner.config import Settings
from partitioner.config.changes import APPLIED_TO_A_STORE, restarts_needed
from partitioner.errors import ConfigurationInvalid, Refused
from partitioner.membership.backend import Network
from partitioner.ops.log import Log

Allow = Callable[[tuple[Network, ...]], Awaitable[None]]
"""Has clients of these networks served from now on, by whoever serves them."""


class StoreReload:
    """Takes over what of a changed file can change while it serves: `allow_clients`."""

    def __init__(self, running: Settings, read: Callable[[], Settings], allow: Allow, log: Log) -> None:
        self._running = running
        self._read = read
        self._allow = allow
        self._log = log

    async def reload(self, cause: str) -> object:
        """Read the configuration again. Raises nothing: what is wrong is logged."""
        try:
            return await self.apply(cause)
        except (ConfigurationInvalid, Refused) as refusal:
            self._log.complain("reload refused", cause=str(refusal), consequence="nothing has changed")
        return None

    async def apply(self, cause: str) -> dict[str, object]:
        """The same. Raises ConfigurationInvalid or Refused; nothing has changed then."""
        wanted = self._read()
        problems = restarts_needed(self._running, wanted, APPLIED_TO_A_STORE)
        if problems:
            raise Refused("; ".join(map(str, problems)))
        self._running = wanted
        await self._allow(wanted.allow_clients)
        self._log.note("reloaded", cause=cause)
        return {"outcome": "applied"}


async def reload_or_refuse(reloading: StoreReload | None) -> object:
    """Reload for an operator. Raises ConfigurationInvalid or Refused."""
    if reloading is None:
        raise Refused("there is no configuration file to read")
    return await reloading.apply("POST /api/v1/reload")
