"""What travels: the heads of requests and answers, and the vocabulary they share.

A head keeps the very bytes it was read from, because what is forwarded must be forwarded unchanged:
a stock server matches header lines byte for byte, and takes no lock when a proxy re-spells
`Exclusive: acquire` (protocol.md 1, fact 2). The parsed fields are a copy, for deciding.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

_TIMEOUT = re.compile(rb"\r\nTimeout: *([0-9]{1,9})\r\n", re.IGNORECASE)
_ACTION_FLAGS = re.compile(rb"\r\nActionFlags: *1\r\n", re.IGNORECASE)


class Operation(Enum):
    """What a web server may ask of a session (protocol.md 3.1)."""

    GET = "get"
    ACQUIRE = "acquire"
    RELEASE = "release"
    SET = "set"
    CREATE_UNINITIALIZED = "create_uninitialized"
    REMOVE = "remove"
    RESET_TIMEOUT = "reset_timeout"

    # There is but one of each. Enum's own hash is Python code, and operations are looked up all the time.
    __hash__ = object.__hash__


class Status(Enum):
    """The four things that a state server says (protocol.md 5.1): code and reason."""

    OK = (200, "OK")
    BAD_REQUEST = (400, "Bad Request")
    NOT_FOUND = (404, "Not Found")
    LOCKED = (423, "Locked")

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


# Named tuples, where other values are frozen dataclasses: these are made in every exchange of a state server,
# and cost half as much.


class RequestHead(NamedTuple):
    """The head of one request: its bytes as received, empty line included, and what they say."""

    raw: bytes
    operation: Operation
    target: bytes  # as it stands on the wire, percent-encoded
    content_length: int = 0
    timeout_minutes: int | None = None
    lock_cookie: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The head of one answer: its bytes as received, empty line included, and what they say."""

    raw: bytes
    status: int
    content_length: int = 0
    lock_cookie: int | None = None

    @property
    def timeout_minutes(self) -> int | None:
        """The time-out of the session, where a get or an acquire was answered with it."""
        match = _TIMEOUT.search(self.raw)
        return None if match is None else int(match[1])

    @property
    def has_action_flags(self) -> bool:
        """Whether this was the first get of an uninitialized session, and has consumed its flag."""
        return _ACTION_FLAGS.search(self.raw) is not None


class Answer(NamedTuple):
    """An answer before it is bytes. Fields that are None or False are not written."""

    status: Status
    body: bytes = b""
    action_flags: bool = False
    lock_age: float | None = None  # seconds
    lock_cookie: int | None = None
    timeout_minutes: int | None = None
