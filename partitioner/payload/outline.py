"""The outline of a session's body: what it holds, without what that is."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Item:
    """One item. What was not reached is None."""

    name: str | None  # None: the null key
    type: str | None  # its .NET type
    offset: (
        int | None
    )  # of its value, in bytes from the beginning of the body, inflated where it is compressed
    size: int | None  # bytes of its value
    is_static: bool = False  # an object that global.asax declares, not an item of the collection


@dataclass(frozen=True, slots=True)
class Unread:
    """Where reading has ended too early, and why."""

    at: int  # in bytes from the beginning of the body, inflated where it is compressed
    why: str

    def __str__(self) -> str:
        return f"not readable from byte {self.at}: {self.why}"


@dataclass(frozen=True, slots=True)
class Outline:
    """What a body holds, as far as it could be read."""

    is_compressed: bool
    size: int  # bytes that were looked at: of the body, or of what came out of it where it is compressed
    timeout_minutes: int | None
    items: tuple[Item, ...]
    unread: Unread | None = None  # None: it was read to its end
    left_out: int = 0  # items that were read and are not told

    def largest(self, at_most: int) -> "Outline":
        """The same with so many of its items, the largest ones, in their order."""
        excess = len(self.items) - at_most
        if excess <= 0:
            return self
        by_size = sorted(range(len(self.items)), key=lambda index: -(self.items[index].size or 0))
        kept = sorted(by_size[:at_most])
        items = tuple(self.items[index] for index in kept)
        return replace(self, items=items, left_out=self.left_out + excess)
