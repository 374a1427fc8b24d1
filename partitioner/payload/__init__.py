"""What is in a session's body: names, .NET types and sizes of items, and never a value (protocol.md 9)."""

from partitioner.payload.outline import Item, Outline, Unread
from partitioner.payload.reader import MOST_INFLATED, MOST_ITEMS, is_quick, outline_of

__all__ = ["MOST_INFLATED", "MOST_ITEMS", "Item", "Outline", "Unread", "is_quick", "outline_of"]
