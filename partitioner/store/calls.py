"""A call: one script that is to be carried out once, however often it has to be sent."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import hiredis

from partitioner.errors import StoreFailure
from partitioner.store.scripts import Script

ReplyError: TypeAlias = hiredis.ReplyError
Reply: TypeAlias = int | bytes | list[object] | ReplyError | None
"""What an engine says: hiredis gives an error as a value."""

OnOutcome: TypeAlias = "Callable[[Reply | StoreFailure], None]"
"""Is called once, with what the engine replied, or with why there is no reply that counts."""


class Call(ABC):
    """A script with its arguments. Times are trio's; they become the engine's when it is sent."""

    __slots__ = (
        "arguments",
        "began_at",
        "by_source",
        "deadline",
        "is_again",
        "is_asking",
        "is_settled",
        "name",
        "script",
        "size",
    )

    def __init__(
        self,
        script: Script,
        name: bytes,
        arguments: tuple[bytes, ...],
        size: int,
        began_at: float,
        deadline: float,
    ) -> None:
        """`name` is the engine's key, and `size` what the arguments have in bytes, about.

        After the deadline the script does nothing, whenever it may start.
        """
        self.script = script
        self.name = name
        self.arguments = arguments
        self.size = size
        self.began_at = began_at
        self.deadline = deadline
        self.is_settled = False
        self.is_again = False  # it was sent before, and may have been carried out
        self.by_source = False  # the engine does not know the script by its hash
        self.is_asking = False  # the next try is at a node that takes the slot over (ASK)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.script.name}{' again' if self.is_again else ''}>"

    @abstractmethod
    def take(self, outcome: "Reply | StoreFailure") -> None:
        """See what has come of it."""

    def settle_with(self, outcome: "Reply | StoreFailure") -> None:
        """Say what has come of it. Only the first outcome counts."""
        if not self.is_settled:
            self.is_settled = True
            self.take(outcome)

    def write(self, clock_offset: float) -> bytes:
        """The command. `clock_offset` is the engine's clock less trio's, in seconds."""
        pieces: list[bytes] = []
        self.write_to(pieces, clock_offset)
        return b"".join(pieces)

    def write_to(self, pieces: list[bytes], clock_offset: float) -> None:
        """Append the pieces of the command. Moments have 13 digits (until 2286)."""
        script, name, arguments = self.script, self.name, self.arguments
        if self.is_asking:
            pieces.append(b"*1\r\n$6\r\nASKING\r\n")
        pieces.append(
            b"*%d\r\n%b$%d\r\n%b\r\n$13\r\n%d\r\n$1\r\n%d\r\n$13\r\n%d\r\n$%d\r\n"
            % (
                7 + len(arguments),
                script.by_source if self.by_source else script.by_hash,
                len(name),
                name,
                (self.deadline + clock_offset) * 1000,
                self.is_again,
                (self.began_at + clock_offset) * 1000,
                len(arguments[0]),
            )
        )
        pieces.append(arguments[0])
        for argument in arguments[1:]:
            pieces.append(b"\r\n$%d\r\n" % len(argument))
            pieces.append(argument)
        pieces.append(b"\r\n")


class OtherCall(Call):
    """A call that is no exchange of a client."""

    __slots__ = ("_on_outcome",)

    def __init__(
        self,
        script: Script,
        name: bytes,
        arguments: tuple[bytes, ...],
        began_at: float,
        deadline: float,
        on_outcome: OnOutcome = lambda outcome: None,
    ) -> None:
        super().__init__(script, name, arguments, sum(map(len, arguments)), began_at, deadline)
        self._on_outcome = on_outcome

    def take(self, outcome: "Reply | StoreFailure") -> None:
        self._on_outcome(outcome)
