"""The committed dashboards are what is written here, and are what Grafana imports."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from tests.tables import each_case
from tools.dashboards import DASHBOARDS
from tools.dashboards.__main__ import text_of
from tools.dashboards.grafana import COLUMNS

COMMITTED = Path(__file__).parents[2] / "grafana" / "dashboards"

UNITS = frozenset(
    [
        *("none", "short", "percentunit", "bytes", "reqps", "cps", "wps", "Bps"),
        *("s", "dtdurations", "dateTimeAsIso", "dateTimeFromNow"),
    ]
)
"""Those of Grafana's units that are wanted here; what it does not know it prints behind the number."""

KINDS = frozenset(["row", "stat", "timeseries", "state-timeline", "bargauge", "table"])
"""Panels that every Grafana from 10 to 13 brings along."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def made(name: str) -> Json:
    """A dashboard as Grafana reads it."""
    read: Json = json.loads(text_of(DASHBOARDS[name]))
    return read


def panels(dashboard: Json) -> Iterator[Json]:
    """All panels, rows and those folded into them included."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def shown(dashboard: Json) -> list[Json]:
    """All panels but rows."""
    return [panel for panel in panels(dashboard) if panel["type"] != "row"]


def overlap(one: Json, other: Json) -> bool:
    return bool(
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


each_dashboard = each_case("name", DASHBOARDS)


@each_dashboard
def test_what_is_committed_is_what_is_written(name: str) -> None:
    """After a change: python -m tools.dashboards."""
    assert text_of(DASHBOARDS[name]) == (COMMITTED / f"{name}.json").read_text(encoding="utf-8")


def test_nothing_else_is_committed() -> None:
    """A dashboard that is written no more would be provisioned for ever."""
    assert {f"{name}.json" for name in DASHBOARDS} == {path.name for path in COMMITTED.iterdir()}


def test_uids_are_as_they_were() -> None:
    """Bookmarks, links in alerts and in other people's dashboards lead here."""
    uids = ["overview", "backends", "sessions-and-locks", "store"]
    assert [f"partitioner-{each}" for each in uids] == [made(name)["uid"] for name in DASHBOARDS]


@each_dashboard
def test_dashboards_link_to_all_others(name: str) -> None:
    """From each one the others are a click away, with the same choices and the same time."""
    links = made(name)["links"]
    others = [f"/d/{made(other)['uid']}" for other in DASHBOARDS if other != name]

    assert others == [link["url"] for link in links]
    assert all(link["includeVars"] and link["keepTime"] for link in links)


@each_dashboard
def test_panels_are_numbered_once(name: str) -> None:
    """Grafana mixes up panels of the same number."""
    numbers = [panel["id"] for panel in panels(made(name))]

    assert sorted(set(numbers)) == sorted(numbers)


@each_dashboard
def test_titles_are_not_used_twice(name: str) -> None:
    """An operator says on the telephone which panel to look at."""
    titles = [panel["title"] for panel in panels(made(name))]

    assert sorted(set(titles)) == sorted(titles)


@each_dashboard
def test_panels_fill_the_grid_and_do_not_overlap(name: str) -> None:
    """24 columns; what is folded away is laid out like the rest."""
    places = [panel["gridPos"] for panel in panels(made(name))]

    assert [] == [place for place in places if place["x"] < 0 or place["x"] + place["w"] > COLUMNS]
    assert [] == [pair for pair in combinations(places, 2) if overlap(*pair)]


@each_dashboard
def test_lines_of_panels_end_at_the_right_edge(name: str) -> None:
    """A gap looks like a panel that did not load."""
    ends: dict[int, int] = {}
    for panel in panels(made(name)):
        place = panel["gridPos"]
        ends[place["y"]] = max(ends.get(place["y"], 0), place["x"] + place["w"])

    assert {COLUMNS} == set(ends.values())


@each_dashboard
def test_every_panel_says_what_it_shows(name: str) -> None:
    """Who looks at night did not write it: a title, a sentence, a unit, thresholds, a text for nothing."""
    for panel in shown(made(name)):
        defaults = panel["fieldConfig"]["defaults"]

        assert panel["title"]
        assert re.fullmatch(r"[A-Z0-9].{10,}[.?]", panel["description"]), panel["title"]
        assert defaults["unit"] in UNITS
        assert defaults["thresholds"]["steps"][0]["value"] is None
        assert defaults["noValue"]
        assert panel["type"] in KINDS


@each_dashboard
def test_columns_have_units(name: str) -> None:
    """A table's numbers are as readable as a graph's."""
    overrides = [
        {each["id"]: each["value"] for each in override["properties"]}
        for panel in shown(made(name))
        if panel["type"] == "table"
        for override in panel["fieldConfig"]["overrides"]
    ]
    numbers = [properties for properties in overrides if "links" not in properties]

    assert {properties["unit"] for properties in numbers} <= UNITS


@each_dashboard
def test_thresholds_rise(name: str) -> None:
    """Grafana takes the last one that is not above the value, so their order counts."""
    for panel in shown(made(name)):
        values = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]][1:]

        assert sorted(set(values)) == values, panel["title"]


@each_dashboard
def test_every_question_is_complete(name: str) -> None:
    """Each has a letter of its own, an expression, and the data source that is chosen on top."""
    for panel in shown(made(name)):
        letters = [target["refId"] for target in panel["targets"]]

        assert sorted(set(letters)) == letters != []
        assert panel["datasource"] == DATASOURCE
        for target in panel["targets"]:
            assert target["expr"]
            assert target["datasource"] == DATASOURCE
            assert target["instant"] is not target["range"]


@each_dashboard
def test_events_ask_the_chosen_data_source(name: str) -> None:
    """Older Grafanas read `expr`, newer ones `target`: both say the same."""
    _, *events = made(name)["annotations"]["list"]  # the first one is Grafana's own

    assert [DATASOURCE] * len(events) == [event["datasource"] for event in events]
    assert [event["expr"] for event in events] == [event["target"]["expr"] for event in events]


@each_dashboard
def test_variables_that_are_used_are_there(name: str) -> None:
    """Each $word is a choice on top of the dashboard, or one of Grafana's own."""
    dashboard = made(name)
    choices = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", text_of(DASHBOARDS[name])))
    repeated = {panel["repeat"] for panel in panels(dashboard) if "repeat" in panel}

    assert {"datasource", "job", "instance", "backend", "state_server", "store"} == choices
    assert used | repeated <= choices


@each_dashboard
def test_what_hurts_most_is_seen_without_scrolling(name: str) -> None:
    """The first line are single numbers, or the states of all backends."""
    first = [panel["type"] for panel in panels(made(name)) if panel["gridPos"]["y"] == 0]

    assert set(first) in ({"stat"}, {"state-timeline"})


@each_dashboard
def test_a_click_on_a_backend_leads_to_it(name: str) -> None:
    """From whatever shows one backend, to all that is known of it, with the same choices and time."""
    fields = [panel["fieldConfig"] for panel in shown(made(name)) if "{{backend}}" in json.dumps(panel)]
    links = [link for field in fields for link in field["defaults"]["links"]]

    assert len(fields) == len(links)
    assert (name == "store") is (links == [])  # there are no backends where there is a store
    for link in links:
        assert link["url"].startswith("/d/partitioner-backends?${__url_time_range}&")
        assert link["url"].endswith("&var-backend=${__field.labels.backend}")
