"""Makes a router the active one, and says by which term."""

from dataclasses import asdict

import click

from partitioner.cli.admin_client import AdminClient
from partitioner.cli.output import print_json
from partitioner.ops.admin.reports import ClaimReport
from partitioner.ops.admin.units import duration


def claim_now(url: str, *, as_json: bool) -> None:
    """Claim for the router at this URL. Raises ClickException (exit 1) where that cannot be."""
    report = AdminClient(url).claim()
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(_sentence(report))


def _sentence(report: ClaimReport) -> str:
    term = "" if report.term is None else f", term {report.term}"
    if report.was_active:
        return f"this router is the active one already{term}"
    return f"this router is the active one{term}; the claim took {duration(report.took)}"
