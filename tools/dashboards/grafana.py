"""Writes a dashboard in Grafana's classic JSON model, which Grafana 10 to 13 import.

The model is documented at
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/ and in the
schema references of its panels. Versions newer than the schema written here migrate it when they load it.
Everything is written out that a Grafana would add on saving, so that what is exported from one can be
compared with what stands here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from tools.dashboards.layout import ANNOTATIONS, LINKS, VARIABLES
from tools.dashboards.model import Annotation, Dashboard, Panel, Section, Table, Variable
from tools.dashboards.panel_json import look_of

SCHEMA = 39
"""Of Grafana 10.4: the newest one that all of 10 to 13 understand."""

COLUMNS = 24
HEADING = 1  # the height of a section's heading

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
ALWAYS = 1  # Grafana's refresh: when the dashboard is opened
WITH_TIME = 2  # Grafana's refresh: also when another range of time is chosen


def dashboard_json(dashboard: Dashboard) -> Json:
    """The whole dashboard."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["partitioner"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,  # one cross-hair through all panels: what happened at the same time?
        "liveNow": False,
        "weekStart": "",
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "links": [_link(title, uid) for title, uid in LINKS if uid != dashboard.uid],
        "templating": {"list": [_datasource_variable(), *map(_variable, VARIABLES)]},
        "annotations": {"list": [_own_annotations(), *map(_annotation, ANNOTATIONS)]},
        "panels": list(_place(dashboard.sections)),
    }


# --- where panels are ---


def _place(sections: Sequence[Section]) -> Iterator[Json]:
    """Lay panels out from left to right and from top to bottom, and number them in that order."""
    number, y = 1, 0
    for section in sections:
        row: Json | None = None
        if section.title:
            row = _row(section, number, y)
            number, y = number + 1, y + HEADING
        placed = list(_flow(section.panels, number, y))
        number += len(placed)
        bottom = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in placed)
        if row is not None and row["collapsed"]:
            row["panels"] = placed  # they take no room until the row is unfolded
            yield row
            continue
        if row is not None:
            yield row
        yield from placed
        y = bottom


def _flow(panels: Sequence[Panel], number: int, top: int) -> Iterator[Json]:
    """Put panels side by side as long as there is room, then below the highest of them."""
    x, y, height = 0, top, 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y, height = 0, y + height, 0
        yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height})
        x, height, number = x + panel.width, max(height, panel.height), number + 1


def _row(section: Section, number: int, y: int) -> Json:
    row: Json = {
        "id": number,
        "type": "row",
        "title": section.title,
        "collapsed": bool(section.for_each),
        "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": HEADING},
        "panels": [],
    }
    if section.for_each:
        row["repeat"] = section.for_each
    return row


# --- a panel ---


def _panel(panel: Panel, number: int, place: Json) -> Json:
    look = look_of(panel)
    return {
        "id": number,
        "type": look.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": look.defaults, "overrides": look.overrides},
        "options": look.options,
        "targets": [
            _target(panel, chr(ord("A") + index), query.expression, query.legend)
            for index, query in enumerate(panel.queries)
        ],
        "transformations": look.transformations,
    }


def _target(panel: Panel, reference: str, expression: str, legend: str) -> Json:
    return {
        "refId": reference,
        "datasource": DATASOURCE,
        "expr": expression,
        "legendFormat": legend or "__auto",
        "editorMode": "code",
        "format": "table" if isinstance(panel.look, Table) else "time_series",
        "instant": panel.is_instant,
        "range": not panel.is_instant,
    }


# --- what is around the panels ---


def _link(title: str, uid: str) -> Json:
    """A link to another of these dashboards, which keeps what is chosen and the time that is shown."""
    return {
        "type": "link",
        "title": title,
        "url": f"/d/{uid}",
        "icon": "dashboard",
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _datasource_variable() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "regex": "",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": ALWAYS,
        "skipUrlSync": False,
    }


def _variable(variable: Variable) -> Json:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.title,
        "datasource": DATASOURCE,
        "definition": variable.query,
        "query": {
            "qryType": 1,
            "query": variable.query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "regex": "",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "includeAll": True,
        "allValue": variable.all_value or None,
        "multi": True,
        "options": [],
        "refresh": WITH_TIME,
        "skipUrlSync": False,
        "sort": 1,  # by the alphabet
    }


def _own_annotations() -> Json:
    """Those that people write, and those of Grafana's alerts; every dashboard has them."""
    return {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }


def _annotation(annotation: Annotation) -> Json:
    return {
        "name": annotation.name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": annotation.colour.value,
        "expr": annotation.expression,  # here Grafana 10 looks for it, and under target the later ones
        "step": "15s",
        "target": {"refId": "Anno", "expr": annotation.expression, "interval": "15s"},
        "titleFormat": annotation.title,
        "textFormat": "",
        "tagKeys": ",".join(annotation.labels),
        "useValueForTime": False,
    }
