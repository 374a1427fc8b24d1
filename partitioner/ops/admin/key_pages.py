"""Which sessions does a state server hold? Pages of its table, for the router that drains it."""

from partitioner.membership.items import ITEMS
from partitioner.protocol.target import target_of
from partitioner.routing.drain import Page
from partitioner.sessions.table import SessionTable

USUAL_PAGE = 1000
"""Keys."""

_ITEMS = ITEMS.encode()


def page_of(table: SessionTable, cursor: int, at_least: int) -> Page:
    """A page of what is in a table, without the items of routers. Raises ValueError if the cursor is none."""
    keys, following = table.page(cursor, at_least)
    targets = tuple(target_of(key) for key in keys if not key.startswith(_ITEMS))
    return Page(targets, None if following is None else str(following), table.sessions_held)
