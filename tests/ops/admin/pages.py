"""An admin API that says what a test wants, and a reader of the page that comes of it."""

from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

from partitioner.membership.backend import Intent
from partitioner.ops.admin.reports import (
    BackendReport,
    ClaimReport,
    DrainReport,
    EventReport,
    LockReport,
    Locks,
    Status,
    TrafficReport,
    VerifyReport,
)
from partitioner.placement.location import Location

TRAFFIC = TrafficReport(rate=12.5, share=0.5, failed=0, p50=0.0004, p99=0.012)


def backend_report(name: str = "state-1") -> BackendReport:
    """A backend that serves, and may be stopped."""
    return BackendReport(
        name=name,
        identity=name,
        address="10.0.0.1:42424",
        weight=1.0,
        intent="ready",
        health="up",
        health_for=3700.0,
        trouble=None,
        serves=True,
        removed=False,
        share=0.5,
        traffic=TRAFFIC,
        probe=0.0005,
        keys_marked=0,
        dirty=(),
        recovering_for=None,
        safe_to_stop=True,
        not_safe_to_stop=(),
        drain=None,
    )


def ill(report: BackendReport, *reasons: str) -> BackendReport:
    """The same, down since 6 s ago."""
    return replace(
        report,
        health="down",
        health_for=6.0,
        trouble="timed out",
        serves=False,
        probe=None,
        safe_to_stop=not reasons,
        not_safe_to_stop=reasons,
    )


def status_of(*backends: BackendReport) -> Status:
    """A router in front of these, in the best of health, with two copies."""
    return Status(
        name="router-1",
        version="1.2.3",
        uptime=93784.0,
        epoch=7,
        role="active",
        role_for=93784.0,
        term="3-c0ffee",
        superseded=0,
        standby_because=None,
        watched_for=None,
        servers_seen=None,
        map_fingerprint="0123456789ab",
        ready=True,
        not_ready=(),
        redundant_since=3600.0,
        not_redundant=(),
        copies=2,
        t_max=3600.0,
        unsettled_for=None,
        moved=0,
        clients=64,
        requests={"ok": 1200.0, "miss": 3.0, "locked": 0.0, "rejected": 0.0, "closed": 0.0},
        locks_held=0,
        oldest_lock=None,
        keys_marked=0,
        serving=sum(each.serves for each in backends),
        backends=backends,
        drains=tuple(each.drain for each in backends if each.drain is not None),
    )


def drain_report(backend: str, moved: int, left: int | None) -> DrainReport:
    return DrainReport(
        backend=backend,
        for_seconds=20.0,
        moved=moved,
        left=left,
        rate=5.0,
        estimate=60.0,
        done=left == 0,
        stalled=None,
    )


def lock_report(age: float) -> LockReport:
    return LockReport(key="d1e8a70b", server="state-1", reachable=True, age=age)


@dataclass
class FakeAdminApi:
    """Says always the same."""

    told: Status
    held: tuple[LockReport, ...] = ()
    event_log: tuple[EventReport, ...] = field(default=())

    def why_not_ready(self) -> tuple[str, ...]:
        return self.told.not_ready

    def warnings(self) -> tuple[str, ...]:
        return ()

    def role(self) -> str:
        return self.told.role

    def status(self) -> Status:
        return self.told

    def backends(self) -> tuple[BackendReport, ...]:
        return self.told.backends

    def locate(self, key: bytes) -> Location:
        raise AssertionError("the page has no keys")

    def locks(self, at_most: int) -> Locks:
        return Locks(len(self.held), self.held[:at_most])

    def events(self) -> tuple[EventReport, ...]:
        return self.event_log

    def set_intent(self, name: str, intent: Intent) -> BackendReport:
        raise AssertionError("the page changes nothing")

    async def claim(self) -> ClaimReport:
        raise AssertionError("the page changes nothing")

    async def reload(self) -> object:
        raise AssertionError("the page changes nothing")

    def begin_verify(self) -> VerifyReport:
        raise AssertionError("the page changes nothing")

    def verify(self) -> VerifyReport | None:
        raise AssertionError("the page does not show it")


INLINE = frozenset({"a", "b", "bdi", "code", "i", "span", "strong", "sup", "time"})
"""Elements that do not part what is in them from what is around them."""


class StatusPage(HTMLParser):
    """What a browser makes of a page: its elements in order, and the text of its rows."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []  # and which attributes each has
        self.attributes: list[tuple[str, str]] = []
        self.style = ""
        self.rows: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join(self.text.split())
        self.rows = [" ".join(row.split()) for row in self.rows]

    def row_of(self, name: str) -> str:
        """The only row that begins so."""
        (found,) = (row for row in self.rows if row.startswith(f"{name} "))
        return found

    def attribute(self, name: str) -> str:
        """The only attribute of this name."""
        (found,) = (value for each, value in self.attributes if each == name)
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(f"{tag} {name}", value or "") for name, value in attrs]
        self._part(tag)
        self._open.append(tag)
        if tag == "tr":
            self.rows.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        self._part(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self._say(data)

    def _part(self, tag: str) -> None:
        if tag not in INLINE:
            self._say(" ")

    def _say(self, data: str) -> None:
        self.text += data
        if "tr" in self._open:
            self.rows[-1] += data
