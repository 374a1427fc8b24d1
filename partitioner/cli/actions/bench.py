"""Puts load on a state server or a router, and checks every answer."""

import signal

import click
import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from partitioner.bench.findings import Finding
from partitioner.bench.progress import Progress
from partitioner.bench.report import json_report, report
from partitioner.bench.run import Bench, Outcome, Plan
from partitioner.cli.output import print_json
from partitioner.cli.tables import print_rich
from partitioner.daemon.open_files import BESIDE_CONNECTIONS, allow_open_files
from partitioner.membership.backend import Backend
from partitioner.transport.channel import dial_tcp
from partitioner.transport.checkup import examine

SAID = 10
"""Findings that are said as they come; the others are only counted."""

_GLANCE = 0.5
"""Seconds between two updates of the progress line."""


def run_bench(plan: Plan, *, as_json: bool) -> None:
    """Carry a plan out and print what came of it; exits 1 if that was bad."""
    allow_open_files(plan.connections + BESIDE_CONNECTIONS)
    outcome = trio.run(_run_watched, plan)
    if as_json:
        print_json(json_report(outcome))
    else:
        print_rich(*report(outcome))
    click.get_current_context().exit(0 if outcome.is_good else 1)


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
