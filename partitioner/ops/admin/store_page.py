"""The status page of a state server whose sessions are on an engine: other things in the same frame."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from jinja2 import Template

from partitioner.ops.admin.headline import Headline
from partitioner.ops.admin.page import environment, rendered
from partitioner.ops.admin.reports import EventReport, StoreStatus

NEARLY_FULL = 0.85
"""Of the engine's maxmemory; PartitionerEngineNearlyFull fires from there on."""

CLOCK_APART = 1.0
"""Seconds; as PartitionerEngineClockApart."""


@dataclass(frozen=True, slots=True)
class StoreView:
    """All that the page shows."""

    status: StoreStatus
    events: tuple[EventReport, ...]
    headline: Headline
    concerns: tuple[str, ...]  # what is not well although it serves
    refresh: int  # seconds; 0 if it shall stay as it is
    now: datetime


def store_view(status: StoreStatus, events: tuple[EventReport, ...], refresh: int) -> StoreView:
    """What there is to show."""
    found = concerns(status) if status.ready else ()
    return StoreView(
        status, events, store_headline(status, found), found, refresh, datetime.now().astimezone()
    )


def concerns(status: StoreStatus) -> tuple[str, ...]:
    """What is not well although clients are served, a sentence each."""
    found = []
    idle = [each.number for each in status.workers if not each.is_serving]
    if idle:
        serving = len(status.workers) - len(idle)
        found.append(f"{serving} of {len(status.workers)} workers serve; the others are being started")
    for shard in status.shards:
        if shard.trouble is not None:
            found.append(f"{shard.primary or 'A primary'} carries nothing out: {shard.trouble}")
        if shard.is_degraded:
            found.append(f"{shard.primary} lacks a replica: should it fail now, the last saves may be lost")
        if shard.memory_used is not None and shard.memory_used > NEARLY_FULL:
            found.append(f"{shard.primary} uses {shard.memory_used:.0%} of its memory")
        if shard.clock_offset is not None and abs(shard.clock_offset) > CLOCK_APART:
            found.append(f"The clock of {shard.primary} is {shard.clock_offset:+.1f} s from this machine's")
    return tuple(found)


def store_headline(status: StoreStatus, found: tuple[str, ...]) -> Headline:
    """Say how it stands, the worst first."""
    if not status.ready:
        return Headline("bad", f"Not ready: {'; '.join(status.reasons)}")
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return Headline("caution", f"{found[0]}{more}")
    copies = {shard.replicas for shard in status.shards}
    if 0 in copies:
        return Headline("good", "The engine serves; it has no replica")
    return Headline("good", "The engine serves, and all its replicas have what was saved")


async def render_store(shown: StoreView) -> str:
    """Write the page."""
    return await rendered(store_template(), view=shown, status=shown.status)


@cache
def store_template() -> Template:
    """The page's template."""
    return environment().get_template("store_page.html")
