"""The files that are laid beside Grafana and Prometheus fit the dashboards, the router, and each other."""

from pathlib import Path
from typing import Any

import yaml

from partitioner.config import parse

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


PROMETHEUS = read(CONF / "prometheus" / "prometheus.yml")
(DATASOURCE,) = read(ROOT / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
(PROVIDER,) = read(ROOT / "grafana/provisioning/dashboards/partitioner.yml")["providers"]


def test_dashboards_are_read_from_where_they_are_put() -> None:
    """The directory that Grafana's packages and images have for dashboards."""
    assert ("file", "/var/lib/grafana/dashboards") == (PROVIDER["type"], PROVIDER["options"]["path"])


def test_the_data_source_is_what_dashboards_start_with() -> None:
    """Their choice of a data source begins with the default one of that type."""
    assert ("prometheus", True) == (DATASOURCE["type"], DATASOURCE["isDefault"])


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    """$__rate_interval is four times this; where scrapes are further apart graphs have gaps."""
    assert PROMETHEUS["global"]["scrape_interval"] == DATASOURCE["jsonData"]["timeInterval"]


def targets(job: str) -> list[dict[str, Any]]:
    (scraped,) = [each for each in PROMETHEUS["scrape_configs"] if each["job_name"] == job]
    groups: list[dict[str, Any]] = scraped["static_configs"]
    return groups


def test_the_router_is_scraped_where_it_listens_by_default() -> None:
    """A router of the smallest configuration is seen without a change."""
    settings = parse((CONF / "examples" / "three-servers.yml").read_text())

    assert [{"targets": [str(settings.admin)]}] == targets("partitioner")


def test_state_servers_are_given_the_names_of_their_backends() -> None:
    """Dashboards put what they tell beside what the router sees, by this label."""
    settings = parse((CONF / "examples" / "three-servers.yml").read_text())
    labels = [group["labels"] for group in targets("partitioner-state-server")]

    assert [{"backend": backend.name} for backend in settings.pool_backends()] == labels
