"""What the actions of the verbs share: how they say and print things. Tables are in `tables`.

Answers go to stdout, complaints and progress to stderr. Exit codes: 0 done, 1 could not, 2 usage or
configuration (design.md 9.1).
"""

import json

import click

from partitioner.ops.admin.reports import DrainReport, HealingReport
from partitioner.ops.printable import printable
from partitioner.units import format_age, format_share


def warn(sentence: str) -> None:
    """Say on stderr what is allowed and probably not meant."""
    click.echo(f"partitioner: warning: {sentence}", err=True)


def print_json(value: object) -> None:
    """Print one line of JSON, in ASCII: keys may hold what no terminal's encoding does."""
    click.echo(json.dumps(value))


def percent(share: float) -> str:
    """Write a share from 0 to 1 in per cent."""
    return format_share(share)


def progress(drain: DrainReport) -> str:
    """How far a drain has come, in a line."""
    left = "the number left is unknown" if drain.left is None else f"{drain.left} left"
    if drain.done:
        return f"done, {drain.moved} sessions moved"
    if drain.stalled is not None:
        return f"{drain.moved} sessions moved, {left}; stalled: {printable(drain.stalled)}"
    until = "" if drain.estimate is None else f", at most {age(drain.estimate)} to go"
    return f"{drain.moved} sessions moved, {left}{until}"


def healed(healing: HealingReport) -> str:
    """How far a walk has come that puts sessions right, in a line."""
    share = healing.seen / healing.told if healing.told else 0.0
    left = "" if not healing.left else f", {healing.left} to be retried"
    until = "" if not healing.estimate else f", about {age(healing.estimate)} to go"
    return (
        f"{percent(share)} looked at, {healing.healed} sessions put right, {healing.rate:.0f}/s{left}{until}"
    )


def age(seconds: float) -> str:
    """A length of time for people, to the second: 1m 30s."""
    return format_age(seconds)
