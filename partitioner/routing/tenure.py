"""Which router is the active one, as this router sees it: claims, and being superseded (design.md 5.3).

    STANDBY --- a client, and nothing speaks against it; or a verb ---> CLAIMING ---> ACTIVE
       ^                                                                                 |
       +------------------------- a higher term was seen --------------------------------+

A claim writes its term to every server that answers, and then reads the records: so a record that is
acknowledged after it was read has been refused before, because a router that writes one reads the term again.
The newest record says what this router begins with (routing.succession). Only then is anything else sent.
"""

from collections.abc import Mapping
from dataclasses import replace

import trio

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.inheritance import Inheritance
from partitioner.membership.items import Term
from partitioner.membership.ledger import Ledger
from partitioner.membership.legacy import Legacy, restore_ledger
from partitioner.membership.quarantine import Quarantine
from partitioner.membership.record import Record
from partitioner.membership.survey import Survey
from partitioner.membership.tenure import Role, Sightings, next_term
from partitioner.protocol.messages import Operation
from partitioner.routing.drain import ListKeys
from partitioner.routing.probes import Probing
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.roster import Roster
from partitioner.routing.succession import Disk, Succession, TenurePolicy
from partitioner.routing.surveyor import Surveyor
from partitioner.transport.connector import Connector
from partitioner.transport.observer import Observer

MOST_TRIES = 5
"""Claims in a row that may be cut short by a standstill. A machine on which that happens is of no use."""


class Tenure:
    """Claims, watches, and ends."""

    def __init__(
        self,
        policy: TenurePolicy,
        connector: Connector,
        roster: Roster,
        ledger: Ledger,
        keeper: RecordKeeper,
        probing: Probing,
        disk: Disk | None,
        observer: Observer,
        list_keys: ListKeys | None = None,
    ) -> None:
        """`probing` probes the servers of `roster`; `list_keys` asks those of our own what they hold."""
        authority = connector.authority
        assert authority is not None  # or there would be nothing to claim
        self.policy = policy
        self.authority = authority
        self.quarantine: Quarantine | None = None  # since a claim without marks and locks
        self._connector = connector
        self._roster = roster
        self._ledger = ledger
        self._keeper = keeper
        self._probing = probing
        self._observer = observer
        self._surveyor = Surveyor(connector, authority, roster, policy.farm, policy.wall_clock, observer)
        self._succession = Succession(policy, roster, self._surveyor, keeper, disk, list_keys)
        self._sightings = Sightings(trio.current_time())
        self.since = trio.current_time()  # when this router became, or ceased to be, the active one
        self.failures: Mapping[BackendId, str] = {}  # why servers did not answer the last look, by identity
        self._is_active_router_seen: bool | None = None  # as it was reported
        self._one_at_a_time = trio.Lock()
        self._one_look_at_a_time = trio.Lock()
        self._has_changed = trio.Event()
        authority.listeners.append(self._superseded)

    def __repr__(self) -> str:
        return f"<Tenure of {self.policy.farm!r}, {self.authority!r}>"

    @property
    def is_active(self) -> bool:
        return self.authority.is_active

    @property
    def servers_seen(self) -> int:
        """How many servers answered this router, while it is a standby, when it looked last."""
        return sum(member.record.is_up for member in self._roster.pool.members.values())

    @property
    def watched_for(self) -> float:
        """Seconds for which this router, while it is a standby, has watched the beats of the active one."""
        return trio.current_time() - self._sightings.began_at

    async def wait_for_change(self) -> None:
        """Wait until this router becomes, or ceases to be, the active one."""
        await self._has_changed.wait()

    # --- being active ---

    async def ensure_active(self, target: bytes, operation: Operation, deadline: float) -> None:
        """Return when this router may serve this request of a client.

        Raises NoBackendLeft where it may not: the client's connection is closed. A HEAD of what is not a
        session of an application is a health check, and makes no router active (design.md 5.3).
        """
        is_health_check = operation is Operation.RESET_TIMEOUT and b")/" not in target
        if not is_health_check:
            self.authority.beats.is_used = True
        if self.is_active:
            if self._roster.is_cut_off:
                raise NoBackendLeft(
                    "fewer than half of the servers answer; another router may have the others"
                )
            return
        if is_health_check:
            raise NoBackendLeft("this router is a standby")
        with trio.move_on_at(deadline):
            if self.authority.role is Role.STANDBY:
                await self._see_something()
            if self.authority.role is Role.STANDBY and (reason := self.why_not_claim()) is not None:
                raise NoBackendLeft(reason)
            await self.claim("a client has come")
        if not self.is_active:
            raise NoBackendLeft("this router has not become the active one in time")

    def maybe_quarantine(self) -> Quarantine | None:
        """The quarantine that this router's claim has begun, while it lasts."""
        if self.quarantine is not None and self.quarantine.is_over(trio.current_time()):
            self.quarantine = None
        return self.quarantine

    def why_not_claim(self) -> str | None:
        """Why a client does not make this router the active one; None: it does."""
        return self._sightings.why_not_claim(trio.current_time())

    def _superseded(self, term: Term) -> None:
        """Another router has claimed: what this one knows is out of date from now on."""
        self._sightings = Sightings(trio.current_time())
        self._is_active_router_seen = True  # it is the one that has claimed
        self._keeper.end()
        self._roster.stand_by()
        self._ledger.clear()
        self.quarantine = None
        self._observer.superseded(str(term))
        self._tell()

    async def stand_by(self) -> None:
        """Watch the beats of the active router, for as long as this one is not."""
        while not self.is_active:
            await self._watch()
            with trio.move_on_after(self._roster.policy.interval):
                await self.wait_for_change()

    async def _see_something(self) -> None:
        """Look, if nothing has been seen yet: who was superseded just now does not know by whom."""
        async with self._one_look_at_a_time:
            if not len(self._sightings) and not self.is_active:
                await self._watch()

    async def _watch(self) -> None:
        """Look at all servers once, as a standby."""
        survey = await self._surveyor.survey()
        self._note_sightings(survey)
        self.failures = survey.failures
        if self.authority.role is Role.STANDBY:  # and has not begun to claim meanwhile
            self._report_active_router()
            self._roster.note_seen(survey.canaries)

    def _note_sightings(self, survey: Survey) -> None:
        for identity in self._roster.pool.members:
            canary = survey.canaries.get(identity)
            if canary is not None:
                self._sightings.note(identity, canary, trio.current_time())
            elif survey.terms:  # others can be asked, so it is not this router's own trouble
                self._sightings.forget(identity)

    def _report_active_router(self) -> None:
        """Report once that another router is active, and once that there is none."""
        is_seen = self._sightings.is_active_router_seen(trio.current_time())
        if is_seen is None or is_seen is self._is_active_router_seen:
            return
        self._is_active_router_seen = is_seen
        if is_seen:
            self._observer.active_router_seen()
        else:
            self._observer.active_router_lost()

    async def look_after_standstills(self) -> None:
        """After each standstill ask all servers whose term they have, before anything is sent to one.

        Source: design.md 5.4.
        """
        authority = self.authority
        while True:
            await authority.has_doubts.wait()
            authority.has_doubts = trio.Event()  # it is set again if this router stands still meanwhile
            survey = await self._surveyor.survey()
            ours, highest = authority.term, max(survey.found, default=None)
            if ours is not None and highest is not None and highest > ours.term:
                authority.supersede(highest)
            if not authority.has_doubts.is_set():
                authority.dispel_doubts()

    # --- claiming ---

    async def start(self) -> None:
        """Look at all servers, and claim at once where no other router can be active.

        That is so where no router was there before, or where the last one was that of our own disk.
        """
        survey = await self._surveyor.survey(records_of=())
        self._note_sightings(survey)
        self.failures = survey.failures
        ours = self._succession.record_on_disk()
        newest = max((each.order[0] for each in survey.records_of_this_farm(ours)), default=None)
        is_ours = ours is not None and not any(term > ours.order[0] for term in survey.found)
        if is_ours or (not survey.found and newest is None and survey.terms):
            await self._try_to_claim(
                "it is the only router of this farm so far" if ours is None else "restart"
            )
        if self.authority.role is Role.STANDBY:
            self._roster.note_seen(survey.canaries)

    async def _try_to_claim(self, cause: str) -> None:
        try:
            await self.claim(cause)
        except NoBackendLeft as failure:
            self._observer.claim_failed(str(failure))

    async def claim(self, cause: str) -> None:
        """Become the active router, even if another one is active now.

        A claim in which this process stands still begins anew: another router may have claimed meanwhile, and
        what was read before is out of date.

        Raises NoBackendLeft where no server takes the claim, no record can be believed, another router
        claims meanwhile, or this process stands still in MOST_TRIES claims, one after the other.
        """
        async with self._one_at_a_time:
            for _ in range(MOST_TRIES):
                if self.is_active:
                    return
                with self._connector.standstills.guard():
                    await self._claim_or_resign(cause)
            if not self.is_active:
                raise NoBackendLeft("this router stood still whenever it claimed")

    async def _claim_or_resign(self, cause: str) -> None:
        try:
            await self._claim(cause)
        except BaseException:
            self.authority.resign()
            self._keeper.end()
            raise

    async def _claim(self, cause: str) -> None:
        began_at = trio.current_time()
        survey = await self._surveyor.survey(records_of=())
        ours = self._succession.record_on_disk()
        recorded = {each.order[0] for each in survey.records_of_this_farm(ours)}
        item = next_term(survey.found | recorded, recorded, self.policy.draw_word())
        self.authority.claim(item)
        survey, record = await self._succession.find_record(item, ours, self.policy.lost_after)
        now = trio.current_time()
        legacy = self._succession.left_by(record)
        read_by = FarmClock(survey.newest_beat or (0 if record is None else record.written_at), now)
        written_by = FarmClock(max(round(self.policy.wall_clock() * 1000), survey.newest_beat + 1), now)
        inheritance = self._succession.inherit(record, survey, read_by, is_clean=legacy is not None)
        if record is not None and not (record is ours or survey.shows_latest(record)):
            inheritance = survey.doubting_the_late(inheritance, record, now)
            inheritance = replace(inheritance, pool=replace(inheritance.pool, known_since=now))
        beats = survey.known_beats(record)
        first = self._succession.first_record(record, item.term)
        self._keeper.begin(first, written_by, inheritance.dirty, beats)
        self._report_other_farms(record, survey)
        is_by_another_router = record is not None and (ours is None or record.order[0] != ours.order[0])
        self._roster.needs_majority_until = (
            now + inheritance.longest_life if is_by_another_router else float("-inf")
        )
        knows_locks = record is None or legacy is not None
        await self._begin(inheritance, legacy, knows_locks=knows_locks)
        if record is None and await self._succession.is_known_to_be_empty():
            self._roster.note_empty()
        is_written = await self._keeper.write()
        await trio.lowlevel.checkpoint_if_cancelled()  # it may have stood still since the last wait
        if self.authority.term is not item:
            raise NoBackendLeft("another router has claimed meanwhile")
        if not is_written:
            raise NoBackendLeft("the record of this claim could not be written")
        self.quarantine = None if knows_locks or record is None else Quarantine(record, read_by, now)
        self._roster.begin_to_serve()
        self.authority.role = Role.ACTIVE
        self._observer.claimed(str(item.term), cause, trio.current_time() - began_at)
        self._tell()

    def _report_other_farms(self, record: Record | None, survey: Survey) -> None:
        """Servers that another farm of this name has used: what is not this farm's is in doubt there."""
        for identity, found in survey.records.items():
            if record is not None and found.lineage != record.lineage:
                self._observer.other_farm_seen(self._roster.pool.members[identity].backend)

    async def _begin(self, inheritance: Inheritance, legacy: Legacy | None, *, knows_locks: bool) -> None:
        """Begin with what was left, and see how the servers are."""
        self._ledger.clear()
        if inheritance.longest_life:
            self._ledger.note_longest_life(inheritance.longest_life)
        if legacy is not None:
            restore_ledger(self._ledger, legacy, trio.current_time())
        self._roster.start_over(inheritance, knows_locks=knows_locks)
        await self._probing.first_look()

    # --- stopping ---

    async def stop(self) -> tuple[Term, int] | None:
        """Write down that the active router stops in order; return which record says so."""
        if not self.is_active or not await self._keeper.write(has_stopped=True):
            return None
        await self._probing.last_beat()
        return None if self._keeper.record is None else self._keeper.record.order

    def _tell(self) -> None:
        self.since = trio.current_time()
        changed, self._has_changed = self._has_changed, trio.Event()
        changed.set()
