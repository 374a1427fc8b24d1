"""Every failure, on one page.

A class says what broke; its docstring says whose fault that is, what the client will see, and what
state we are in afterwards. Expected outcomes are not here: a locked session is an answer.

    PartitionerError
    ├── ConfigurationInvalid     the operator's file or flags
    ├── AddressUnavailable       the operator's listen address
    ├── FileUnusable             a file of the operator's
    ├── WorkerFailed             a process that this program has started to serve
    ├── MalformedFile            what stands in a file that we should have written
    ├── WebConfigUnreadable      a configuration file of a web server
    │   └── NoWebConfig          one that configures something else
    ├── EmptyPool                no server to place a session on
    ├── Refused                  an operator's order that would do harm
    │   └── WouldLose            one that would take the last good copy of sessions away
    ├── NotActive                an order to a standby
    ├── RouterSuperseded         a server that has seen a later router
    ├── UnknownBackend           an operator's spelling of a backend's name
    ├── ListingFailed            the admin port of a state server of our own
    ├── MalformedRequest         a client's bytes
    ├── MalformedAnswer          a backend's bytes
    ├── NotListening             an address at which no connection is taken
    ├── Unreachable              an address to which no way leads
    ├── OutOfFiles               our own limit of open files
    ├── ConnectionBroken         a socket, to a client or to a backend
    │   └── ConnectionLost       the network has given up
    ├── ConnectionEnded          an end of file where an answer was expected
    ├── ClientGone               a client that left, or stalled, in mid-exchange
    ├── NoBackendLeft            every server that may hold the session is out
    ├── StoreFailure             a session on an engine cannot be asked for
    │   ├── EngineUnreachable, EngineTooSlow, EngineLost
    │   ├── EngineUnfit, EngineEmpty
    │   └── OutcomeUnknown, ForeignRecord, StoreOverloaded
    └── BackendFailure           one exchange with one backend
        ├── BackendRefused, BackendUnreachable, BackendReset, BackendHungUp
        ├── BackendTooSlow, BackendMalformed
        ├── BackendRestarted, BackendEjected, BackendIsAlias
        └── BackendNotAtFault
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum


class PartitionerError(Exception):
    """Any failure that the partitioner foresees."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration: where, what was seen, and what was expected."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigurationInvalid(PartitionerError):
    """The operator's configuration breaks rules. All of them are listed; nothing was started."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class AddressUnavailable(PartitionerError):
    """The address to listen on is in use or is not ours. Nothing was started."""


class FileUnusable(PartitionerError):
    """A file that the operator has named cannot be read or written. What stood in it before still does."""


class WorkerFailed(PartitionerError):
    """A worker, one of several processes that were to serve at one port, has ended before it did.

    Its own lines of the log say more. No client was served.
    """


class MalformedFile(PartitionerError):
    """A file is foreign, damaged, or of another version. The message completes a sentence about it."""


class WebConfigUnreadable(PartitionerError):
    """A file that should be a web server's configuration cannot be read as one; others are still compared.

    The message completes a sentence about the file.
    """

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        """`line` and `column` count from 1; None where the whole file is meant."""
        super().__init__(reason)
        self.line = line
        self.column = column


class NoWebConfig(WebConfigUnreadable):
    """A file was read, and configures no web server. The message completes a sentence about it."""


class Refused(PartitionerError):
    """What an operator asks for would do harm, and the message says which. Nothing was changed."""


class WouldLose(Refused):
    """An order would take the last good copy of sessions away. Nothing was changed; it can be forced."""

    def __init__(self, sentence: str, sessions: int | None = None) -> None:
        """`sessions` is how many are at stake, at most; None if that is unknown."""
        super().__init__(sentence)
        self.sessions = sessions


class NotActive(PartitionerError):
    """Another router is the active one of this farm, or may be: this one writes nothing."""


class RouterSuperseded(PartitionerError):
    """A state server's client is a router in whose place another one has claimed.

    Its request is not carried out, and its connection is closed.
    """


class UnknownBackend(PartitionerError):
    """An operator names a backend that is not in the pool. Nothing was changed."""

    @classmethod
    def called(cls, name: str, names: Iterable[str]) -> "UnknownBackend":
        """Say which of these names may be meant."""
        near = get_close_matches(name, names := list(names), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
        return cls(f"no backend is called {name!r}; {hint}")


class ListingFailed(PartitionerError):
    """A state server's admin port did not say which sessions it holds. It is asked again later."""


class EmptyPool(PartitionerError):
    """A preference list was asked of no servers at all: the caller's mistake."""


class MalformedRequest(PartitionerError):
    """A client's bytes are no request that a stock state server would take (protocol.md 3.2).

    The client is answered 400 and its connection is closed. No backend has seen anything of it.
    """


class MalformedAnswer(PartitionerError):
    """A backend's bytes are no answer. Its connection is of no use any more."""


class ConnectionBroken(PartitionerError):
    """The network, or the process at the other end, tore a connection down. It is of no use any more."""


class ConnectionLost(ConnectionBroken):
    """The network gave a connection up. The other end may not know, and may still carry out what was sent."""


class NotListening(PartitionerError):
    """A connection was refused. Nothing was sent."""


class Unreachable(PartitionerError):
    """A host has no such name, or there is no way to it. Nothing was sent."""


class OutOfFiles(PartitionerError):
    """This process, or the system, cannot open another connection. It says nothing of the other end."""


class ConnectionEnded(PartitionerError):
    """The other end closed a connection cleanly where an answer, or its rest, was expected."""


class ClientGone(PartitionerError):
    """A client closed its connection, or stalled, in the middle of an exchange. No client is left to
    answer."""


class NoBackendLeft(PartitionerError):
    """No server that may hold this session can be asked.

    The client's connection is closed: an answer of 404 or 5xx would make the web server start an
    empty session and overwrite the real one later (protocol.md 8.2).
    """


class StoreFailure(PartitionerError):
    """A session cannot be asked for at the store's engine, or what it says does not count.

    The client's connection is closed, for the reason that stands at NoBackendLeft.
    """


class EngineUnreachable(StoreFailure):
    """No connection to the engine can be opened. Nothing was sent; it is retried soon."""


class EngineLost(StoreFailure):
    """The engine has closed a connection, or says that it does not serve now.

    What was sent over it may have been carried out; it is sent again under the same id.
    """


class EngineTooSlow(StoreFailure):
    """The engine has not replied in time. Otherwise as EngineLost."""


class EngineUnfit(StoreFailure):
    """The engine is there, and cannot be used as things are configured: the message says what to mend.

    A wrong password, no permission for a command, a replica, a version that is too old.
    """


class EngineEmpty(StoreFailure):
    """The engine has lost its sessions: its canary is gone, or another one (store/canary.py)."""


class OutcomeUnknown(StoreFailure):
    """A request was sent again, and whether it was carried out the first time cannot be told any more."""


class ForeignRecord(StoreFailure):
    """Where a session should be the engine holds something else. It was left as it is."""


class StoreOverloaded(StoreFailure):
    """Too many requests wait for the engine. Nothing was sent."""


class Phase(Enum):
    """How far an exchange with a backend had come when it failed."""

    CONNECTING = "connecting"  # not one byte of the request was written
    SENDING = "sending"  # some of it may have been written
    READING = "reading"  # all of it was written, the answer is not complete


class BackendFailure(PartitionerError):
    """An exchange with one backend failed. Its connection is given up; the retry table says what next."""

    def __init__(self, backend: str, phase: Phase, detail: str) -> None:
        super().__init__(backend, phase, detail)
        self.backend = backend  # its identity
        self.name = backend  # by which the configuration calls it now: the roster knows
        self.phase = phase
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.name} {self.detail}, while {self.phase.value}"


class BackendRefused(BackendFailure):
    """No process listens at the backend's address: proof that its process is gone."""


class BackendUnreachable(BackendFailure):
    """The backend's address cannot be reached: no route, no such host name."""


class BackendTooSlow(BackendFailure):
    """The backend did not do its part in time: frozen, overloaded, or cut off."""


class BackendReset(BackendFailure):
    """The backend's end of a connection was torn down."""


class BackendHungUp(BackendFailure):
    """The backend closed a connection cleanly before it had answered, as stock servers do to bad requests."""


class BackendMalformed(BackendFailure):
    """The backend answered something that is no answer, or one that must not reach a client."""


class BackendRestarted(BackendFailure):
    """The backend's canary is gone or is another one: a new, empty incarnation began behind the same
    address."""


class BackendIsAlias(BackendFailure):
    """Another backend of the pool has this very memory: one server was entered twice. It does not serve."""


class BackendEjected(BackendFailure):
    """The backend was ejected while the exchange was under way; nothing that it says now is relayed."""


class BackendNotAtFault(BackendFailure):
    """The backend had no fair chance: we ran out of files, or the client left it next to no time."""
