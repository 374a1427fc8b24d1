"""What operators are told of single sessions. The names of the fields are those of the JSON.

A session is named to whoever has named it, and otherwise by a hash: a session ID is a bearer secret. No value
of an item is told, ever.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LockSeen:
    """A lock. Whoever knows its cookie can release it."""

    cookie: int
    age: float  # seconds
    since: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class CopyReport:
    """A session on one server. What the server does not tell is null."""

    server: str
    belongs: bool  # whether the session should be there
    marked: bool  # whether the server may be out of date for it, and is not read until it is put right
    held: bool | None  # whether it is there; null: unknown
    trouble: str | None  # why that is unknown
    size: int | None  # bytes
    digest: str | None  # 16 hex digits; the same on two servers where they hold the same
    timeout_minutes: int | None  # 0: it never expires
    idle: float | None  # seconds since it was last used
    left: float | None  # seconds until it expires
    is_new: bool  # made for a client without cookies, and not read yet
    lock: LockSeen | None


@dataclass(frozen=True, slots=True)
class ItemReport:
    """One item of a session. What could not be reached is null."""

    name: str | None  # null: the null key
    type: str | None  # .NET
    size: int | None  # bytes
    offset: int | None  # bytes, of the body as it is when it is not compressed
    static: bool  # an object that global.asax declares


@dataclass(frozen=True, slots=True)
class UnreadReport:
    """Where reading has ended too early."""

    at: int  # byte
    why: str


@dataclass(frozen=True, slots=True)
class ContentsReport:
    """What is in a session: names, types and sizes, and no values."""

    server: str  # on which it was read
    compressed: bool
    size: int  # bytes, inflated where it is compressed
    items: tuple[ItemReport, ...]
    left_out: int  # items that are not listed, smaller than those that are
    unread: UnreadReport | None  # null: it was read to its end


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """One session, of one application."""

    application: str
    target: str  # as it stands in requests
    belongs: tuple[str, ...]  # names of the servers where it should be, the one that is read first
    settled: bool  # whether it is where it belongs, and nowhere else
    lock: LockSeen | None
    copies: tuple[CopyReport, ...]
    contents: ContentsReport | None


@dataclass(frozen=True, slots=True)
class SessionReport:
    """All sessions that a key stands for: one for each application that has given out the ID."""

    key: str  # as it was asked for
    sessions: tuple[SessionSeen, ...]
    not_searched: dict[str, str]  # servers whose keys could not be searched for the ID, and why


@dataclass(frozen=True, slots=True)
class UnlockReport:
    """A lock that was released."""

    application: str
    lock: LockSeen  # as it was


@dataclass(frozen=True, slots=True)
class ApplicationWeight:
    """The sessions of one application."""

    application: str
    sessions: int
    bytes: int  # of bodies, each copy counted


@dataclass(frozen=True, slots=True)
class LargeSessionReport:
    """One of the largest sessions."""

    session: str  # eight hex digits of the SHA-256 of its key, as `partitioner locks` shows them
    application: str
    bytes: int
    servers: tuple[str, ...]
    idle: float | None  # seconds; null: it never expires
    locked: bool
    items: tuple[ItemReport, ...]  # its largest ones


@dataclass(frozen=True, slots=True)
class LargestReport:
    """Which sessions take the memory."""

    sessions: int
    bytes: int  # of bodies, each copy counted
    applications: tuple[ApplicationWeight, ...]  # the heaviest first
    largest: tuple[LargeSessionReport, ...]  # the largest first
    refused: dict[str, str]  # servers that could not be asked, and why
    complete: bool  # false: it took too long, and is of a part of the sessions


@dataclass(frozen=True, slots=True)
class KindReport:
    """Items of one name and type."""

    application: str
    name: str | None  # null: the null key
    type: str | None
    count: int  # each copy counted
    bytes: int  # the same


@dataclass(frozen=True, slots=True)
class ItemsReport:
    """Which items take the memory, each copy counted."""

    sessions: int
    bodies: int  # bytes, as they are stored
    bytes: int  # of items, inflated where bodies are compressed
    unread: int  # sessions that could not be read to their end
    items: tuple[KindReport, ...]  # the heaviest first
    left_out: int  # names and types that are not listed, lighter than those that are
    refused: dict[str, str]
    complete: bool
