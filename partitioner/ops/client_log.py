"""What the log says about clients and their exchanges: in a router and in a state server alike."""

from partitioner.ops.log import Log
from partitioner.protocol.messages import Operation
from partitioner.transport.observer import Observer
from partitioner.units import format_length, format_size

_ONE_FARM = (
    "give the site the same ID in IIS, in the same letter case, and the same machineKey on every web server "
    "(docs/windows.md); `partitioner farm` finds the line that differs. If these are two sites that share a "
    "session cookie on purpose, all is well"
)


class ClientLog(Observer):
    """Writes what is worth a line; what may come with every request, once a minute."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def client_turned_away(self, peer: str, reason: str) -> None:
        self._log.warn_at_times(f"turned away {peer}", "client turned away", client=peer, cause=reason)

    def clients_filled_up(self, limit: int) -> None:
        self._log.warn_at_times(
            "full",
            "client connections are at their limit",
            limit=limit,
            consequence="further ones have to wait",
        )

    def accepting_failed(self, reason: str) -> None:
        self._log.warn_at_times(
            "accepting", "clients cannot be accepted just now", cause=reason, consequence="they have to wait"
        )

    def request_rejected(self, peer: str, reason: str) -> None:
        self._log.warn_at_times(
            f"rejected {peer}",
            "malformed request refused",
            client=peer,
            cause=reason,
            consequence="answered 400 and closed; no server saw it",
        )

    def exchange_was_slow(self, peer: str, operation: Operation, duration: float, backend: str) -> None:
        self._log.warn_at_times(
            f"slow {backend}",
            "slow exchange",
            client=peer,
            operation=operation.value,
            **({"backend": backend} if backend else {}),
            took=format_length(round(duration, 2)),
            consequence="answered, and its page waited for it",
        )

    def exchange_closed(self, peer: str, operation: Operation | None, reason: str) -> None:
        self._log.warn_at_times(
            f"closed {reason}",
            "client connection closed instead of an answer",
            client=peer,
            operation=operation.value if operation else "none yet",
            cause=reason,
        )

    def applications_mixed(self, first: str, second: str) -> None:
        is_one_id = first.rpartition("(")[0] == second.rpartition("(")[0]
        unlike = "machine key or their framework version" if is_one_id else "application ID"
        self._log.warn_at_times(
            f"mixed {first} {second}",
            "one session ID comes under two applications",
            applications=f"{first} and {second}",
            cause=f"likely the web servers of a farm do not share their {unlike}",
            consequence="a user has a session of its own on each of them, and seems logged out on the others",
            remedy=_ONE_FARM,
        )

    def stood_still(self, duration: float) -> None:
        self._log.complain(
            f"stood still for {duration:.1f} s: all connections were closed",
            cause="the process or its machine was stopped, paused or asleep, or a step took that long",
            consequence="servers are looked at anew before they are sent anything",
        )

    def conversation_crashed(self, peer: str, error: Exception) -> None:
        self._log.complain("a conversation ended in a fault of this program", client=peer, exc_info=error)

    def creation_refused(self, sessions: int, used_memory: int) -> None:
        self._log.warn_at_times(
            "memory",
            "new session refused",
            cause=f"the memory limit is reached: {sessions} sessions, {format_size(used_memory)}",
            consequence="answered 400; existing sessions are kept",
        )
