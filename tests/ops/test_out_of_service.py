"""Why a server does not serve, until when, and the command that helps, in one sentence."""

from dataclasses import replace

from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import Health, HealthPolicy, Symptom, newcomer
from partitioner.membership.pool import Member
from partitioner.ops.out_of_service import Situation, why_out
from partitioner.routing.drain import Drain
from tests.tables import each_case

NOW = 1000.0
T_MAX = 3600.0


def situation(
    health: Health = Health.UP,
    *,
    intent: Intent = Intent.READY,
    admin: bool = True,
    removed_at: float | None = None,
    drain: Drain | None = None,
    is_full: bool = False,
    copied_from: str | None = None,
    not_healed: str | None = None,
    trouble: str | None = None,
    symptom: Symptom | None = None,
    held_until: float = 0.0,
    doubted_until: float = 0.0,
) -> Situation:
    address = Address("10.0.0.2", 42424)
    backend = Backend("state-2", address, intent=intent, admin=address if admin else None)
    record = replace(
        newcomer(HealthPolicy()),
        health=health,
        since=900.0,
        symptom=symptom,
        held_until=held_until,
        doubted_until=doubted_until,
    )
    return Situation(Member(backend, record, removed_at), trouble, drain, is_full, copied_from, not_healed)


def drain(*, is_done: bool = False) -> Drain:
    return Drain(500.0, 10, 5, 1.0, 5.0, is_done, None)


FORCE = "; `partitioner ready state-2 --force` has it read at once, if you know that it has missed nothing"
NOT_READ = "is recovering: it is written to and not read, because"
WRITTEN = f"{NOT_READ} it may have missed changes, until 4000 at the latest"
CHECK = "`partitioner check --connect` says what is wrong with it"
READY = "`partitioner ready state-2` has it serve again"

CASES = {
    "well": (situation(), None),
    "full": (
        situation(is_full=True),
        "is full: other servers take its new sessions until it has room again; give it more memory "
        "(--max-memory) or a smaller weight",
    ),
    "down": (
        situation(Health.DOWN, trouble="refused"),
        f"has been down since 900: refused; it serves again as soon as it answers; {CHECK}",
    ),
    "held down": (
        situation(Health.DOWN, trouble="timed out", held_until=1200.0),
        f"has been down since 900: timed out; it serves again when it answers, not before 1200; {CHECK}",
    ),
    "entered twice": (
        situation(Health.DOWN, symptom=Symptom.ALIAS, trouble="is the same server as state-1 (10.0.0.1:1)"),
        "does not serve: it is the same server as state-1 (10.0.0.1:1); correct its address or remove it "
        "from the configuration, then `partitioner reload`",
    ),
    "unknown": (
        situation(Health.UNKNOWN),
        "is not known yet: it is being looked at, and serves within seconds if it answers",
    ),
    "recovering": (
        situation(Health.RECOVERING, doubted_until=4000.0),
        f"{WRITTEN}, or as soon as healing has been through{FORCE}",
    ),
    "recovering, a stock server": (
        situation(Health.RECOVERING, admin=False, doubted_until=4000.0),
        f"{WRITTEN} (it has no `admin` address, so healing cannot look at what it holds){FORCE}",
    ),
    "recovering, not listed": (
        situation(Health.RECOVERING, not_healed="it is out of order", doubted_until=4000.0),
        f"{WRITTEN} (healing cannot look at what it holds: it is out of order){FORCE}",
    ),
    "copied": (
        situation(Health.RECOVERING, copied_from="state-1", doubted_until=4000.0),
        f"{NOT_READ} it began as a copy of state-1, until 4000 at the latest, or as soon as healing has been "
        f"through{FORCE}",
    ),
    "maint": (
        situation(Health.DOWN, intent=Intent.MAINT),
        "is in maint: nothing is asked of it until `partitioner ready state-2`",
    ),
    "drains": (
        situation(intent=Intent.DRAIN, drain=drain()),
        f"is being drained: it takes no new sessions, and is done by 4100 at the latest; {READY}",
    ),
    "drained": (
        situation(intent=Intent.DRAIN, drain=drain(is_done=True)),
        f"is drained: it holds nothing any more and may be stopped; {READY}",
    ),
    "away and to be drained": (
        situation(Health.DOWN, intent=Intent.DRAIN),
        f"is to be drained, which begins when it answers: it takes no new sessions; {READY}",
    ),
    "just told to drain": (
        situation(intent=Intent.DRAIN),
        f"is to be drained, which begins at once: it takes no new sessions; {READY}",
    ),
    "removed": (
        situation(removed_at=700.0),
        "was removed from the configuration: it is asked for what it holds until 4300 at the latest; "
        "`partitioner status --safe-to-stop state-2` says when it may be stopped",
    ),
}


@each_case(("seen", "expected"), CASES.values(), ids=list(CASES))
def test_why_it_does_not_serve(seen: Situation, expected: str | None) -> None:
    """Cause, time of day and command."""
    assert expected == why_out(seen, NOW, T_MAX, lambda moment: f"{moment:g}")
