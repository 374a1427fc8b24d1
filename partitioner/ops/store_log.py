"""What the log says about a store."""

from partitioner.errors import EngineEmpty, EngineUnfit, StoreFailure
from partitioner.membership.backend import Address
from partitioner.ops.log import Log
from partitioner.store.observer import StoreObserver


class StoreLog(StoreObserver):
    """Writes what is worth a line; what may come with every request, once a minute."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def engine_found(self, address: Address, replicas: int) -> None:
        self._log.note("engine found", primary=str(address), replicas_that_acknowledge=replicas)

    def engine_lost(self, failure: StoreFailure) -> None:
        if isinstance(failure, EngineUnfit | EngineEmpty):
            consequence = "clients' connections are closed until it is mended"
        else:
            consequence = "requests wait for it until their deadline"
        self._log.complain("engine lost", cause=str(failure), consequence=consequence)

    def loss_accepted(self) -> None:
        self._log.complain(
            "the engine has lost its sessions",
            cause="its canary is gone, or is another or an older one",
            consequence="their users get new sessions",
        )

    def lock_left(self, reason: str) -> None:
        self._log.warn_at_times("lock left", "a lock could not be given back", cause=reason)

    def record_is_foreign(self, name: bytes) -> None:
        self._log.warn_at_times(
            "foreign record",
            "foreign record",
            name=name.decode("ascii", "replace"),
            consequence="it is left as it is, and its session's clients are closed",
        )

    def memory_is_full(self) -> None:
        self._log.warn_at_times(
            "memory full",
            "the engine's memory is full",
            consequence="new sessions are refused (400); existing ones go on",
        )

    def calls_degraded(self, count: int) -> None:
        self._log.warn_at_times(
            "degraded",
            "replicas are missing",
            consequence="changes are answered that not all replicas have",
        )
