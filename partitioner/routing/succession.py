"""What the router before this one has left: its record, its locks and marks, and what follows from them.

The newest record that can be believed says what a claim begins with (design.md 5.3).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Protocol

import trio

from partitioner.errors import ListingFailed, NoBackendLeft
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.inheritance import Inheritance, inherit
from partitioner.membership.items import Term, TermItem
from partitioner.membership.legacy import Legacy
from partitioner.membership.record import Record
from partitioner.membership.survey import Survey, order_of
from partitioner.routing.drain import ListKeys
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.roster import Roster
from partitioner.routing.surveyor import CLAIM_TIMEOUT, Surveyor

RETRY_PAUSE = 0.5
"""Seconds until a retry, where no record is current."""


class Disk(Protocol):
    """The state directory."""

    async def save(self, written: bytes) -> None:
        """Have this record stand there. Raises FileUnusable."""

    def record(self) -> bytes | None:
        """The record that stands there."""

    def ledger(self) -> Legacy | None:
        """The locks and marks of a router that stopped in order."""


@dataclass(frozen=True, slots=True)
class TenurePolicy:
    """How a router claims. Times are seconds."""

    farm: str
    lost_after: float = 60.0  # for how long a current record is waited for
    wall_clock: Callable[[], float] = time.time  # seconds since 1970
    draw_word: Callable[[], str] = lambda: token_hex(4)  # that no other router draws


class Succession:
    """Finds what was left, for a claim."""

    def __init__(
        self,
        policy: TenurePolicy,
        roster: Roster,
        surveyor: Surveyor,
        keeper: RecordKeeper,
        disk: Disk | None,
        list_keys: ListKeys | None,
    ) -> None:
        """`list_keys` asks state servers of our own what they hold."""
        self._policy = policy
        self._roster = roster
        self._surveyor = surveyor
        self._keeper = keeper
        self._disk = disk
        self._list_keys = list_keys
        # The record that is not known to be current, and since when that is waited for. Clients give up
        # sooner, and the claims that they made end with them.
        self._waited_since: tuple[tuple[Term, int], float] | None = None

    async def find_record(
        self, item: TermItem, ours: Record | None, patience: float
    ) -> tuple[Survey, Record | None]:
        """Write our term everywhere, then read the records; retry until one of them is current.

        After `patience` seconds the newest one has to do.

        Raises NoBackendLeft if no server takes the term.
        """
        while True:
            survey = await self._surveyor.survey(records_of=item.earlier, claims=True)
            if not survey.terms:
                raise NoBackendLeft("no server took the claim of this router")
            record = max(survey.records_of_this_farm(ours), key=order_of, default=None)
            is_ours = record is not None and record is ours
            if is_ours or self._can_be_no_later_one(record, survey, item):
                return survey, record
            if self._waited_since is None or self._waited_since[0] != order_of(record):
                self._waited_since = order_of(record), trio.current_time()
            if trio.current_time() >= self._waited_since[1] + patience:
                return survey, record
            await trio.sleep(RETRY_PAUSE)

    def _can_be_no_later_one(self, record: Record | None, survey: Survey, item: TermItem) -> bool:
        """Whether this is what the router before has left; None: nothing, or all have lost it."""
        if record is not None:
            return survey.shows_latest(record)
        asked = (each.backend for each in self._roster.pool.members.values())
        is_first = item.term.number == 1  # no term was found
        return is_first or all(
            each.intent is Intent.MAINT or each.address in survey.addresses for each in asked
        )

    def left_by(self, record: Record | None) -> Legacy | None:
        """The marks and locks that the router before this one has left here when it stopped in order."""
        legacy = None if self._disk is None else self._disk.ledger()
        if legacy is None or record is None or not record.has_stopped or legacy.order != record.order:
            return None
        return legacy

    def inherit(
        self, record: Record | None, survey: Survey, clock: FarmClock, *, is_clean: bool
    ) -> Inheritance:
        pool = self._roster.configured_pool()
        if record is None:
            before = self._roster.pool
            return Inheritance(replace(pool, changed_at=before.changed_at, known_since=before.known_since))
        now, policy = trio.current_time(), self._roster.policy
        inheritance = inherit(record, pool, policy, now, clock, is_clean=is_clean)
        until = now + record.longest_life
        return replace(
            inheritance, departed=inheritance.departed | dict.fromkeys(survey.gone_back(record), until)
        )

    def first_record(self, former: Record | None, term: Term) -> Record:
        """The record before the first one of this claim."""
        if former is not None:
            return replace(former, term=term.number, word=term.word, serial=0, has_stopped=False)
        lineage = self._policy.draw_word()
        return Record(self._policy.farm, lineage, term.number, term.word, 0, 0, 0.0, ())

    def record_on_disk(self) -> Record | None:
        return None if self._disk is None else self._surveyor.maybe_record(self._disk.record(), "state_dir")

    async def is_known_to_be_empty(self) -> bool:
        """Whether no server held anything when this router came to it, as at the first start of a farm.

        That is so where this router has planted all canaries, and all servers tell that they hold nothing.
        """
        members = [each for each in self._roster.pool.members.values() if each.removed_at is None]
        if not all(self._keeper.has_planted(each.incarnation) for each in members):
            return False
        found: list[bool] = []

        async def look(backend: Backend) -> None:
            found.append(await self._holds_nothing(backend))

        with trio.move_on_after(CLAIM_TIMEOUT):
            async with trio.open_nursery() as looking:
                for member in members:
                    looking.start_soon(look, member.backend)
        return len(found) == len(members) and all(found)

    async def _holds_nothing(self, backend: Backend) -> bool:
        """Whether the admin port of a server says so; one of another machine speaks for another server."""
        if self._list_keys is None or backend.admin is None or backend.admin.host != backend.address.host:
            return False
        try:
            return (await self._list_keys(backend.admin, None)).sessions == 0
        except ListingFailed:
            return False
