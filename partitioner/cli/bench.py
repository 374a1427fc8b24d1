"""`partitioner bench`: put load on a state server or a router, and check every answer."""

import signal
from random import randrange

import click
import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from partitioner.bench.content import LEAST_SIZE
from partitioner.bench.findings import Finding
from partitioner.bench.progress import Progress
from partitioner.bench.report import json_report, report
from partitioner.bench.run import Bench, Outcome, Plan
from partitioner.cli.output import json_option, print_json, print_rich, read_address
from partitioner.daemon import allow_open_files
from partitioner.membership.backend import Address, Backend
from partitioner.net.channel import dial_tcp
from partitioner.net.checkup import examine
from partitioner.units import parse_duration, parse_size

SAID = 10
"""Findings that are said as they come; the others are only counted."""

_GLANCE = 0.5
"""Seconds between two updates of the progress line."""


def _size(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if size < LEAST_SIZE:
        raise click.BadParameter(f"{text!r} is too small; a body that can be checked needs {LEAST_SIZE}B")
    return size


def _duration(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if duration <= 0:
        raise click.BadParameter(f"{text!r} is no time at all")
    return duration


@click.command()
@click.argument("address", metavar="HOST:PORT", callback=read_address)
@click.option("--connections", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--sessions", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option(
    "--size", default="1KiB", show_default=True, callback=_size, help=f"Of a body; at least {LEAST_SIZE}B."
)
@click.option(
    "--duration", default="10s", show_default=True, callback=_duration, help="How long to make requests."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Web requests a second, over all connections; one makes up to two exchanges. Default: no limit.",
)
@click.option(
    "--timeout", default="10s", show_default=True, callback=_duration, help="For one exchange, as in ASP.NET."
)
@click.option("--seed", type=int, help="To make the same choices again. Session IDs are new in any case.")
@json_option
@click.pass_context
def bench(
    context: click.Context,
    address: Address,
    connections: int,
    sessions: int,
    size: int,
    duration: float,
    rate: float | None,
    timeout: float,
    seed: int | None,
    as_json: bool,
) -> None:
    """Put load on a state server or a router, and check every answer.

    Web requests are 70 % acquire and save, 20 % acquire and release, 10 % get, over sessions that are made
    for the purpose and removed at the end. Ctrl-C ends early, and still reports; a second one does not
    wait for the sessions to be removed.

    Exits 1 if any answer was wrong, older than an acknowledged save, or said that a stored session was not
    found, if a lock had two holders at once, or if nothing worked at all.
    """
    plan = Plan(
        address=address,
        connections=connections,
        sessions=sessions,
        size=size,
        duration=duration,
        rate=rate,
        seed=randrange(2**32) if seed is None else seed,
        timeout=timeout,
    )
    allow_open_files(connections)
    outcome = trio.run(_run_watched, plan)
    if as_json:
        print_json(json_report(outcome))
    else:
        print_rich(*report(outcome))
    context.exit(0 if outcome.is_good else 1)


async def _run_watched(plan: Plan) -> Outcome:
    console = Console(stderr=True, highlight=False)
    bench = Bench(plan, _Complaints(console))
    trouble = await examine(Backend("bench", plan.address), dial_tcp, plan.timeout)
    if trouble is not None:
        raise click.ClickException(f"{plan.address} {trouble}")
    async with trio.open_nursery() as watching:
        watching.start_soon(_stop_on_signals, bench, watching.cancel_scope)
        if console.is_terminal:
            watching.start_soon(_show_progress, bench, console)
        await bench.run()
        watching.cancel_scope.cancel()
    return bench.outcome()


class _Complaints:
    """Says loudly what was found, as soon as it is found, and does not go on forever."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = 0

    def __call__(self, finding: Finding) -> None:
        self._said += 1
        if self._said <= SAID:
            self._console.print(Text(str(finding), style="bold red"), soft_wrap=True)
        elif self._said == SAID + 1:
            self._console.print(Text("... and so on; further ones are only counted", style="bold red"))


async def _stop_on_signals(bench: Bench, everything: trio.CancelScope) -> None:
    """End early on the first Ctrl-C, and at once on the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await anext(aiter(signals))
        bench.stop()
        await anext(aiter(signals))
        everything.cancel()


async def _show_progress(bench: Bench, console: Console) -> None:
    # Without rich's own refreshing, which would be a thread that competes with the load.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        progress = Progress(bench, trio.current_time())
        while True:
            await trio.sleep(_GLANCE)
            live.update(Text(progress.line(trio.current_time())), refresh=True)
