"""The alert rules speak of what is measured, and each of them is tried out in both directions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from partitioner.membership.health import Health
from partitioner.ops.metrics.catalog import PREFIX, PROCESS, ROUTER, STATE_SERVER, STORE, Kind, Metric
from partitioner.protocol.messages import Operation
from tests.tables import each_case
from tools.dashboards import DASHBOARDS
from tools.dashboards.layout import LINKS

PROMETHEUS = Path(__file__).parents[2] / "conf" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
CASES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]

METRICS = {metric.full_name: metric for metric in (*ROUTER, *STATE_SERVER, *STORE)}
OF_TARGETS = {"job", "instance"}
"""Labels that Prometheus itself puts on whatever it scrapes."""

PANELS = {
    (title, panel.title)
    for title, uid in LINKS
    for dashboard in DASHBOARDS.values()
    if dashboard.uid == uid
    for panel in dashboard.panels
}
"""Every panel, by the title under which dashboards link to its own."""

KNOWN_VALUES = {
    "operation": {each.value for each in Operation},
    "state": {each.value for each in Health},
}
"""What need not be spelt out in the help of each metric."""

of_each_rule = each_case("rule", RULES, ids=[rule["alert"] for rule in RULES])


@of_each_rule
def test_every_metric_of_a_rule_is_measured(rule: dict[str, Any]) -> None:
    """A rule about a name that is not exported never fires, unnoticed."""
    strangers = [name for name, _ in selectors(rule) if name not in PROCESS and metric_of(name) is None]

    assert [] == strangers


@of_each_rule
def test_every_label_that_a_rule_selects_by_is_the_metric_s(rule: dict[str, Any]) -> None:
    """The same goes for labels and their values."""
    strangers = [
        f"{name}: {matcher}"
        for name, matchers in selectors(rule)
        for matcher in matchers
        if not can_match(metric_of(name), *matcher)
    ]

    assert [] == strangers


@of_each_rule
def test_every_label_that_a_rule_joins_by_or_tells_is_there(rule: dict[str, Any]) -> None:
    """Grouping by a label that does not exist would put everything into one heap."""
    known = OF_TARGETS.union({"le"}, *(labels_of(name) for name, _ in selectors(rule)))
    joined = re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", rule["expr"])
    told = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))

    assert set() == {label.strip() for labels in joined for label in labels.split(",")}.union(told) - known


@of_each_rule
def test_a_rule_says_how_urgent_it_is_what_happened_and_where_to_look(rule: dict[str, Any]) -> None:
    """An operator who is woken has the figures, and the first thing to check."""
    annotations = rule["annotations"]
    told = annotations["summary"] + annotations["description"]

    assert rule["labels"]["severity"] in ("page", "ticket")
    assert {"summary", "description", "first_check"} == set(annotations)
    assert re.search(r"\$value|\| query", told) or rule["expr"].startswith("absent(")
    assert len(annotations["summary"]) < 120


@of_each_rule
def test_the_dashboards_and_panels_that_a_rule_names_are_there(rule: dict[str, Any]) -> None:
    """Operators who are woken look for a panel by the title in the alert: the dashboard "X", "Title"."""
    told = " ".join(rule["annotations"].values())
    named = re.findall(r'dashboard "([^"]*)"(?:, "([^"]*)")?', told)

    assert [] == [name for name in named if name not in PANELS]


@of_each_rule
def test_a_rule_is_seen_to_fire_and_to_stay_expected(rule: dict[str, Any]) -> None:
    """`promtool test rules` has a case for each of the two."""
    outcomes = {
        bool(check["exp_alerts"])
        for case in CASES
        for check in case["alert_rule_test"]
        if check["alertname"] == rule["alert"]
    }

    assert {True, False} == outcomes


def test_the_cases_are_about_what_is_measured() -> None:
    """A case with a misspelt series would prove nothing about the real one."""
    series = [each["series"] for case in CASES for each in case["input_series"]]
    strangers = [
        text
        for text in series
        for name, matchers in re.findall(r"^(\w+)\{(.*)\}$", text)
        if name.startswith(PREFIX) and not is_complete(name, {label for label, _, _ in _matchers(matchers)})
    ]

    assert [] == strangers


# --- what a rule speaks of ---

Matcher = tuple[str, str, str]  # label, operator, value


def selectors(rule: dict[str, Any]) -> Iterator[tuple[str, list[Matcher]]]:
    """The metrics in a rule's expression and in the queries of its annotations, with their matchers."""
    texts = (rule["expr"], *re.findall(r'printf "([^"]*)"', " ".join(rule["annotations"].values())))
    for text in texts:
        for name, matchers in re.findall(r"\b((?:partitioner|process)_\w+)(?:\{([^}]*)\})?", text):
            yield name, _matchers(matchers)


def metric_of(name: str) -> Metric | None:
    """What the table says of a name; a histogram goes by three."""
    of_histogram = METRICS.get(re.sub(r"_(bucket|sum|count)$", "", name))
    if of_histogram is not None and of_histogram.kind is Kind.HISTOGRAM:
        return None if name == of_histogram.full_name else of_histogram
    return METRICS.get(name)


def labels_of(name: str) -> set[str]:
    metric = metric_of(name)
    return set() if metric is None else set(metric.labels)


def can_match(metric: Metric | None, label: str, operator: str, value: str) -> bool:
    """Whether the label is the metric's, and each of the values is one that its help speaks of."""
    if label in OF_TARGETS:
        return True
    if metric is None or label not in metric.labels:
        return False
    values = value.split("|") if operator in ("=~", "!~") else [value]
    return KNOWN_VALUES.get(label, set()).union(_words(metric.help)).issuperset(values)


def is_complete(name: str, labels: set[str]) -> bool:
    """Whether a series has all labels of its metric and no others, besides those of its target."""
    metric = metric_of(name)
    if metric is None:
        return False
    of_bucket = {"le"} if name.endswith("_bucket") else set()
    return OF_TARGETS.union(metric.labels, of_bucket) == labels


def _matchers(text: str) -> list[Matcher]:
    return re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"?([^",]*)"?', text)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))
