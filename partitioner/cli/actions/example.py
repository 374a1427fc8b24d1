"""The examples that come with the package, by name.

In a checkout they are files of `conf/` and `grafana/`. A wheel carries copies of both folders inside the
package, in `examples/` (pyproject.toml, force-include).
"""

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import click

import partitioner
from partitioner.cli.options import Refused


class Example(NamedTuple):
    """One file, and what it is."""

    path: str  # from the root of the repository
    about: str


EXAMPLES = {
    "partitioner.yml": Example("conf/partitioner.yml", "the reference configuration: every key explained"),
    "three-servers.yml": Example("conf/examples/three-servers.yml", "the smallest useful configuration"),
    "weighted.yml": Example("conf/examples/weighted.yml", "a configuration of servers of unequal size"),
    "partitioner.service": Example("conf/systemd/partitioner.service", "systemd: the router"),
    "partitioner.socket": Example("conf/systemd/partitioner.socket", "systemd: the router's sockets"),
    "partitioner-state-server.service": Example(
        "conf/systemd/partitioner-state-server.service", "systemd: a state server"
    ),
    "keepalived.conf": Example("conf/keepalived.conf", "keepalived: one address for two routers"),
    "prometheus.yml": Example("conf/prometheus/prometheus.yml", "Prometheus: scrape jobs"),
    "alerts.yml": Example("conf/prometheus/alerts.yml", "Prometheus: alert rules"),
    "alerts_test.yml": Example("conf/prometheus/alerts_test.yml", "Prometheus: tests of the alert rules"),
    "metrics.md": Example("conf/metrics.md", "the metrics, with their labels"),
    "overview.json": Example("grafana/dashboards/overview.json", "Grafana: dashboard of the farm"),
    "backends.json": Example("grafana/dashboards/backends.json", "Grafana: dashboard of the state servers"),
    "sessions-and-locks.json": Example(
        "grafana/dashboards/sessions-and-locks.json", "Grafana: dashboard of sessions and locks"
    ),
    "store.json": Example("grafana/dashboards/store.json", "Grafana: dashboard of sessions on an engine"),
    "grafana-dashboards.yml": Example(
        "grafana/provisioning/dashboards/partitioner.yml", "Grafana: where the dashboards are"
    ),
    "grafana-datasource.yml": Example(
        "grafana/provisioning/datasources/prometheus.yml", "Grafana: where Prometheus is"
    ),
}


def print_example(name: str) -> None:
    """Write an example to stdout, byte for byte. Raises Refused where there is none of that name."""
    if name not in EXAMPLES:
        nearest = get_close_matches(name, EXAMPLES, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise Refused(f"no example is named {name!r}{hint} (`partitioner example --list` names them)")
    sys.stdout.buffer.write((_root() / EXAMPLES[name].path).read_bytes())
    sys.stdout.buffer.flush()


def list_examples() -> None:
    """Print the name of each example, and what it is."""
    width = max(map(len, EXAMPLES))
    for name, example in EXAMPLES.items():
        click.echo(f"{name:<{width}}  {example.about}")


def _root() -> Path:
    """Return the folder that `conf/` and `grafana/` are in."""
    package = Path(partitioner.__file__).parent
    packaged = package / "examples"
    return packaged if packaged.is_dir() else package.parent
