"""A real Prometheus that scrapes every second by the shipped jobs, and what it answers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.end_to_end.processes import started
from tests.end_to_end.real_parts import need

SHIPPED = Path(__file__).parents[2] / "conf" / "prometheus" / "prometheus.yml"
STEP = 1.0  # seconds between two scrapes, and between two points of an answer


@dataclass(frozen=True)
class Series:
    """One series of an answer."""

    labels: Mapping[str, str]
    values: tuple[float, ...]  # numbers only: a NaN is a gap


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    client: httpx.Client

    def now(self, expression: str) -> list[Series]:
        """The present values of an expression. Raises AssertionError where it cannot be parsed."""
        found = self._ask("query", query=expression)
        return _numbers([(each["metric"], [each["value"]]) for each in found["result"]])

    def between(self, expression: str, start: float, end: float) -> list[Series]:
        """The values of an expression from `start` to `end`, in Unix time."""
        found = self._ask("query_range", query=expression, start=start, end=end, step=STEP)
        return _numbers([(each["metric"], each["values"]) for each in found["result"]])

    def label_values(self, selector: str, label: str) -> list[str]:
        """All values that a label has in these series."""
        return list(self._ask(f"label/{label}/values", **{"match[]": selector}))

    def _ask(self, what: str, **parameters: str | float) -> Any:
        answer = self.client.get(f"/api/v1/{what}", params=parameters).json()
        assert answer["status"] == "success", f"{answer.get('error')} in {parameters}"
        return answer["data"]


def _numbers(found: Sequence[tuple[Mapping[str, str], Sequence[tuple[float, str]]]]) -> list[Series]:
    """Series that have a number in them."""
    series = []
    for labels, points in found:
        values = tuple(value for _, text in points if math.isfinite(value := float(text)))
        if values:
            series.append(Series(labels, values))
    return series


@contextmanager
def prometheus(
    directory: Path, routers: Sequence[str], state_servers: Mapping[str, str]
) -> Iterator[Prometheus]:
    """Start a Prometheus that scrapes routers, and state servers by the names of their backends.

    Its jobs are the shipped ones, with these targets, and no alerts.
    """
    configuration = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    configuration["global"] = {"scrape_interval": f"{STEP:g}s"}
    del configuration["rule_files"]
    of_routers, of_state_servers = configuration["scrape_configs"]
    of_routers["static_configs"] = [{"targets": list(routers)}]
    of_state_servers["static_configs"] = [
        {"targets": [address], "labels": {"backend": backend}} for backend, address in state_servers.items()
    ]
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    command = [
        need("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with started(command) as program:
        port = program.wait_for(r'"Listening on" address=127\.0\.0\.1:([0-9]+)')[1]
        program.wait_for("Server is ready")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield Prometheus(client)
