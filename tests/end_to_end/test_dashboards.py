"""Every panel of the dashboards, put to a real Prometheus: while all is well, and while nothing is.

A router in front of three state servers, some load, and a Prometheus that scrapes them by the shipped jobs.
The choices on top of the dashboards are filled from their own queries, as Grafana does, with "All" chosen.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.end_to_end import troubles
from tests.end_to_end.engines import engine
from tests.end_to_end.farm import Farm, farm_in
from tests.end_to_end.processes import running
from tests.end_to_end.prometheus import STEP, Prometheus, Series, prometheus
from tests.end_to_end.real_parts import need
from tests.end_to_end.store_servers import configured_store_server
from tests.tables import each_case
from tools.dashboards import DASHBOARDS
from tools.dashboards.layout import ANNOTATIONS, VARIABLES
from tools.dashboards.model import Expected, Panel
from tools.dashboards.queries import state_of_backends

pytestmark = pytest.mark.slow

LIMITED = ("--max-memory", "256MiB")
LOAD = ("--rate", "30", "--connections", "4", "--sessions", "50", "--duration", "2min")
BEGUN = (
    "count(partitioner_ready == 1) == 2 and on () count(partitioner_sessions > 0) == 3"
    ' and on () sum(partitioner_requests_total{instance=~".*"} and on (instance) partitioner_engine_up) > 0'
)
"""There is load, and everybody has been scraped."""

LATELY = 5.0  # seconds of a graph that are looked at while all is well
LONGEST = 20.0  # seconds that an answer is waited for

# By their titles, which a dashboard has only once.
PANELS = {f"{name}: {panel.title}": panel for name, each in DASHBOARDS.items() for panel in each.panels}
EXPECTED = {name: panel for name, panel in PANELS.items() if panel.expected is not None}
EVENTS = {annotation.name: annotation for annotation in ANNOTATIONS}

UP, WAS_DOWN, DRAINS, DOWN = 1, 2, 3, 6  # of the dashboards' STATES


Shown = list[list[Series]]
"""What a panel shows: the answers to its queries, in their order."""


@dataclass
class Grafana:
    """Asks what a Grafana would ask."""

    prometheus: Prometheus
    choices: dict[str, str] = field(default_factory=dict)

    def choose_all(self) -> None:
        """Fill each variable with "All", as its query says."""
        for variable in VARIABLES:
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.query)
            assert match is not None
            values = self.prometheus.label_values(self.filled(match[1]), match[2])
            assert values != [], variable.name
            self.choices[variable.name] = variable.all_value or f"({'|'.join(map(re.escape, values))})"

    def filled(self, expression: str) -> str:
        """The expression with all variables replaced."""
        of_grafana = {"__rate_interval": f"{4 * STEP:g}s", "__range": "2m"}
        text = re.sub(
            r"\$(\w+)", lambda match: (of_grafana | self.choices)[match[1]].replace("\\", "\\\\"), expression
        )
        assert "$" not in text
        return text

    def now(self, panel: Panel) -> Shown:
        """What the panel shows just now; of a graph its last seconds."""
        if panel.is_instant:
            return [self.prometheus.now(self.filled(query.expression)) for query in panel.queries]
        return self.since(panel, time.time() - LATELY)

    def since(self, panel: Panel, start: float) -> Shown:
        """What the panel has shown since then."""
        return [
            self.prometheus.between(self.filled(query.expression), start, time.time())
            for query in panel.queries
        ]


@dataclass(frozen=True)
class Seen:
    """What the dashboards showed, by panels and by events."""

    well: dict[str, Shown]
    ill: dict[str, Shown]
    events: dict[str, list[Series]]
    states: list[Series]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Look at all panels in good times and in bad ones."""
    need("prometheus")  # before a farm is started for it
    directory: Path = tmp_path_factory.mktemp("watched")
    with (
        farm_in(directory, troubles.SETTINGS, LIMITED) as farm,
        engine(directory) as beneath,
        configured_store_server(directory, f"store:\n  primary: 127.0.0.1:{beneath.port}\n") as with_a_store,
        prometheus(
            directory, [admin_of(farm), urlsplit(with_a_store.admin).netloc], state_servers_of(farm)
        ) as watching,
        running("bench", f"127.0.0.1:{with_a_store.port}", *LOAD),
        running("bench", f"127.0.0.1:{farm.in_front.port}", *LOAD),
    ):
        grafana = Grafana(watching)
        well = look_while_all_is_well(grafana)
        start = time.time()
        with troubles.all_of_them(farm):
            maybe_wait_until(lambda: all(is_loud(grafana.since(panel, start)) for panel in EXPECTED.values()))
            return look_back(grafana, well, start)


def look_while_all_is_well(grafana: Grafana) -> dict[str, Shown]:
    """Look until all is as it should be: a busy machine has a copy repaired now and then."""
    wait_until(lambda: grafana.prometheus.now(BEGUN))
    grafana.choose_all()
    shown: dict[str, Shown] = {}

    def look() -> bool:
        shown.update({name: grafana.now(panel) for name, panel in PANELS.items()})
        return all(is_well(PANELS[name].expected, each) for name, each in shown.items())

    maybe_wait_until(look)
    return shown


def look_back(grafana: Grafana, well: dict[str, Shown], start: float) -> Seen:
    """What there is to be seen of the time since `start`."""

    def since(expression: str) -> list[Series]:
        return grafana.prometheus.between(grafana.filled(expression), start, time.time())

    return Seen(
        well,
        {name: grafana.since(panel, start) for name, panel in PANELS.items()},
        {name: since(event.expression) for name, event in EVENTS.items()},
        since(state_of_backends()),
    )


def admin_of(farm: Farm) -> str:
    return urlsplit(farm.in_front.admin).netloc


def state_servers_of(farm: Farm) -> dict[str, str]:
    return {name: f"127.0.0.1:{server.admin_port}" for name, server in farm.servers.items()}


def is_well(expected: Expected | None, shown: Shown) -> bool:
    """Whether a panel shows what it should while all is well."""
    match expected:
        case Expected.EMPTY:
            return not any(shown)
        case Expected.ZERO:
            return all(shown) and not is_loud(shown)
        case None:
            return all(shown)


def is_loud(shown: Shown) -> bool:
    """Whether there is more to be seen than zeros."""
    return any(value > 0 for answer in shown for series in answer for value in series.values)


def maybe_wait_until(is_so: Callable[[], object]) -> bool:
    """Poll; return whether it came about."""
    deadline = time.monotonic() + LONGEST
    while not (done := bool(is_so())) and time.monotonic() < deadline:
        time.sleep(STEP)
    return done


def wait_until(is_so: Callable[[], object]) -> None:
    assert maybe_wait_until(is_so)


@each_case("name", PANELS)
def test_every_panel_shows_something_while_all_is_well(seen: Seen, name: str) -> None:
    """Each query has an answer, but for those of what does not happen; those of failures have zeros."""
    assert is_well(PANELS[name].expected, seen.well[name])


@each_case("name", EXPECTED)
def test_every_expected_panel_shows_what_went_wrong(seen: Seen, name: str) -> None:
    """What is quiet in good times is not in bad ones."""
    assert is_loud(seen.ill[name])


@each_case("name", EVENTS)
def test_events_are_drawn(seen: Seen, name: str) -> None:
    """What happened is marked in all graphs. (The router was not restarted, so of that there is nothing.)"""
    assert (name != "Starts of routers") is is_loud([seen.events[name]])


def test_the_timeline_tells_who_was_ill(seen: Seen) -> None:
    """Killed servers were DOWN and came back; one froze between two scrapes, and is being drained now."""
    states = {series.labels["backend"]: set(series.values) for series in seen.states}

    assert {UP, DOWN} <= states["state-2"]
    assert {UP, DOWN} <= states["state-3"]
    assert {UP, WAS_DOWN, DRAINS} <= states["state-1"]
