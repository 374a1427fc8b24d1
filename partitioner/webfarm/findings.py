"""What is found in the configuration files of a farm: values, and what is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from partitioner.webfarm.files import Origin
from partitioner.webfarm.sections import Sections
from partitioner.webfarm.settings import Value

MOST_LISTED = 4
"""In a sentence; JSON has all."""


class Severity(StrEnum):
    """How much a finding matters, the worst first."""

    ERROR = "error"  # sessions or pages are lost
    UNKNOWN = "unknown"  # something that must be the same could not be compared
    WARNING = "warning"  # works, and may not be meant
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Severity
    application: str  # "" for all of a web server
    setting: str
    servers: tuple[str, ...]
    origins: tuple[Origin, ...]  # where it is written; none where no file says it
    found: str
    expected: str
    why: str  # it matters


@dataclass(frozen=True, slots=True)
class Row:
    """A value of a setting, and all web servers that have it."""

    setting: str
    value: str
    servers: tuple[str, ...]
    origin: Origin | None  # on the first of them
    is_odd: bool  # whether others have another one


@dataclass(frozen=True, slots=True)
class Compared:
    """One application of the farm."""

    name: str
    servers: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    servers: tuple[str, ...]
    applications: tuple[Compared, ...]
    findings: tuple[Finding, ...]

    @property
    def is_one_farm(self) -> bool:
        """Whether the web servers share all that they must, as far as the files tell."""
        return not any(each.severity in (Severity.ERROR, Severity.UNKNOWN) for each in self.findings)


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the router's configuration asks of the web servers."""

    exchange_timeout: float  # seconds
    session_timeout_max: float  # seconds
    ports: tuple[int, ...]  # at which it listens; none: any will do


@dataclass(frozen=True, slots=True)
class Subject:
    """One application on all its web servers, for the rules."""

    name: str
    values: Mapping[str, Mapping[str, Value]]  # setting -> web server -> value
    sections: Mapping[str, Sections]  # by web server
    expectations: Expectations

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(self.sections)


def listed(names: Sequence[str]) -> str:
    """Names of web servers for people, the first of many."""
    shown = ", ".join(names[:MOST_LISTED])
    return shown if len(names) <= MOST_LISTED else f"{shown} and {len(names) - MOST_LISTED} more"
