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
from tests.end_to_end.kills.faults import ALL, IN_TURN, Fault
from tests.end_to_end.kills.load import LoadPlan
from tests.end_to_end.kills.run import Findings, Outcome, Plan, Run
from tests.simulation.checker import Kind, Violation
from tests.simulation.history import History
from tests.simulation.seeded import ActorRandom
from tests.simulation.web import EXECUTION_TIMEOUT, LONGEST_WORK, SHORTEST_TIMEOUT

REPORT_EVERY = 2.0


@click.command()
@click.option("--sessions", type=int, default=2000, show_default=True)
@click.option("--workers", type=int, default=32, show_default=True, help="Who run pages side by side.")
@click.option("--faults", type=int, default=6, show_default=True, help="One after the other.")
@click.option("--drawn", is_flag=True, help="Draw the faults from all that there are, by the seed.")
@click.option("--only", multiple=True, help="Draw none but faults with this in their names.")
@click.option("--state-dir/--no-state-dir", default=False, show_default=True, help="For the routers.")
@click.option("--pause", type=float, default=0.2, show_default=True, help="Seconds between two pages.")
@click.option("--interval", type=float, default=2.0, show_default=True, help="Seconds between probes.")
@click.option("--timeout", type=float, default=1.0, show_default=True, help="Seconds that a probe may take.")
@click.option("--longest-life", type=float, default=60.0, show_default=True, help="T_max in seconds.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is asked, and when.")
@click.option("--fast-path", type=click.Choice(["off", "on"]), default="on", show_default=True)
@click.option("--history", type=click.Path(path_type=Path), help="Where to write what users saw.")
def main(
    sessions: int,
    workers: int,
    faults: int,
    drawn: bool,
    only: tuple[str, ...],
    state_dir: bool,
    pause: float,
    interval: float,
    timeout: float,
    longest_life: float,
    seed: int,
    fast_path: str,
    history: Path | None,
) -> None:
    """Kill, freeze and restart real processes under load, each when the pool is redundant again."""
    plan = Plan(
        faults=_draw(faults, seed, only) if drawn or only else _in_turn(faults),
        load=LoadPlan(
            sessions=sessions,
            workers=workers,
            pause=pause,
            touchers=16,
            round=longest_life / 3,
            touch_saves=longest_life < SHORTEST_TIMEOUT,
            longest_work=LONGEST_WORK,
            execution_timeout=EXECUTION_TIMEOUT,
        ),
        longest_life=longest_life,
        # Servers fall again and again here, and would have to wait longer each time.
        health=HealthPolicy(interval=interval, timeout=timeout, hold_down=2.0),
        seed=seed,
        fast_path=fast_path,
        state_dirs=state_dir,
    )
    with tempfile.TemporaryDirectory() as directory:
        outcome = trio.run(_run, Run(plan, Path(directory)))
    if history is not None:
        history.write_text("\n".join([*outcome.history.lines(), "", outcome.log]))
    sys.exit(0 if _report(outcome) else 1)


def _in_turn(count: int) -> list[Fault]:
    return [IN_TURN[number % len(IN_TURN)] for number in range(count)]


def _draw(count: int, seed: int, only: tuple[str, ...]) -> list[Fault]:
    """So many faults, with one of these words in each name; all kinds before one comes again."""
    kinds = [fault for fault in ALL if not only or any(word in fault.name for word in only)]
    if not kinds:
        raise click.BadParameter(f"expected a part of one of: {', '.join(fault.name for fault in ALL)}")
    rng = ActorRandom(seed, "faults")
    drawn: list[Fault] = []
    while len(drawn) < count:
        drawn += rng.sample(kinds, len(kinds))
    return drawn[:count]


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
    """Print what it has come to; return whether all is well."""
    table = Table(
        "fault",
        "server",
        "out of reach",
        "allowed",
        "machine late",
        "closed",
        "redundant after",
        "violations",
    )
    findings = outcome.findings()
    for each in findings:
        table.add_row(*_cells(each))
    Console(width=140).print(table)
    kinds = Counter(each.kind for each in outcome.violations)
    click.echo(", ".join(f"{kinds[kind]} {kind.value}" for kind in Kind))
    first_of_each = {each.kind: each for each in reversed(outcome.violations)}
    for violation in first_of_each.values():
        _tell_of(violation, outcome.history)
    if outcome.stopped_by is not None:
        click.echo(f"the run was not finished: {outcome.stopped_by}")
    neglect, longest_life = outcome.longest_neglect, outcome.plan.longest_life
    proves = neglect < longest_life
    click.echo(
        f"{len(outcome.history.exchanges):,} exchanges; sessions were left alone for {neglect:.1f} s at most"
    )
    if not proves:
        click.echo(f"this run proves nothing: expected less than {longest_life:g} s")
    is_whole = proves and outcome.stopped_by is None
    return is_whole and not outcome.violations and all(each.is_good for each in findings)


def _tell_of(violation: Violation, history: History) -> None:
    """Print a violation, with all that users saw of its session."""
    click.echo(str(violation))
    for each in history.exchanges:
        if each.session == violation.exchange.session:
            click.echo(f"    {each}")


def _cells(found: Findings) -> tuple[str, ...]:
    period = found.period
    return (
        str(period.fault),
        period.server,
        f"{found.longest_outage:.2f} s",
        "" if found.allowed is None else f"{found.allowed:.1f} s",
        f"{period.lateness:.2f} s",
        f"{found.closed:,}",
        f"{period.redundant_at - period.began_at:.1f} s",
        str(len(found.violations)),
    )


main()
