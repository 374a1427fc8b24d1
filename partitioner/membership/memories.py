"""What a router knows of memories, by the tokens of their canaries, whichever member has them now.

A memory shows its token wherever it turns up. By that it is told whether all that it has missed was noted, or
whether it is in doubt for as long as a session lives (design.md 5.1).
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from partitioner.membership.health import Health, HealthRecord, suspect
from partitioner.membership.inheritance import Inheritance


@dataclass(slots=True)
class Memories:
    """Tokens, and what each of them means."""

    departed: dict[bytes, float] = field(default_factory=dict)  # that are out; until when that matters
    copied: dict[bytes, str] = field(default_factory=dict)  # of which server each began as a copy
    empty: set[bytes] = field(default_factory=set)  # that were planted on empty memories
    unaccounted: set[bytes] = field(default_factory=set)  # of which nobody noted what they missed
    trusts_unknown: bool = True  # no router was here before, so memories are taken as they stand

    def start_over(self, inheritance: Inheritance) -> None:
        """Begin with what the router before this one has left, or with nothing."""
        self.trusts_unknown = inheritance.trusts_unknown
        self.empty = set(inheritance.empty)
        self.unaccounted = set()
        self.departed = dict(inheritance.departed)

    def note_departed(self, tokens: Iterable[bytes], until: float) -> None:
        """What these memories miss is not noted any more: if they come back by then, they are in doubt."""
        self.departed |= dict.fromkeys(tokens, until)

    def note_in(self, token: bytes | None) -> None:
        """A member answers with this memory: its record says from now on whether it is read."""
        self.departed.pop(token or b"", None)

    def doubted(self, record: HealthRecord, token: bytes, now: float, longest_life: float) -> HealthRecord:
        """The record of a backend that shows this token, in doubt if it is not known what that memory missed.

        That is so of one that was out, and of one that no record names (design.md 5.1).
        """
        is_out = self.departed.get(token, float("-inf")) > now
        # What it missed after T_max of absence was not marked, and its clock may have stood still.
        is_away = record.health is Health.DOWN and record.served_incarnation == token
        is_out = is_out or (is_away and now - record.since > longest_life)
        is_known = (
            token in (record.served_incarnation, record.incarnation)
            or token in self.empty
            or self.trusts_unknown
        )
        if (is_known and not is_out) or (record.answers and record.incarnation == token):
            return record
        self.unaccounted.add(token)
        return suspect(record, now + longest_life, token, now)

    def forget(self, now: float, held: Set[bytes | None]) -> None:
        """Forget what does not matter any more; these tokens are those of the members' memories."""
        self.departed = {each: until for each, until in self.departed.items() if until > now}
        self.copied = {each: name for each, name in self.copied.items() if each in held}
        self.unaccounted &= held
