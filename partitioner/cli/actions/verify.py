"""Has a router walk through all sessions, shows on a terminal how that goes, and says what it has found."""

import time
from dataclasses import asdict

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import print_json
from partitioner.ops.admin.reports import VerifyReport
from partitioner.ops.admin.units import duration

_GLANCE = 0.3
"""Seconds between two looks at a router."""


def verify_now(url: str, *, as_json: bool) -> None:
    """Verify, and exit with 1 unless every session was seen to be whole. Raises ClickException."""
    client = AdminClient(url)
    report = _wait(client, client.begin_verify())
    if as_json:
        print_json(asdict(report))
    else:
        for line in _lines(report):
            click.echo(line)
    if not report.whole:
        raise SystemExit(1)


def _wait(client: AdminClient, report: VerifyReport) -> VerifyReport:
    columns = (TextColumn("{task.description}"), BarColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("verifying", total=None)
        while not report.done:
            total = max(report.told, report.seen) or None
            sentence = f"{report.sessions} sessions"
            if report.estimate is not None:
                sentence += f", {duration(report.estimate)} left"
            bar.update(task, description=sentence, total=total, completed=report.seen)
            time.sleep(_GLANCE)
            report = client.verify()
    return report


def _lines(report: VerifyReport) -> list[str]:
    lines = [f"{report.sessions} sessions, looked at in {duration(report.took or 0.0)}"]
    for copies, sessions in sorted(report.on_servers.items(), key=lambda each: int(each[0])):
        lines.append(f"  on {copies} server{'' if copies == '1' else 's'}: {sessions}")
    lines += [
        f"  lacking a copy: {report.lacking}",
        f"  differing between servers: {report.differing}",
        f"  misplaced: {report.misplaced}",
    ]
    lines += [f"{name} was not looked at: {reason}" for name, reason in report.refused.items()]
    if report.pool_changed:
        lines.append("the pool has changed meanwhile: verify again")
    return lines
