"""What items and sessions take of the memory, as state servers of our own add it up and routers sum it up."""

from collections.abc import Mapping
from dataclasses import dataclass

from partitioner.placement.application import application_of, name_of
from partitioner.placement.session_id import session_id
from partitioner.protocol.target import canonical_form

MOST_APPLICATIONS = 64

OTHERS = "(others)"
"""What is beyond a bound."""


@dataclass(slots=True)
class Weight:
    """How many there are of something, and how much memory their bodies take. Each copy counts."""

    count: int = 0
    size: int = 0  # bytes

    def add(self, count: int, size: int) -> None:
        self.count += count
        self.size += size


@dataclass(frozen=True, slots=True)
class Kind:
    """Items of one name and type in the sessions of one application."""

    application: str
    name: str | None  # None: the null key
    type: str | None


@dataclass(frozen=True, slots=True)
class WeighedKind:
    """The same, with what they take on one server, or on all."""

    kind: Kind
    count: int
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class WeighedPage:
    """What items a part of the sessions of a server has."""

    kinds: tuple[WeighedKind, ...]
    sessions: int  # in this part
    size: int  # bytes of their bodies
    unread: int  # sessions of them that could not be read to their end
    following: str | None  # target of the session with which the next part begins
    canaries: Mapping[str, str]


def bounded(kind: Kind, known: Mapping[Kind, Weight], at_most: int) -> Kind:
    """The kind, or where there are too many the one that stands for all others of its application."""
    if kind in known or len(known) < at_most:
        return kind
    return Kind(kind.application if len(known) < at_most + MOST_APPLICATIONS else OTHERS, OTHERS, None)


class ApplicationNames:
    """The names of applications, by the keys of their sessions."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}

    def of(self, key: bytes) -> str:
        canonical = canonical_form(key)
        application = application_of(canonical, session_id(canonical))
        name = self._names.get(application)
        if name is None:
            if len(self._names) >= MOST_APPLICATIONS:
                return OTHERS
            name = self._names[application] = name_of(application) if application else "(none)"
        return name
