"""What is true of a session, given what was sent and acknowledged."""

import pytest

from partitioner.bench.content import Damage, Stamp
from partitioner.bench.findings import Finding, Kind
from partitioner.bench.ledger import Record
from tests.tables import each_case

SESSION = 7
ANN, BEN = 1, 2  # workers


def new_record() -> Record:
    """A session that was created with version 1."""
    record = Record(SESSION)
    assert record.maybe_begin_creation() == 1
    record.end_creation(is_acknowledged=True)
    return record


def acquire(record: Record, worker: int, version: int) -> Finding | None:
    """Be granted the lock with this version, at once."""
    return record.take_lock(worker, version, record.expect())


def save(record: Record, worker: int) -> int:
    """Save and be answered 200, at once."""
    expectation = record.expect()
    version = record.begin_save(worker)
    record.note_saved(version, expectation)
    return version


def kind_of(finding: Finding | None) -> Kind | None:
    return None if finding is None else finding.kind


@each_case(
    ("seen", "kind"),
    [
        (Stamp(SESSION, 3), None),
        (Stamp(SESSION, 2), Kind.STALE),
        (Stamp(SESSION, 1), Kind.STALE),
        (Stamp(SESSION, 4), Kind.WRONG),
        (Stamp(SESSION + 1, 3), Kind.WRONG),
        (Damage("a damaged body"), Kind.WRONG),
    ],
)
def test_only_the_last_acknowledged_save_is_true(seen: Stamp | Damage, kind: Kind | None) -> None:
    """After acknowledged saves, nothing but the last one may be read."""
    record = new_record()
    save(record, ANN)
    save(record, ANN)

    assert kind == kind_of(record.judge_content(seen, record.expect()))


def test_what_was_true_when_asked_is_true() -> None:
    """A read that was sent before a save was acknowledged may answer what was there before."""
    record = new_record()
    asked = record.expect()
    save(record, ANN)

    assert record.judge_content(Stamp(SESSION, 1), asked) is None


@pytest.mark.parametrize("version", [1, 2])
def test_after_an_unanswered_save_both_contents_are_true(version: int) -> None:
    """A save whose answer never came may have happened or not."""
    record = new_record()
    acquire(record, ANN, 1)
    record.note_unsaved(record.begin_save(ANN))

    assert record.judge_content(Stamp(SESSION, version), record.expect()) is None
    assert acquire(record, BEN, version) is None


@pytest.mark.parametrize("version", [1, 2])
def test_the_next_acknowledged_save_ends_that(version: int) -> None:
    """From the next acknowledged save on, neither the old content nor the unanswered one is true."""
    record = new_record()
    record.note_unsaved(record.begin_save(ANN))
    save(record, BEN)

    assert kind_of(record.judge_content(Stamp(SESSION, version), record.expect())) is Kind.STALE


def test_a_stored_session_that_is_not_found_is_lost_once() -> None:
    """Of several who do not find a session, one finds the loss."""
    record = new_record()
    asked = [record.expect(), record.expect()]

    assert [Kind.LOST, None] == [kind_of(record.judge_absence(each)) for each in asked]


def test_a_session_that_was_never_acknowledged_cannot_be_lost() -> None:
    """A session whose creation went unanswered may be absent."""
    record = Record(SESSION)
    record.maybe_begin_creation()
    record.end_creation(is_acknowledged=False)

    assert record.judge_absence(record.expect()) is None


def test_a_lost_session_is_created_by_one_worker() -> None:
    """While one worker creates a session anew nobody else does; if that fails, the next one may."""
    record = new_record()
    record.judge_absence(record.expect())

    assert [2, None] == [record.maybe_begin_creation(), record.maybe_begin_creation()]

    record.end_creation(is_acknowledged=False)

    assert record.maybe_begin_creation() == 3


def test_a_session_can_be_lost_again() -> None:
    """Once it is created anew, its absence is another loss."""
    record = new_record()
    record.judge_absence(record.expect())
    record.maybe_begin_creation()
    record.end_creation(is_acknowledged=True)

    assert kind_of(record.judge_absence(record.expect())) is Kind.LOST


def test_a_save_from_before_the_loss_may_come_late() -> None:
    """A save that was under way at a loss may be carried out after newer ones; that is no second fault."""
    record = new_record()
    asked = record.expect()
    late = record.begin_save(ANN)
    record.judge_absence(record.expect())
    save(record, BEN)
    record.note_saved(late, asked)

    assert record.judge_content(Stamp(SESSION, late), record.expect()) is None


def test_holders_one_after_the_other_are_fine() -> None:
    """Whoever lets go before the next is granted the lock is no second holder."""
    record = new_record()
    findings = [acquire(record, ANN, 1)]
    record.let_go(ANN)
    findings.append(acquire(record, BEN, 1))
    save(record, BEN)
    findings.append(acquire(record, ANN, 2))

    assert [None, None, None] == findings


def test_a_second_holder_is_found() -> None:
    """Two workers that hold the lock at once are found when the second is granted it."""
    record = new_record()
    acquire(record, ANN, 1)

    assert kind_of(acquire(record, BEN, 1)) is Kind.DOUBLE_HOLDER


@pytest.mark.parametrize(("version", "kind"), [(1, Kind.DOUBLE_HOLDER), (2, None)])
def test_a_second_holder_is_found_by_the_save_it_misses(version: int, kind: Kind | None) -> None:
    """Who was granted the lock while a save under it was under way must have seen what was acknowledged."""
    record = new_record()
    acquire(record, ANN, 1)
    expectation = record.expect()
    saved = record.begin_save(ANN)
    at_once = acquire(record, BEN, version)

    assert (None, kind) == (at_once, kind_of(record.note_saved(saved, expectation)))


def test_a_second_holder_is_found_by_the_save_it_refuses() -> None:
    """A save under a lock that was never broken is refused only if somebody else was granted the lock."""
    record = new_record()
    acquire(record, ANN, 1)
    saved = record.begin_save(ANN)
    acquire(record, BEN, 1)

    assert kind_of(record.note_refused(saved)) is Kind.DOUBLE_HOLDER


def test_the_holder_after_a_save_that_was_given_up_is_no_second_one() -> None:
    """The next grant may be heard of before the end of the save, whose page has failed and holds nothing."""
    record = new_record()
    acquire(record, ANN, 1)
    saved = record.begin_save(ANN)
    findings = [acquire(record, BEN, 1)]
    record.note_unsaved(saved)
    findings.append(record.note_saved(record.begin_save(BEN), record.expect()))

    assert [None, None] == findings


def test_a_second_holder_is_found_after_the_save_too() -> None:
    """An acquire sent before a save was acknowledged, and answered after that, must show the save."""
    record = new_record()
    asked = record.expect()
    acquire(record, ANN, 1)
    save(record, ANN)

    finding = record.take_lock(BEN, 1, asked)
    assert kind_of(finding) is Kind.DOUBLE_HOLDER


def test_a_broken_lock_has_no_holder() -> None:
    """Whoever is granted a lock that was broken for its age is the only holder."""
    record = new_record()
    acquire(record, ANN, 1)
    record.note_broken_lock()

    assert acquire(record, BEN, 1) is None


def test_a_finding_says_what_was_seen_and_expected() -> None:
    """A finding names the session by its number, what was seen, and what was expected."""
    record = new_record()
    save(record, ANN)

    finding = record.judge_content(Stamp(SESSION, 1), record.expect())
    assert str(finding) == "stale: session 7: got version 1; expected 2 or newer"
