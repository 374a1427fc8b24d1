"""The one sentence about a router for who has just been woken: on the page, and in `partitioner top`."""

from dataclasses import dataclass

from partitioner.ops.admin.reports import Status
from partitioner.ops.admin.units import rate

FEW_CLOSED = 0.1
"""Requests a second. With fewer closed ones, as when a server has just died, it is about servers."""

LEAST_SHARE = 0.01
"""The same, of all requests."""

MOST_NAMES = 3
"""In the headline; the table names them all."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The one sentence for an operator who has just been woken."""

    level: str  # good, caution or bad
    sentence: str


def headline(status: Status) -> Headline:
    """Say how it stands, the worst first."""
    if not status.ready:
        return Headline("bad", f"Not ready: {'; '.join(status.not_ready)}")
    wanted, configured = len(status.wanted), sum(not each.removed for each in status.backends)
    if status.standby_because is not None:
        level = "good" if status.serving == wanted else "caution"
        answer = f"{status.serving} of {wanted} state servers answer"
        return Headline(level, f"{status.role.capitalize()}: {status.standby_because}; {answer}")
    closed = _closed(status)
    if out := [each.name for each in status.wanted if not each.serves]:
        verb = "does" if len(out) == 1 else "do"
        return Headline(
            "bad", f"{_first_names(out)} {verb} not serve; {status.serving} of {wanted} do{closed}"
        )
    serving = _all_serve(wanted, configured)
    if closed:
        return Headline("bad", f"{serving}{closed}")
    if status.copies < 2:
        return Headline("good", f"{serving}; sessions are kept once")
    if status.redundant_since is None:
        return Headline("caution", f"{serving}; should one fail now, sessions may be lost")
    return Headline("good", f"{serving}, and any one of them may fail")


def _first_names(names: list[str]) -> str:
    rest = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _all_serve(wanted: int, configured: int) -> str:
    if wanted < configured:
        return f"{wanted} of {configured} state servers serve, as is wanted"
    return "The only state server serves" if wanted == 1 else f"All {wanted} state servers serve"


def _closed(status: Status) -> str:
    """How many requests are closed instead of answered, where these are more than a few."""
    closed, requests = status.requests.get("closed", 0.0), sum(status.requests.values())
    if closed < max(FEW_CLOSED, LEAST_SHARE * requests):
        return ""
    return f"; {rate(closed)} of {rate(requests)} requests a second are closed instead of answered"
