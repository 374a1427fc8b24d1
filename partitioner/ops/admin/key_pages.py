"""What does a state server hold? Pages of its keys, for the router that drains it, and of its inventory."""

from partitioner.membership.items import ITEMS
from partitioner.protocol.target import target_of
from partitioner.routing.drain import Page
from partitioner.routing.inventory import InventoryPage
from partitioner.sessions.table import SessionTable

USUAL_PAGE = 1000
"""Keys."""

INVENTORY_PAGE = 500
"""Sessions of an inventory: three milliseconds of the server's time."""

MOST_FARMS = 16
"""Farms of which one server tells that their routers have written there."""

_ITEMS = ITEMS.encode()
_CANARY = b"/canary"


def page_of(table: SessionTable, cursor: int, at_least: int) -> Page:
    """A page of what is in a table, without the items of routers. Raises ValueError if the cursor is none."""
    keys, following = table.page(cursor, at_least)
    targets = tuple(target_of(key) for key in keys if not key.startswith(_ITEMS))
    return Page(targets, None if following is None else str(following), table.sessions_held)


def inventory_of(table: SessionTable, first: bytes, at_most: int, now: float) -> InventoryPage:
    """A page of the inventory of a table, from this key on."""
    listed, following = table.inventory(first, at_most, now)
    return InventoryPage(tuple(listed), following, table.sessions_held, canaries_of(table, now))


def canaries_of(table: SessionTable, now: float) -> dict[str, bytes]:
    """The canaries in a table, by the name of the farm."""
    found: dict[str, bytes] = {}
    for key in table.items:
        if key.endswith(_CANARY) and len(found) < MOST_FARMS:
            content = table.maybe_content(key, now)
            if content is not None:
                farm = key[len(_ITEMS) : -len(_CANARY)].decode("utf-8", "replace")
                found[farm] = content
    return found
