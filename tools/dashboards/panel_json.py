"""How each kind of panel is spelt in Grafana's JSON: its field options, its own options, transformations."""

from dataclasses import dataclass, field
from typing import Any, assert_never

from tools.dashboards.layout import BACKENDS
from tools.dashboards.model import (
    PLAIN,
    Bars,
    Colour,
    Column,
    Lines,
    Meanings,
    Panel,
    Stat,
    Steps,
    Table,
    Timeline,
)

Json = dict[str, Any]

BACKEND = "backend"
"""The label that names a backend."""

_SHOWN = {"legend": False, "tooltip": False, "viz": False}  # hideFrom: hidden nowhere
_LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


@dataclass(frozen=True, slots=True)
class LookJson:
    """The parts of a panel's JSON that depend on its kind."""

    kind: str  # Grafana's name of it
    defaults: Json  # for all fields
    options: Json
    overrides: list[Json] = field(default_factory=list)  # for some fields
    transformations: list[Json] = field(default_factory=list)


def look_of(panel: Panel) -> LookJson:
    """Spell a panel's look."""
    match panel.look:
        case Stat():
            return _stat(panel, panel.look)
        case Lines():
            return _lines(panel, panel.look)
        case Timeline():
            return _timeline(panel)
        case Bars():
            return _bars(panel)
        case Table():
            return _table(panel, panel.look)
        case other:
            assert_never(other)


def _stat(panel: Panel, look: Stat) -> LookJson:
    return LookJson(
        "stat",
        {**_defaults(panel), "color": {"mode": "thresholds"}},
        {
            # A neutral number on a coloured ground would look like a verdict.
            "colorMode": "value" if panel.steps == PLAIN else "background",
            "graphMode": "area" if look.sparkline else "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": _LAST,
            "showPercentChange": False,
            "textMode": "value",
            "wideLayout": True,
        },
    )


def _lines(panel: Panel, look: Lines) -> LookJson:
    has_steps = panel.steps != PLAIN
    custom: Json = {
        "axisBorderShow": False,
        "axisCenteredZero": False,
        "axisColorMode": "text",
        "axisLabel": "",
        "axisPlacement": "auto",
        "barAlignment": 0,
        "drawStyle": "line",
        "fillOpacity": 60 if look.is_stacked else 10,
        "gradientMode": "none",
        "hideFrom": _SHOWN,
        "insertNulls": False,
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "pointSize": 5,
        "scaleDistribution": {"type": "linear"},
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if look.is_stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if has_steps else "off"},
    }
    return LookJson(
        "timeseries",
        {**_defaults(panel), "color": {"mode": "palette-classic"}, "custom": custom, "min": 0},
        {
            "legend": {
                "calcs": [],
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        [
            _override(name, color={"mode": "fixed", "fixedColor": colour.value})
            for name, colour in look.colours.items()
        ],
    )


def _timeline(panel: Panel) -> LookJson:
    return LookJson(
        "state-timeline",
        {
            **_defaults(panel),
            "color": {"mode": "thresholds"},
            "custom": {
                "fillOpacity": 80,
                "hideFrom": _SHOWN,
                "insertNulls": False,
                "lineWidth": 0,
                "spanNulls": False,
            },
        },
        {
            "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
            "mergeValues": True,
            "rowHeight": 0.85,
            "showValue": "auto",
            "tooltip": {"mode": "single", "sort": "none"},
        },
    )


def _bars(panel: Panel) -> LookJson:
    return LookJson(
        "bargauge",
        {**_defaults(panel), "color": {"mode": "thresholds"}, "min": 0},
        {
            "displayMode": "basic",
            "maxVizHeight": 300,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "auto",
            "orientation": "horizontal",
            "reduceOptions": _LAST,
            "showUnfilled": True,
            "sizing": "auto",
            "valueMode": "color",
        },
    )


def _table(panel: Panel, look: Table) -> LookJson:
    return LookJson(
        "table",
        {
            **_defaults(panel),
            "color": {"mode": "thresholds"},
            "custom": {
                "align": "auto",
                "cellOptions": {"type": "auto"},
                "filterable": False,
                "inspect": False,
            },
        },
        {
            "cellHeight": "sm",
            "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
            "showHeader": True,
        },
        [
            *_key_overrides(look),
            *(_column_override(column) for column in look.columns if not column.is_hidden),
        ],
        [_join(look), _arrange(look)],
    )


def _join(look: Table) -> Json:
    """One row for each value of the key, with the answers of all columns side by side."""
    return {"id": "joinByField", "options": {"byField": look.key, "mode": "outer"}}


def _arrange(look: Table) -> Json:
    """Drop what is not shown, give columns their titles, and put them in order.

    The join numbers what several answers have in common: `Time 1`, `Time 2` and so on.
    """
    names = [f"Value #{chr(ord('A') + index)}" for index in range(len(look.columns))]
    times = ["Time", *(f"Time {number}" for number in range(1, len(names) + 1))]
    hidden = [name for name, column in zip(names, look.columns, strict=True) if column.is_hidden]
    titles = {name: column.title for name, column in zip(names, look.columns, strict=True)}
    shown = [look.key, *look.labels, *(name for name in names if name not in hidden)]
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys([*times, *hidden], True),
            "includeByName": {},
            "indexByName": {name: index for index, name in enumerate(shown)},
            "renameByName": {name: _title(name) for name in (look.key, *look.labels)}
            | {name: title for name, title in titles.items() if name not in hidden},
        },
    }


def _title(label: str) -> str:
    """The heading of a column of labels."""
    return label.capitalize()


def _key_overrides(look: Table) -> list[Json]:
    if look.key != BACKEND:
        return []
    return [_override(_title(BACKEND), links=[_to_backend("${__value.raw}")])]


def _column_override(column: Column) -> Json:
    # Of an empty cell nothing is to be said; the panel's own text is for a table without rows.
    properties: Json = {"unit": column.unit, "thresholds": _thresholds(column.steps), "noValue": "–"}
    if column.decimals is not None:
        properties["decimals"] = column.decimals
    if column.meanings:
        properties["mappings"] = _mappings(column.meanings)
    if column.meanings or column.steps != PLAIN:
        properties["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
    return _override(column.title, **properties)


def _override(name: str, **properties: object) -> Json:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def _defaults(panel: Panel) -> Json:
    """What all kinds have: unit, thresholds, what numbers mean, and what stands where there is nothing."""
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": _thresholds(panel.steps),
        "mappings": _mappings(panel.meanings) if panel.meanings else [],
        "noValue": panel.when_empty,
    }
    if any(f"{{{{{BACKEND}}}}}" in query.legend for query in panel.queries):
        defaults["links"] = [_to_backend(f"${{__field.labels.{BACKEND}}}")]
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    return defaults


def _to_backend(name: str) -> Json:
    """A click on what belongs to one backend leads to all that is known of it, at the same time."""
    chosen = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
    url = f"/d/{BACKENDS}?${{__url_time_range}}&{chosen}&var-backend={name}"
    return {"title": "This backend", "url": url, "targetBlank": False}


def _thresholds(steps: Steps) -> Json:
    return {
        "mode": "absolute",
        "steps": [{"color": Colour(colour).value, "value": start} for start, colour in steps],
    }


def _mappings(meanings: Meanings) -> list[Json]:
    options = {
        str(number): {"text": meaning.text, "color": meaning.colour.value, "index": index}
        for index, (number, meaning) in enumerate(meanings.items())
    }
    return [{"type": "value", "options": options}]
