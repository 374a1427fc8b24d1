"""What was found wrong with answers: counted in full, kept word by word up to a bound."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum

KEPT = 100
"""Findings of which the words are kept. A server that is broken breaks every answer."""


class Kind(Enum):
    """What can be found wrong with an answer."""

    WRONG = "wrong"
    STALE = "stale"
    LOST = "lost"
    DOUBLE_HOLDER = "double holder"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer that was not true: what was seen and what was expected, of which session."""

    kind: Kind
    session: int
    detail: str

    def __str__(self) -> str:
        return f"{self.kind.value}: session {self.session}: {self.detail}"


class Findings:
    """All findings of a run."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self._counts: Counter[Kind] = Counter()

    def __repr__(self) -> str:
        return f"<Findings, {', '.join(f'{self.count(kind)} {kind.value}' for kind in Kind)}>"

    @property
    def total(self) -> int:
        """How many there are, of all kinds."""
        return self._counts.total()

    def count(self, kind: Kind) -> int:
        """How many there are of one kind."""
        return self._counts[kind]

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep its words if there are not too many yet."""
        self._counts[finding.kind] += 1
        if len(self.kept) < KEPT:
            self.kept.append(finding)
