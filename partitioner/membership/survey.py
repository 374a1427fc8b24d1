"""What a router has read at all servers, and how far that is believed in a claim (design.md 5.2, 5.3)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from partitioner.membership.backend import Address, BackendId
from partitioner.membership.inheritance import Inheritance
from partitioner.membership.items import CanaryItem, Term, TermItem, short_of
from partitioner.membership.record import Record, text_of, token_of

BEHIND = 10_000
"""Milliseconds by which the beat of a server that was UP may be behind the newest one (design.md 5.1)."""


@dataclass(slots=True)
class Survey:
    """Canaries, terms and records of all servers that could be asked. It is filled in as they answer."""

    canaries: dict[BackendId, CanaryItem | None] = field(default_factory=dict)
    terms: dict[BackendId, TermItem | None] = field(default_factory=dict)
    records: dict[BackendId, Record] = field(default_factory=dict)
    addresses: set[Address] = field(default_factory=set)  # of those that were read
    failures: dict[BackendId, str] = field(default_factory=dict)  # why the others were not read

    @property
    def found(self) -> set[Term]:
        """All terms that any server names."""
        return {term for item in self.terms.values() if item is not None for term in item.all}

    @property
    def newest_beat(self) -> int:
        return max((each.beat for each in self.canaries.values() if each is not None), default=0)

    def records_of_this_farm(self, ours: Record | None) -> list[Record]:
        """The records that were found of this farm's lineage, which is that of most servers.

        `ours` is the record of our own disk. Where as many servers have one lineage as another, it decides.
        It may as well be the first one of a claim that came to nothing, so it does not speak against servers.
        """
        found = [*self.records.values(), *([] if ours is None else [ours])]
        if not found:
            return []
        servers = Counter(each.lineage for each in self.records.values())
        lineage = max(found, key=lambda each: (servers[each.lineage], each is ours, each.order)).lineage
        return [each for each in found if each.lineage == lineage]

    def shows_latest(self, record: Record) -> bool:
        """Whether no server that was not asked can have a later record than this (design.md 5.2)."""
        tokens = {text_of(canary.token) for canary in self.canaries.values() if canary is not None}
        up = [each for each in record.members if each.was_up and each.token is not None]
        read = [each for each in up if each.token in tokens]
        # One that has another memory by now has lost its record with the rest.
        lost = [each for each in up if each.token not in tokens and each.backend.address in self.addresses]
        return len(read) + len(lost) == len(up) or len(read) >= max(2, len(up) - 1)

    def doubting_the_late(self, inheritance: Inheritance, record: Record, now: float) -> Inheritance:
        """The same inheritance, with servers in doubt that were waited for in vain.

        They may have a later record, which says that they lack something.
        """
        read = {canary.token for canary in self.canaries.values() if canary is not None}
        up = {
            each.token.encode("latin-1") for each in record.members if each.was_up and each.token is not None
        }
        late = dict.fromkeys(up - read, now + record.longest_life)
        return replace(inheritance, departed=inheritance.departed | late)

    def gone_back(self, record: Record) -> Iterable[bytes]:
        """The memories that have gone back in time, or were not there for a while, by their tokens."""
        entries: Mapping[str | None, int] = {
            each.token: each.beat for each in record.members if not each.was_up
        }
        up = {each.token for each in record.members if each.was_up}
        told = self._told()
        for canary in self.canaries.values():
            if canary is None:
                continue
            token = text_of(canary.token)
            is_behind = token in up and canary.beat < self.newest_beat - BEHIND
            if is_behind or canary.beat < max(entries.get(token, 0), told.get(short_of(canary.token), 0)):
                yield canary.token

    def known_beats(self, record: Record | None) -> dict[bytes, int]:
        """The least beat that each memory shows which is not older than it was, by token.

        Those that have gone back show less. Of one that was not read it is what others tell.
        """
        told = self._told()
        tokens = [] if record is None else [each.token for each in record.members]
        known = {
            token_of(each): told[short_of(token_of(each))]
            for each in tokens
            if each is not None and short_of(token_of(each)) in told
        }
        known |= {canary.token: canary.beat for canary in self.canaries.values() if canary is not None}
        for token in () if record is None else self.gone_back(record):
            known[token] += 1
        return known

    def _told(self) -> dict[str, int]:
        """The last beats that other servers tell of memories, by `short_of` their tokens."""
        told: dict[str, int] = {}
        for canary in self.canaries.values():
            for memory, beat in () if canary is None else canary.others:
                told[memory] = max(beat, told.get(memory, 0))
        return told


def order_of(record: Record | None) -> tuple[Term, int]:
    """What the latest of several records is found by; none comes before all of them."""
    return (Term(-1, ""), -1) if record is None else record.order
