"""What is well and what is not: colours of outcomes, thresholds and meanings that dashboards share."""

from tools.dashboards.model import Colour, Meaning, bad_from

OUTCOMES = {
    "ok": Colour.GREEN,
    "miss": Colour.BLUE,
    "locked": Colour.YELLOW,
    "rejected": Colour.AMBER,
    "closed": Colour.RED,
    "failed": Colour.RED,
}

SLOW = bad_from(0.25, 1.0)
"""Seconds for a request: one that takes longer than a timeouts.copy has met a server that is ill."""

FULL = bad_from(0.7, 0.9)
"""Shares of a limit."""

LATE = bad_from(0.05, 0.25)
"""Seconds by which a timer of an event loop is late: that much later is everybody answered."""

LOCK_AGES = bad_from(30.0, 110.0)
"""Seconds: few pages run for 30, and after 110 the web servers themselves break a lock (executionTimeout)."""

YES_OR_NO = {1: Meaning("yes", Colour.GREEN), 0: Meaning("NO", Colour.RED)}
ROLES = {1: Meaning("active", Colour.GREEN), 0: Meaning("standby", Colour.BLUE)}
DIRTY = {1: Meaning("dirty", Colour.AMBER), 0: Meaning("no", Colour.GREEN)}
FULL_OR_NOT = {1: Meaning("FULL", Colour.AMBER), 0: Meaning("no", Colour.GREEN)}
REDUNDANT = {1: Meaning("yes", Colour.GREEN), 0: Meaning("NO", Colour.AMBER)}
RELOADED = {1: Meaning("good", Colour.GREEN), 0: Meaning("FAILED", Colour.RED)}
