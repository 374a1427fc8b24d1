"""What a backend does that no state server does, and that web servers fail by although it is relayed.

`check --connect` refuses such a backend. A router that is already in front of it says so once, when it first
sees it, and shows it in the status: it may be what the pages fail by.
"""

import re
from collections.abc import Callable
from enum import StrEnum

from partitioner.protocol.messages import AnswerHead, Operation

_VERSION = re.compile(rb"\r\nX-AspNet-Version: ([0-9]+)\.")


class Shortcoming(StrEnum):
    """What was seen; it completes "the backend ..."."""

    NO_VERSION = "sends no X-AspNet-Version of 2 or above; ASP.NET refuses such a server"
    NO_LOCK_COOKIE = "handed out a lock without a LockCookie"
    KEEPS_HALF_CLOSED = "does not close a connection that was half-closed"


def lacks_version(head: AnswerHead) -> bool:
    """Whether an answer is one that ASP.NET refuses (protocol.md 5.1)."""
    version = _VERSION.search(head.raw)
    return version is None or int(version[1]) < 2


class Shortcomings:
    """Those of one backend, since it last began a new memory."""

    def __init__(self, on_new: Callable[[Shortcoming], None]) -> None:
        """`on_new` is told of each once."""
        self._on_new = on_new
        self._seen: dict[Shortcoming, None] = {}

    @property
    def seen(self) -> tuple[Shortcoming, ...]:
        """In the order in which they were seen first."""
        return tuple(self._seen)

    def look_at(self, operation: Operation, head: AnswerHead) -> None:
        """Note what is wrong with an answer that is relayed."""
        if lacks_version(head):
            self.note(Shortcoming.NO_VERSION)
        if operation is Operation.ACQUIRE and head.status == 200 and head.lock_cookie is None:
            self.note(Shortcoming.NO_LOCK_COOKIE)

    def note(self, shortcoming: Shortcoming) -> None:
        if shortcoming not in self._seen:
            self._seen[shortcoming] = None
            self._on_new(shortcoming)

    def clear(self) -> None:
        """Another process answers from now on."""
        self._seen.clear()
