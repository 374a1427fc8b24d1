"""Why does a state server not serve, until when, and which command helps? One sentence for operators.

The sentence begins with a verb; the name of the server goes before it. Times of day are those of the router's
machine.
"""

from collections.abc import Callable
from dataclasses import dataclass

from partitioner.membership.backend import Intent
from partitioner.membership.health import Health, Symptom
from partitioner.membership.pool import Member
from partitioner.routing.drain import Drain

IS_FULL = (
    "is full: other servers take its new sessions until it has room again; give it more memory "
    "(--max-memory) or a smaller weight"
)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of one server."""

    member: Member
    trouble: str | None  # the last thing that was wrong with it
    drain: Drain | None
    is_full: bool  # it has refused the last session that it did not hold yet
    copied_from: str | None  # the server as a copy of whose memory it began
    not_healed: str | None  # why healing cannot look at what it holds


def why_out(
    situation: Situation, now: float, t_max: float, time_of_day: Callable[[float], str]
) -> str | None:
    """Why it does not serve, or takes no new sessions; None where nothing is the matter.

    `time_of_day` writes a moment of monotonic time.
    """
    member = situation.member
    name = member.backend.name
    if member.removed_at is not None:
        until = time_of_day(member.removed_at + t_max)
        return (
            f"was removed from the configuration: it is asked for what it holds until {until} at the latest; "
            f"`partitioner status --safe-to-stop {name}` says when it may be stopped"
        )
    match member.backend.intent:
        case Intent.MAINT:
            return f"is in maint: nothing is asked of it until `partitioner ready {name}`"
        case Intent.DRAIN:
            return _why_drained(situation, name, t_max, time_of_day)
    match member.record.health:
        case Health.UP:
            return IS_FULL if situation.is_full else None
        case Health.UNKNOWN:
            return "is not known yet: it is being looked at, and serves within seconds if it answers"
        case Health.DOWN:
            return _why_down(situation, now, time_of_day)
        case Health.RECOVERING:
            return _why_recovering(situation, name, time_of_day)


def _why_drained(situation: Situation, name: str, t_max: float, time_of_day: Callable[[float], str]) -> str:
    ready, drain = f"`partitioner ready {name}` has it serve again", situation.drain
    if drain is None:
        begins = "begins at once" if situation.member.is_readable else "begins when it answers"
        return f"is to be drained, which {begins}: it takes no new sessions; {ready}"
    if drain.is_done:
        return f"is drained: it holds nothing any more and may be stopped; {ready}"
    until = time_of_day(drain.began_at + t_max)
    return f"is being drained: it takes no new sessions, and is done by {until} at the latest; {ready}"


def _why_down(situation: Situation, now: float, time_of_day: Callable[[float], str]) -> str:
    record = situation.member.record
    trouble = situation.trouble or "it does not answer"
    if record.symptom is Symptom.ALIAS:
        return (
            f"does not serve: it {trouble}; correct its address or remove it from the configuration, then "
            "`partitioner reload`"
        )
    at_once = "as soon as it answers"
    serves = (
        at_once
        if record.held_until <= now
        else f"when it answers, not before {time_of_day(record.held_until)}"
    )
    return (
        f"has been down since {time_of_day(record.since)}: {trouble}; it serves again {serves}; "
        "`partitioner check --connect` says what is wrong with it"
    )


def _why_recovering(situation: Situation, name: str, time_of_day: Callable[[float], str]) -> str:
    copied, until = situation.copied_from, time_of_day(situation.member.record.doubted_until)
    why = "it may have missed changes" if copied is None else f"it began as a copy of {copied}"
    return (
        f"is recovering: it is written to and not read, because {why}, until {until} at the latest"
        f"{_sooner(situation)}; `partitioner ready {name} --force` has it read at once, if you know that "
        "it has missed nothing"
    )


def _sooner(situation: Situation) -> str:
    if situation.member.backend.admin is None:
        return " (it has no `admin` address, so healing cannot look at what it holds)"
    if situation.not_healed is not None:
        return f" (healing cannot look at what it holds: {situation.not_healed})"
    return ", or as soon as healing has been through"
