"""When what a silent server holds is lost, and whether there was anything (design.md 7.4)."""

from dataclasses import replace

from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.health import Health, HealthRecord, Symptom
from partitioner.membership.losses import LossReason, lay_only_on, main_reason, maybe_loss
from partitioner.membership.pool import Member, Pool, ranking_of
from tests.identities import A, B, identities
from tests.tables import each_case

AFTER = 60.0
DOWN_AT = 1000.0
KEY = b"key"
UP = HealthRecord(health=Health.UP, since=0.0, incarnation=b"1")
DOWN = HealthRecord(health=Health.DOWN, since=DOWN_AT, symptom=Symptom.REFUSED)
UNKNOWN = HealthRecord()


def member(name: str, record: HealthRecord, intent: Intent = Intent.READY) -> Member:
    return Member(Backend(name, Address("10.0.0.1", 42424), intent=intent), record)


# --- when ---

# The health, its symptom, the intent; why a session is lost at once, and why after `lost_after`.
REASONS = [
    (Health.UP, None, Intent.READY, None, None),
    (Health.UP, Symptom.TIMED_OUT, Intent.READY, None, None),
    (Health.UNKNOWN, Symptom.REFUSED, Intent.READY, None, None),
    (Health.DOWN, None, Intent.READY, None, None),
    (Health.DOWN, Symptom.REFUSED, Intent.READY, LossReason.DIED, LossReason.DIED),
    (Health.DOWN, Symptom.BROKEN, Intent.READY, LossReason.DIED, LossReason.DIED),
    (Health.DOWN, Symptom.RESTARTED, Intent.DRAIN, LossReason.DIED, LossReason.DIED),
    (Health.DOWN, Symptom.TIMED_OUT, Intent.READY, None, LossReason.TIMED_OUT),
    (Health.DOWN, Symptom.UNREACHABLE, Intent.DRAIN, None, LossReason.TIMED_OUT),
    (Health.RECOVERING, None, Intent.READY, LossReason.RECOVERING, LossReason.RECOVERING),
    (Health.UP, None, Intent.MAINT, LossReason.MAINTENANCE, LossReason.MAINTENANCE),
    (Health.DOWN, Symptom.TIMED_OUT, Intent.MAINT, LossReason.MAINTENANCE, LossReason.MAINTENANCE),
]


@each_case(("health", "symptom", "intent", "at_once", "later"), REASONS)
def test_when_a_session_is_lost(
    health: Health,
    symptom: Symptom | None,
    intent: Intent,
    at_once: LossReason | None,
    later: LossReason | None,
) -> None:
    """What may be the network is waited for; proof counts at once, and so does the operator's word."""
    there = member("a", HealthRecord(health=health, since=DOWN_AT, symptom=symptom), intent)

    assert at_once is maybe_loss(there, DOWN_AT + AFTER - 0.001, AFTER)
    assert later is maybe_loss(there, DOWN_AT + AFTER, AFTER)


def test_a_server_that_was_forgotten_is_given_up() -> None:
    """It was removed, and stayed away for long: it is not waited for."""
    assert maybe_loss(None, DOWN_AT, AFTER) is LossReason.REMOVED


def test_the_reason_that_leaves_most_hope_counts() -> None:
    """Of several silent servers the one that may come back says what became of the session."""
    assert main_reason([LossReason.DIED, LossReason.TIMED_OUT]) is LossReason.TIMED_OUT
    assert main_reason([LossReason.DIED, LossReason.MAINTENANCE]) is LossReason.MAINTENANCE


# --- whether there was a session ---


def pool(copies: int, **records: HealthRecord) -> Pool:
    members = {BackendId(name): member(name, record) for name, record in records.items()}
    return Pool(0, members, ranking_of(members.values()), copies, 0.0)


def followed_by(before: Pool, now: float, **records: HealthRecord) -> Pool:
    """The pool after its servers have got these records, one after the other."""
    for name, record in records.items():
        before = before.with_record(BackendId(name), record, now)
    return before


NAMES = identities(pool(1, a=UP, b=UP, c=UP).ranking.preference_list(KEY))
FIRST, SECOND, THIRD = NAMES


def test_a_session_with_one_copy_lay_on_its_server() -> None:
    """A server that was the only one to hold a key may have had its session."""
    there = followed_by(pool(1, a=UP, b=UP, c=UP), 10.0, **{FIRST: DOWN})

    assert lay_only_on([FIRST], KEY, there)
    assert not lay_only_on([SECOND], KEY, there)


def test_a_session_with_two_copies_lay_on_both() -> None:
    """While one of its servers is asked, and does not have it, there was none."""
    there = followed_by(pool(2, a=UP, b=UP, c=UP), 10.0, **{FIRST: DOWN})

    assert not lay_only_on([FIRST], KEY, there)
    assert lay_only_on([FIRST, SECOND], KEY, followed_by(there, 20.0, **{SECOND: DOWN}))


def test_a_session_of_thin_times_lay_on_what_was_left() -> None:
    """With fewer servers than copies the last one held everything alone."""
    there = followed_by(pool(2, a=UP, b=UP), 10.0, a=DOWN)
    there = followed_by(there, 20.0, b=DOWN)
    there = followed_by(there, 30.0, a=replace(UP, incarnation=b"2"))

    assert lay_only_on([B], KEY, there)


def test_the_first_server_to_answer_did_not_hold_everything() -> None:
    """At the router's start servers of which nothing is known keep their places (design.md 5)."""
    there = followed_by(pool(2, a=UNKNOWN, b=UNKNOWN, c=UNKNOWN), 0.1, **{FIRST: UP})
    there = followed_by(there, 0.2, **{SECOND: UP, THIRD: UP})
    there = followed_by(there, 10.0, **{FIRST: DOWN})

    assert not lay_only_on([FIRST], KEY, there)


def test_a_pool_without_a_past_holds_nothing() -> None:
    """Where no era says who served, nothing says that there was a session."""
    assert not lay_only_on([A], KEY, pool(1, a=DOWN, b=UP))
