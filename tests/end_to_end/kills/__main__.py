"""`python -m tests.end_to_end.kills`: kill and freeze real processes under load, and judge what users saw."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.table import Table

from partitioner.membership.health import HealthPolicy
from tests.end_to_end.kills.faults import IN_TURN
from tests.end_to_end.kills.load import LoadPlan
from tests.end_to_end.kills.run import Findings, Outcome, Plan, Run
from tests.simulation.checker import Kind

REPORT_EVERY = 2.0


@click.command()
@click.option("--sessions", type=int, default=2000, show_default=True)
@click.option("--workers", type=int, default=32, show_default=True, help="Who run pages side by side.")
@click.option("--faults", type=int, default=6, show_default=True, help="One after the other.")
@click.option("--pause", type=float, default=0.2, show_default=True, help="Seconds between two pages.")
@click.option("--interval", type=float, default=2.0, show_default=True, help="Seconds between probes.")
@click.option("--timeout", type=float, default=1.0, show_default=True, help="Seconds that a probe may take.")
@click.option("--longest-life", type=float, default=30.0, show_default=True, help="T_max in seconds.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is asked, and when.")
@click.option("--history", type=click.Path(path_type=Path), help="Where to write what users saw.")
def main(
    sessions: int,
    workers: int,
    faults: int,
    pause: float,
    interval: float,
    timeout: float,
    longest_life: float,
    seed: int,
    history: Path | None,
) -> None:
    """Kill, freeze and restart real processes under load, each when the pool is redundant again."""
    plan = Plan(
        faults=[IN_TURN[number % len(IN_TURN)] for number in range(faults)],
        load=LoadPlan(
            sessions=sessions,
            workers=workers,
            pause=pause,
            touchers=16,
            round=longest_life / 4,
            longest_work=3.0,
            execution_timeout=14.0,
        ),
        longest_life=longest_life,
        health=HealthPolicy(interval=interval, timeout=timeout, hold_down=2.0),
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as directory:
        outcome = trio.run(_run, Run(plan, Path(directory)))
    if history is not None:
        history.write_text("\n".join([*outcome.history.lines(), "", outcome.log]))
    sys.exit(0 if _report(outcome) else 1)


async def _run(run: Run) -> Outcome:
    console = Console(stderr=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, run, console)
        outcome = await run.run()
        nursery.cancel_scope.cancel()
    return outcome


async def _tell(run: Run, console: Console) -> None:
    """Say how it is getting on, on one line of a terminal; elsewhere whenever it has got on."""
    before, told = 0, ""
    with console.status("starting") as status:
        while True:
            await trio.sleep(REPORT_EVERY)
            exchanges = len(run.load.history.exchanges) if run.load else 0
            closed = run.load.closed if run.load else 0
            pace = (exchanges - before) / REPORT_EVERY
            line = f"{run.stage}  {exchanges:,} exchanges, {pace:,.0f}/s, {closed:,} closed"
            if console.is_terminal:
                status.update(line)
            elif run.stage != told:
                console.print(line, highlight=False, soft_wrap=True)
            before, told = exchanges, run.stage


def _report(outcome: Outcome) -> bool:
    """Print what it has come to; answer whether all is well."""
    table = Table("fault", "server", "out of reach", "allowed", "closed", "redundant after", "violations")
    findings = outcome.findings()
    for each in findings:
        table.add_row(*_cells(each))
    Console(width=140).print(table)
    kinds = Counter(each.kind for each in outcome.violations)
    click.echo(", ".join(f"{kinds[kind]} {kind.value}" for kind in Kind))
    for violation in outcome.violations[:20]:
        click.echo(str(violation))
    untouched = outcome.longest_untouched
    proves = untouched < outcome.plan.longest_life
    click.echo(
        f"{len(outcome.history.exchanges):,} exchanges; no session was left untouched for more than "
        f"{untouched:.1f} s, of {outcome.plan.longest_life:g} s that it may be"
        + ("" if proves else ": this run proves nothing")
    )
    return proves and not outcome.violations and all(each.is_good for each in findings)


def _cells(found: Findings) -> tuple[str, ...]:
    period = found.period
    return (
        str(period.fault),
        period.server,
        f"{found.longest_outage:.2f} s",
        "" if found.allowed is None else f"{found.allowed:.1f} s",
        f"{found.closed:,}",
        f"{period.redundant_at - period.began_at:.1f} s",
        str(len(found.violations)),
    )


main()
