"""Dashboards ask for what is measured, and for all of it."""

import re
from dataclasses import dataclass

import pytest

from partitioner.ops.metrics.catalog import PROCESS, ROUTER, STATE_SERVER, STORE, Kind, Metric
from tests.tables import each_case
from tools.dashboards import DASHBOARDS
from tools.dashboards.layout import ANNOTATIONS, VARIABLES

METRICS: dict[str, Metric] = {metric.full_name: metric for metric in (*ROUTER, *STATE_SERVER, *STORE)}

OF_THE_SCRAPE = frozenset({"job", "instance", "backend"})
"""Labels that Prometheus gives to what it scrapes; `backend` to state servers (conf/prometheus)."""

EXPRESSIONS = {
    f"{name}: {panel.title} {number}": query.expression
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard.panels
    for number, query in enumerate(panel.queries)
}
EVENTS = {f"event: {annotation.name}": annotation.expression for annotation in ANNOTATIONS}


@dataclass(frozen=True)
class Selector:
    """One `name{label="value"}` of an expression."""

    name: str
    labels: frozenset[str]


def selectors(expression: str) -> list[Selector]:
    """Every selector of an expression."""
    return [
        Selector(name, frozenset(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers)))
        for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression)
    ]


def base_name(name: str) -> str:
    """The metric to which a series of a histogram belongs."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base if base in METRICS and METRICS[base].kind is Kind.HISTOGRAM else name


def labels_of(name: str) -> frozenset[str]:
    """Labels that a series of this name has when it is in Prometheus."""
    own = METRICS[base_name(name)].labels if base_name(name) in METRICS else ()
    return OF_THE_SCRAPE.union(own, {"le"} if name.endswith("_bucket") else ())


@each_case("expression", (EXPRESSIONS | EVENTS).values(), ids=EXPRESSIONS | EVENTS)
def test_expressions_are_of_known_metrics_and_labels(expression: str) -> None:
    """Names and labels are those of the table; a histogram is asked for by its buckets."""
    asked = selectors(expression)
    known = METRICS.keys() | set(PROCESS) | {"up"}
    labels = frozenset[str]().union(*(labels_of(each.name) for each in asked))
    grouped = [
        label for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in group.split(", ")
    ]

    assert asked != []
    assert {base_name(each.name) for each in asked} <= known
    assert [] == [each for each in asked if not each.labels <= labels_of(each.name)]
    assert set(grouped) <= labels
    assert [] == [
        each.name for each in asked if each.name in METRICS and METRICS[each.name].kind is Kind.HISTOGRAM
    ]


@each_case("expression", (EXPRESSIONS | EVENTS).values(), ids=EXPRESSIONS | EVENTS)
def test_counters_are_read_as_rates(expression: str) -> None:
    """A counter by itself tells how long a process runs."""
    counters = [
        each.name for each in selectors(expression) if each.name.endswith(("_total", "_bucket", "_sum"))
    ]
    as_rates = re.findall(r"(?:rate|increase|resets)\((\w+)\{", expression)

    assert counters == as_rates


@each_case("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_routers_and_state_servers_are_not_mixed_up(expression: str) -> None:
    """Both have the same metrics of serving: each selector says whose it means."""
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        of_router = 'job=~"$job", instance=~"$instance"' in matchers
        of_state_server = 'instance=~"$state_server"' in matchers
        with_a_store = 'instance=~"$store"' in matchers

        assert [of_router, of_state_server, with_a_store].count(True) == 1, name


@each_case("name", [metric.full_name for metric in (*ROUTER, *STATE_SERVER, *STORE)] + list(PROCESS))
def test_every_metric_is_shown_somewhere(name: str) -> None:
    """What no panel shows need not be measured."""
    shown = {base_name(each.name) for text in EXPRESSIONS.values() for each in selectors(text)}

    assert name in shown


def test_choices_are_labels_of_known_metrics() -> None:
    """A list of choices is filled by the values of a label."""
    for variable in VARIABLES:
        match = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", variable.query)

        assert match is not None
        assert match[1] in METRICS
        assert match[3] in labels_of(match[1])


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_legends_name_labels_that_are_left(dashboard: object) -> None:
    """A legend's label has to survive the sum."""
    legends = [
        (label, query.expression)
        for each in DASHBOARDS.values()
        if each is dashboard
        for panel in each.panels
        for query in panel.queries
        for label in re.findall(r"\{\{(\w+)\}\}", query.legend)
    ]

    assert [] == [
        (label, text)
        for label, text in legends
        if not any(label in group.split(", ") for group in re.findall(r"by \(([^)]*)\)", text))
    ]
