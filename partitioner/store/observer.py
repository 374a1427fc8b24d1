"""What the store reports: facts, in the past tense. Logs and metrics listen."""

from partitioner.errors import StoreFailure
from partitioner.membership.backend import Address


class StoreObserver:
    """Hears facts. Every method does nothing here; a listener is quick and never raises."""

    def engine_found(self, address: Address, replicas: int) -> None:
        """Requests are carried out at this primary; so many replicas have to acknowledge each change."""

    def engine_lost(self, failure: StoreFailure) -> None:
        """Requests are not carried out, for this reason, which is a new one."""

    def loss_accepted(self) -> None:
        """The engine had lost its sessions, and is taken as it stands."""

    def call_repeated(self) -> None:
        """A request got no reply that counts, and is sent again under its id."""

    def calls_degraded(self, count: int) -> None:
        """So many requests were answered although not all replicas have what they have changed."""

    def call_was_late(self) -> None:
        """A script started after its request's deadline, and did nothing."""

    def lock_given_back(self) -> None:
        """A lock was given back whose page had failed."""

    def lock_left(self, reason: str) -> None:
        """Such a lock could not be given back: its session is locked until the client breaks it (110 s)."""

    def record_is_foreign(self, name: bytes) -> None:
        """Under the name of a session lies something that is none. It was left as it is."""

    def memory_is_full(self) -> None:
        """A new session was refused because the engine's memory is full."""
