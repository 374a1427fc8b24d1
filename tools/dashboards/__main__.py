"""Writes grafana/dashboards, or the directory that is given."""

import json
import sys
from pathlib import Path

from tools.dashboards import DASHBOARDS
from tools.dashboards.grafana import dashboard_json
from tools.dashboards.model import Dashboard


def text_of(dashboard: Dashboard) -> str:
    """The file's content."""
    return json.dumps(dashboard_json(dashboard), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write each dashboard to its file."""
    directory = Path(*sys.argv[1:2] or ["grafana/dashboards"])
    directory.mkdir(parents=True, exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (directory / f"{name}.json").write_text(text_of(dashboard), encoding="utf-8")


if __name__ == "__main__":
    main()
