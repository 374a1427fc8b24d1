"""A call: one script that is to be carried out once, however often it has to be sent."""

from collections.abc import Callable
from typing import TypeAlias

import hiredis

from partitioner.errors import StoreFailure
from partitioner.store.scripts import Script

ReplyError: TypeAlias = hiredis.ReplyError
Reply: TypeAlias = int | bytes | list[object] | ReplyError | None
"""What an engine says: hiredis gives an error as a value."""

Settle: TypeAlias = "Callable[[Reply | StoreFailure], None]"
"""Is called once, with what the engine replied, or with why there is no reply that counts."""


class Call:
    """A script with its arguments. Times are trio's; they become the engine's when it is sent."""

    __slots__ = (
        "arguments",
        "began_at",
        "by_source",
        "deadline",
        "is_again",
        "is_asking",
        "name",
        "script",
        "settle",
        "size",
    )

    def __init__(
        self,
        script: Script,
        name: bytes,
        arguments: tuple[bytes, ...],
        began_at: float,
        deadline: float,
        settle: Settle,
    ) -> None:
        """`name` is the engine's key. After the deadline the script does nothing, whenever it may start."""
        self.script = script
        self.name = name
        self.arguments = arguments
        self.began_at = began_at
        self.deadline = deadline
        self.settle: Settle | None = settle  # None when it has been settled
        self.size = sum(map(len, arguments))
        self.is_again = False  # it was sent before, and may have been carried out
        self.by_source = False  # the engine does not know the script by its hash
        self.is_asking = False  # the next try is at a node that takes the slot over (ASK)

    def __repr__(self) -> str:
        return f"<Call {self.script.name}{' again' if self.is_again else ''}>"

    def settle_with(self, outcome: "Reply | StoreFailure") -> None:
        """Tell whoever has asked. Only the first outcome counts."""
        settle, self.settle = self.settle, None
        if settle is not None:
            settle(outcome)

    def write(self, clock_offset: float) -> bytes:
        """The command. `clock_offset` is the engine's clock less trio's, in seconds."""
        script, name = self.script, self.name
        if self.by_source:
            start = b"$4\r\nEVAL\r\n$%d\r\n%b" % (len(script.source), script.source)
        else:
            start = b"$7\r\nEVALSHA\r\n$40\r\n" + script.sha
        until = b"%d" % int((self.deadline + clock_offset) * 1000)
        began = b"%d" % int((self.began_at + clock_offset) * 1000)
        pieces = [
            b"*%d\r\n%b\r\n$1\r\n1\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$1\r\n%d\r\n$%d\r\n%b\r\n"
            % (
                7 + len(self.arguments),
                start,
                len(name),
                name,
                len(until),
                until,
                self.is_again,
                len(began),
                began,
            )
        ]
        for argument in self.arguments:
            pieces.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
        if self.is_asking:
            pieces.insert(0, b"*1\r\n$6\r\nASKING\r\n")
        return b"".join(pieces)
