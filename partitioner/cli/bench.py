"""`partitioner bench`: put load on a state server or a router, and check every answer."""

from random import randrange

import click

from partitioner.bench.content import LEAST_SIZE
from partitioner.cli.options import json_option, read_address, read_duration, read_size
from partitioner.membership.backend import Address
from partitioner.signals import interruptible


def _size(context: click.Context, parameter: click.Parameter, text: str) -> int | None:
    size = read_size(context, parameter, text)
    if size is not None and size < LEAST_SIZE:
        raise click.BadParameter(f"{text!r} is too small; a body that can be checked needs {LEAST_SIZE}B")
    return size


def _duration(context: click.Context, parameter: click.Parameter, text: str) -> float:
    duration = read_duration(context, parameter, text)
    if duration <= 0:
        raise click.BadParameter(f"{text!r} is not longer than 0")
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
def bench(
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
    found, if a lock had two holders at once, if anything was refused, or if nothing worked at all.
    """
    from partitioner.bench.run import Plan
    from partitioner.cli.actions.bench import run_bench

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
    interruptible(lambda: run_bench(plan, as_json=as_json))
