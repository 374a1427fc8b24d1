"""Brings together what a router saw on the wire and what the files of the web servers say.

A router notices that one session ID comes under two applications (`routing/farm_mismatch.py`), and names
each by its ID and the beginning of its hash. The files tell which web servers make which of the two.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from partitioner.webfarm.files import Origin
from partitioner.webfarm.findings import Finding, Report, Severity, listed
from partitioner.webfarm.settings import SETTINGS

SEEN = "seen by the router"
"""What such a finding is about."""

_PAIR = re.compile(r"(?P<first>.+\(.{0,8}\.\.\.\)) and (?P<second>.+\(.{0,8}\.\.\.\))")


@dataclass(frozen=True, slots=True)
class _Maker:
    """The web servers that put sessions under an application."""

    application: str
    servers: tuple[str, ...]
    origin: Origin | None


def pair_of(told: str) -> tuple[str, str] | None:
    """The two applications of a line of the router's log, as `name_of` names them."""
    match = _PAIR.fullmatch(told)
    return None if match is None else (match["first"], match["second"])


def mixed_applications(report: Report, pairs: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Say which web servers make applications that a router saw mixed."""
    makers = _makers(report)
    for pair in dict.fromkeys(pairs):
        known = [makers[each] for each in pair if each in makers]
        told = " and ".join(f"{each}, by {_listed(makers.get(each))}" for each in pair)
        yield Finding(
            Severity.ERROR,
            known[0].application if known else "",
            SEEN,
            tuple(server for each in known for server in each.servers),
            tuple(each.origin for each in known if each.origin is not None),
            f"one session ID under {told}",
            "one application for all web servers of the farm",
            SETTINGS["application ID"].why if known else _UNKNOWN,
        )


_UNKNOWN = (
    "Files of the web servers that make them were not given, or have changed since, or a framework "
    "before 4.5 makes the hash of a machine key"
)


def _makers(report: Report) -> dict[str, _Maker]:
    """By what files and router alike call an application of ASP.NET 4.5 or later."""
    return {
        row.value: _Maker(application.name, row.servers, row.origin)
        for application in report.applications
        for row in application.rows
        if row.setting == "application ID"
    }


def _listed(maker: _Maker | None) -> str:
    return "no web server of these files" if maker is None else listed(maker.servers)
