"""Copies, marks, locks, and whether a session exists: rules of design.md 7, each broken on purpose."""

from collections.abc import Callable, Collection, Container, Iterator
from dataclasses import replace
from typing import Any

import trio

from partitioner.errors import BackendEjected, ConnectionBroken, Phase
from partitioner.fastpath import copies, recorder, routes
from partitioner.fastpath.connections import Client
from partitioner.fastpath.recorder import ExchangeRecorder
from partitioner.fastpath.routes import Routes
from partitioner.membership import redundancy
from partitioner.membership.backend import BackendId
from partitioner.membership.entry import Entry, Lock, Mark
from partitioner.membership.eras import Era, UnchangedSince
from partitioner.membership.health import Health
from partitioner.membership.ledger import Ledger
from partitioner.membership.losses import LossReason, maybe_loss
from partitioner.membership.pool import ActingSet, Member, Pool
from partitioner.membership.redundancy import Redundancy
from partitioner.membership.retry import RETRIES, Verdict
from partitioner.membership.wholeness import Holding
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing import healing, inventory, lookup, losses
from partitioner.routing.answering import Answering
from partitioner.routing.dispatch import Dispatcher, RoutedRequest
from partitioner.routing.expiry_sync import ExpirySync
from partitioner.routing.healing import Healing
from partitioner.routing.internal_requests import BackendReply, remove
from partitioner.routing.inventory import Found
from partitioner.routing.key_gate import KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper, RepairQueue
from partitioner.routing.lookup import Lookup
from partitioner.routing.losses import Losses
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.relocation import HandedOver, Relocator
from partitioner.routing.repair import Repairer
from partitioner.routing.replication import Replicator, Write
from partitioner.routing.roster import Roster
from partitioner.routing.router import Router
from partitioner.routing.session_healing import SessionHealer
from partitioner.routing.undelivered_locks import UndeliveredLocks
from partitioner.routing.withdrawal import WithdrawalGuard
from partitioner.sessions.table import Listed
from partitioner.transport import channel
from partitioner.transport.backend_connections import Upstream
from partitioner.transport.backend_exchange import Lease
from partitioner.transport.half_closed import HalfClosedWatch
from tests.simulation.mutations.breaking import mutation, nothing, nothing_later, replaced, without

# --- copies ---


@mutation
def drop_one_copy() -> Iterator[None]:
    """The last copy of a set is neither written nor marked."""
    original = Replicator._copy

    async def copy(self: Replicator, write: Write, pool: Pool) -> dict[BackendId, Any]:
        if write.operation is Operation.SET:
            return {}
        return await original(self, write, pool)

    return replaced(Replicator, "_copy", copy)


@mutation
def a_full_server_turns_users_away() -> Iterator[None]:
    """Its 400 is relayed, although another server has room."""

    async def take(self: Answering, routed: RoutedRequest, reply: Any) -> Any:
        return reply

    return replaced(Answering, "_take_to_one_with_room", take)


@mutation
def creates_not_copied() -> Iterator[None]:
    original = Replicator._copy

    async def copy(self: Replicator, write: Write, pool: Pool) -> dict[BackendId, Any]:
        if write.operation is Operation.CREATE_UNINITIALIZED:
            return {}
        return await original(self, write, pool)

    return replaced(Replicator, "_copy", copy)


@mutation
def removes_not_copied() -> Iterator[None]:
    original = Replicator._copy

    async def copy(self: Replicator, write: Write, pool: Pool) -> dict[BackendId, Any]:
        if write.operation is Operation.REMOVE:
            return {}
        return await original(self, write, pool)

    return replaced(Replicator, "_copy", copy)


@mutation
def no_removes_elsewhere() -> Iterator[None]:
    """In unsettled times a set leaves what others hold."""

    async def clear_up(*_: Any, **__: Any) -> dict[BackendId, Any]:
        return {}

    return replaced(Replicator, "_clear_up", clear_up)


@mutation
def leave_a_leftover() -> Iterator[None]:
    """A move leaves the session where it was."""
    return replaced(Relocator, "clear", nothing_later)


@mutation
def no_touches() -> Iterator[None]:
    """Nothing keeps copies alive."""
    return replaced(ExpirySync, "note_renewed", nothing)


@mutation
def no_repair() -> Iterator[None]:
    return replaced(RepairQueue, "want", nothing)


# --- marks ---


@mutation
def skip_one_mark() -> Iterator[None]:
    """Who could not be written to is not marked."""
    return replaced(LedgerKeeper, "mark", nothing)


@mutation
def unanswered_requests_leave_no_mark() -> Iterator[None]:
    return replaced(LedgerKeeper, "went_unanswered", nothing)


@mutation
def read_a_marked_server() -> Iterator[None]:
    original = Pool.acting_set
    return replaced(Pool, "acting_set", lambda self, key, marked=(), **given: original(self, key, **given))


@mutation
def end_a_mark_too_early() -> Iterator[None]:
    """Any answered write puts a server right, whatever still lies in its connections."""

    def note_put_right(self: Ledger, key: bytes, server: BackendId, sent_at: float) -> bool:
        self.unmark(key, server)
        return True

    return replaced(Ledger, "note_put_right", note_put_right)


@mutation
def forget_a_copy_that_was_not_touched() -> Iterator[None]:
    """Its mark ends with it, though its session is served from elsewhere."""
    original = Entry.mark_has_expired

    def mark_has_expired(self: Entry, mark: Mark, now: float) -> bool:
        return original(self if mark.is_stale else replace(self, served_at=float("-inf")), mark, now)

    return replaced(Entry, "mark_has_expired", mark_has_expired)


@mutation
def healing_does_not_look_how_long_copies_live() -> Iterator[None]:
    """A server that was written to for a while, and not touched, is read again with copies that end early."""
    return replaced(Holding, "outlives", lambda self, copy: False)


@mutation
def healing_does_not_look_for_locks() -> Iterator[None]:
    """A server that was in doubt is read again with the locks of its old memory."""
    original: Callable[[Listed, float], Holding] = inventory.__dict__["_holding"]

    def holding(listed: Listed, listed_at: float) -> Holding:
        return replace(original(listed, listed_at), is_locked=False)

    return replaced(inventory, "_holding", holding)


@mutation
def copies_count_as_soon_as_their_server_is_not_in_doubt() -> Iterator[None]:
    return replaced(Redundancy, "_note_recovered", nothing)


@mutation
def who_was_in_doubt_had_all_copies_while_too_few_served() -> Iterator[None]:
    """A server that is read again while too few are is taken to have what it was never written."""
    original = redundancy._comes_without_marks

    def comes_without_marks(before: Pool, after: Pool) -> Iterator[bool]:
        return original(before, replace(after, copies=len(after.ready)))

    return replaced(redundancy, "_comes_without_marks", comes_without_marks)


@mutation
def no_half_close() -> Iterator[None]:
    """An unanswered connection is closed at once, and taken for worked off."""

    def keep(self: HalfClosedWatch, lease: Lease, on_end: Callable[[Lease], None]) -> None:
        lease.channel.close()
        on_end(lease)

    return replaced(HalfClosedWatch, "keep", keep)


@mutation
def a_failed_save_leaves_no_mark() -> Iterator[None]:
    """Nothing is noted where the client is closed on a set, release or remove with the lock's cookie."""
    return replaced(Router, "_note_closed", nothing)


# --- the gate and locks ---


@mutation
def no_gate() -> Iterator[None]:
    original = KeyGate.leave

    async def enter(self: KeyGate, key: bytes) -> None:
        pass

    del original
    gate = replaced(KeyGate, "enter", enter)
    next(gate)
    yield from replaced(KeyGate, "leave", nothing)
    for _ in gate:
        pass


@mutation
def retry_an_acquire() -> Iterator[None]:
    """And keep no mark of the first one, which would have the second one go to another server."""
    original = LedgerKeeper.went_unanswered

    def went_unanswered(self: LedgerKeeper, lease: Lease) -> None:
        if lease.request.operation is not Operation.ACQUIRE:
            original(self, lease)

    retry = _retry(Operation.ACQUIRE)
    next(retry)
    yield from replaced(LedgerKeeper, "went_unanswered", went_unanswered)
    for _ in retry:
        pass


@mutation
def retry_a_set() -> Iterator[None]:
    return _retry(Operation.SET)


def _retry(operation: Operation) -> Iterator[None]:
    """Send a request again although the first one may have been carried out."""
    original = RETRIES[operation, Phase.READING]
    RETRIES[operation, Phase.READING] = Verdict.RETRY
    try:
        yield
    finally:
        RETRIES[operation, Phase.READING] = original


@mutation
def forget_a_granted_lock() -> Iterator[None]:
    return replaced(Ledger, "note_lock", nothing)


@mutation
def give_no_lock_back() -> Iterator[None]:
    """A lock whose answer could not be delivered stays."""

    async def give_back(self: UndeliveredLocks, session: Any, lock: Any) -> None:
        self._gate.leave(session.key)

    return replaced(UndeliveredLocks, "_give_back", give_back)


# --- lives and health ---


@mutation
def no_canary_on_new_connections() -> Iterator[None]:
    """A new connection is used whatever it says of its life."""

    async def connect(self: Upstream) -> Any:
        incarnation = self.incarnation
        channel, _ = await self._connector.connect(self.backend, self._policy.connect)
        if self.incarnation == incarnation:
            return channel
        channel.close()
        raise BackendEjected(self.backend.identity, Phase.CONNECTING, "was ejected")

    return replaced(Upstream, "_connect", connect)


@mutation
def read_from_a_recovering_server() -> Iterator[None]:
    """A server in doubt serves like any other."""

    def holds_its_place(self: Member) -> bool:
        return self._is_placed_on and self.record.health is not Health.DOWN

    def is_eligible(self: Member) -> bool:
        return self._is_placed_on and self.record.answers

    place = replaced(Member, "holds_its_place", property(holds_its_place))
    next(place)
    yield from replaced(Member, "is_eligible", property(is_eligible))
    for _ in place:
        pass


@mutation
def relay_what_an_ejected_server_says() -> Iterator[None]:
    return replaced(Lease, "cut", nothing)


# --- whether a session exists ---


@mutation
def answer_404_when_the_owner_is_unreachable() -> Iterator[None]:
    return replaced(Lookup, "_silent", lambda self, missed, holders, told: ())


@mutation
def no_fill_on_miss() -> Iterator[None]:
    """What the acting primary does not have does not exist."""
    return replaced(Ledger, "is_settled", lambda self, key, unchanged, now: True)


@mutation
def any_server_is_trusted() -> Iterator[None]:
    """Any 404 is the truth, however short a time its server has held the key."""
    return replaced(Pool, "has_always_held", lambda self, identity, key, since: True)


@mutation
def give_up_at_once_what_timed_out() -> Iterator[None]:
    """`lost_after` is 0: a switch that is down for a minute costs sessions."""

    def loss(member: Member | None, now: float, lost_after: float) -> LossReason | None:
        return maybe_loss(member, now, 0.0)

    return replaced(losses, "maybe_loss", loss)


@mutation
def any_operation_declares_a_loss() -> Iterator[None]:
    return replaced(losses, "DECLARE_LOSSES", frozenset(Operation))


@mutation
def what_was_declared_lost_is_removed() -> Iterator[None]:
    """On a suspicion: nothing was acknowledged since."""
    return replaced(Ledger, "is_lost", lambda self, key: False)


@mutation
def what_nobody_has_stored_is_lost() -> Iterator[None]:
    """An ID that clients have made up counts as a session, and fills the ledger with marks."""
    return replaced(losses, "lay_only_on", lambda servers, key, pool: True)


@mutation
def a_loss_leaves_no_mark() -> Iterator[None]:
    """A session comes back after its user was told that it does not exist."""
    original = Losses.give_up

    def give_up(self: Losses, *args: Any) -> None:
        with without(LedgerKeeper, "mark", nothing):
            original(self, *args)

    return replaced(Losses, "give_up", give_up)


@mutation
def what_is_stale_is_the_session() -> Iterator[None]:
    """For want of anybody else, a marked server is read whatever it has missed."""
    return replaced(Ledger, "note_saved", nothing)


@mutation
def what_outlived_a_remove_is_the_session() -> Iterator[None]:
    return replaced(Ledger, "note_removed", nothing)


@mutation
def what_the_network_gave_up_is_worked_off() -> Iterator[None]:
    """A connection over which nothing gets through any more counts like one that its server has reset."""
    return replaced(channel, "broken", lambda cause, reason: ConnectionBroken(reason))


@mutation
def any_lock_makes_room_for_another() -> Iterator[None]:
    """At the bound of the ledger locks of pages that run are forgotten."""
    return replaced(Ledger, "make_room_for_lock", lambda self, key, now: True)


@mutation
def what_is_too_large_to_be_held_is_alike() -> Iterator[None]:
    """A body that is only read through is not compared with what was saved."""
    return replaced(BackendReply, "fingerprint", 0)


@mutation
def an_older_save_that_was_carried_out_late_is_the_session() -> Iterator[None]:
    return replaced(Mark, "is_what_was_taken", lambda self, fingerprint: True)


@mutation
def a_key_that_was_settled_stays_settled() -> Iterator[None]:
    """Whatever the pool has become since."""
    original = Ledger.is_settled

    def is_settled(self: Ledger, key: bytes, unchanged: UnchangedSince, now: float) -> bool:
        return original(self, key, unchanged._replace(epoch=0), now)

    return replaced(Ledger, "is_settled", is_settled)


@mutation
def a_key_is_settled_while_it_is_marked() -> Iterator[None]:
    original = Ledger.is_settled

    def is_settled(self: Ledger, key: bytes, unchanged: UnchangedSince, now: float) -> bool:
        return now - unchanged.moment > self.longest_life or original(self, key, unchanged, now)

    return replaced(Ledger, "is_settled", is_settled)


@mutation
def a_key_is_settled_though_an_era_differs() -> Iterator[None]:
    return replaced(Pool, "unchanged_since", lambda self, key: UnchangedSince(self.known_since, self.epoch))


@mutation
def incarnations_do_not_matter_to_what_is_settled() -> Iterator[None]:
    """A server that has begun anew is taken for the one that held the session."""
    original = Pool.unchanged_since

    def unchanged_since(self: Pool, key: bytes) -> UnchangedSince:
        held = self._written(key)

        def written(era: Era, key: bytes) -> dict[str, bytes | None]:
            return {each: held.get(each) for each in former(era, key)}

        former = Era.written
        with without(Era, "written", written):
            return original(self, key)

    return replaced(Pool, "unchanged_since", unchanged_since)


@mutation
def what_is_away_grows_old() -> Iterator[None]:
    """A server that comes back with what it held is not asked for what it should not have any more."""
    return replaced(Pool, "_returned", lambda self, members: iter(()))


@mutation
def a_full_ledger_doubts_nobody() -> Iterator[None]:
    """Marks are dropped beyond the bound, and their server goes on being read."""
    return replaced(Roster, "suspect", nothing)


@mutation
def a_lock_ends_with_its_server() -> Iterator[None]:
    """Nobody stands for a lock whose server cannot be reached."""
    original = Dispatcher._whom

    async def whom(self: Dispatcher, asked: RoutedRequest, pool: Pool) -> Any:
        key = asked.session.key
        lock = self._ledger.maybe_lock(key, trio.current_time())
        if lock is not None and not self._ledger_keeper.can_reach(lock, key):
            self._ledger.end_lock(key)
        return await original(self, asked, pool)

    return replaced(Dispatcher, "_whom", whom)


@mutation
def the_server_of_a_lock_that_was_taken_over_is_not_marked() -> Iterator[None]:
    """Its holder's save went elsewhere, and the locked session is read again when its server is back."""

    def take_over(self: Answering, session: SessionRef, lock: Lock, **_: Any) -> None:
        self._ledger.end_lock(session.key)

    return replaced(Answering, "_take_over", take_over)


@mutation
def creates_leave_what_a_copy_holds() -> Iterator[None]:
    """Nothing is removed before a create, which leaves what is there as it is."""

    async def replace_it(
        self: Replicator, key: bytes, server: BackendId, internal_request: Any, begun: Any = None, **_: Any
    ) -> Any:
        return await self.insist(key, server, internal_request, begun)

    return replaced(Replicator, "replace", replace_it)


@mutation
def flags_are_consumed_on_one_server() -> Iterator[None]:
    """A new session is called new once more after a failover."""
    return replaced(ExpirySync, "consume_flag", nothing_later)


@mutation
def flags_stay_where_nobody_can_be_told() -> Iterator[None]:
    """A server that is in doubt or away calls a session new once more when it is read again."""
    return replaced(ExpirySync, "_mark_flagged", nothing)


@mutation
def a_lock_of_before_the_claim_renews_nothing() -> Iterator[None]:
    """While its 423 is relayed the session expires on the servers that are read."""

    async def refusal(self: Router, routed: RoutedRequest) -> Any:
        return await self._lock_quarantine.maybe_refusal(routed.operation, routed.session)

    return replaced(Router, "_maybe_refusal", refusal)


@mutation
def a_set_leaves_a_flag_on_a_marked_server() -> Iterator[None]:
    """A server that is put right by a set goes on calling its session new (protocol.md 6, row 16)."""

    async def replace_it(
        self: Replicator, key: bytes, server: BackendId, internal_request: Any, begun: Any = None, **_: Any
    ) -> Any:
        if internal_request.head.operation is Operation.CREATE_UNINITIALIZED:
            await self.insist(key, server, remove(internal_request.head.target))
        return await self.insist(key, server, internal_request, begun)

    return replaced(Replicator, "replace", replace_it)


# --- rules that a review once broke by hand, and no test noticed ---


@mutation
def the_only_server_that_took_a_write_counts_as_a_leftover() -> Iterator[None]:
    """A set that only a server outside the acting set took is removed there at once."""
    original = Replicator._clear_up

    async def clear_up(
        self: Replicator, write: Write, pool: Pool, acting: ActingSet, begun: Any, reached: set[BackendId]
    ) -> Any:
        return await original(self, write, pool, acting, begun, reached | {acting.primary})

    return replaced(Replicator, "_clear_up", clear_up)


@mutation
def marked_servers_are_not_written() -> Iterator[None]:
    """A write goes to those who act for the key now, and not to those who will without its marks."""

    def homes(self: Replicator, write: Write, pool: Pool) -> dict[str, None]:
        marks = tuple(self._ledger_keeper.ledger.marks(write.session.key))
        acting = self._ledger_keeper.acting_set(pool, write.session, marks)
        return {} if acting is None else dict.fromkeys(acting.written)

    return replaced(Replicator, "_homes", homes)


@mutation
def hand_over_to_a_server_that_has_changed_meanwhile() -> Iterator[None]:
    """A leaving server lets go of a session although the pool is another one than when it was copied."""
    original, complete = Relocator.hand_over, Relocator._complete

    async def hand_over(self: Relocator, missed: SessionRef, leaving: BackendId) -> HandedOver:
        pool, copied = self._roster.pool, []

        async def completed(*args: Any) -> HandedOver:
            copied.append(await complete(*args))
            return copied[-1]

        with without(Relocator, "_complete", completed):
            outcome = await original(self, missed, leaving)
        acting = pool.acting_set(missed.placement)
        if acting is None or copied != [HandedOver.MOVED] or pool.epoch == self._roster.pool.epoch:
            return outcome
        return await self._let_go(missed, leaving, acting)

    return replaced(Relocator, "hand_over", hand_over)


@mutation
def a_copy_that_cannot_be_touched_is_not_marked() -> Iterator[None]:
    """Nor is one that is away while there are too few servers: it expires before its primary."""
    original = ExpirySync._mark

    def mark(self: ExpirySync, session: SessionRef, server: BackendId, *, is_missing: bool) -> None:
        if is_missing:
            original(self, session, server, is_missing=True)

    return replaced(ExpirySync, "_mark", mark)


@mutation
def a_copy_in_doubt_expires_early() -> Iterator[None]:
    """Where it is the only one, it is not written again for what touches it would have had."""
    original = ExpirySync._mark

    def mark(self: ExpirySync, session: SessionRef, server: BackendId, *, is_missing: bool) -> None:
        if self._roster.pool.members[server].record.health is not Health.RECOVERING:
            original(self, session, server, is_missing=is_missing)

    return replaced(ExpirySync, "_mark", mark)


@mutation
def repair_keeps_the_flag() -> Iterator[None]:
    """To read an uninitialized session for a repair consumes its flag."""
    return replaced(Repairer, "_give_flag_back", nothing_later)


# --- keys that are not settled, on the fast path ---


@mutation
def the_fast_path_searches_for_nothing() -> Iterator[None]:
    """A 404 of the acting primary is relayed, wherever the session is."""
    return replaced(ExchangeRecorder, "_is_absent", lambda *_: True)


@mutation
def the_fast_path_takes_any_answer_for_a_miss() -> Iterator[None]:
    """Whoever is asked for a session that is missed may say what it likes."""
    return replaced(copies, "_CONFIRMS", ((200,), (200, 404), (200, 404, 423)))


@mutation
def the_fast_path_ends_a_search_under_another_pool() -> Iterator[None]:
    """Others might be asked by now."""
    return replaced(ExchangeRecorder, "record_absent", lambda *_: True)


@mutation
def the_fast_path_trusts_anybody_for_who_is_silent() -> Iterator[None]:
    return replaced(ExchangeRecorder, "_is_trusted", lambda *_: True)


@mutation
def the_fast_path_removes_nothing_elsewhere() -> Iterator[None]:
    """A key is settled by its first save, whatever former holders hold."""
    original = Routes.former_holders
    return replaced(
        Routes, "former_holders", lambda self, route: original(self, route)._replace(cleared=(), missed=())
    )


@mutation
def the_fast_path_marks_nobody_who_is_away() -> Iterator[None]:
    original = Routes.former_holders
    return replaced(Routes, "former_holders", lambda self, route: original(self, route)._replace(missed=()))


@mutation
def the_fast_path_goes_by_no_mark() -> Iterator[None]:
    """Marks of servers that can be asked keep no request off it."""
    original = ExchangeRecorder.admit

    def admit(self: ExchangeRecorder, *given: Any) -> bool:
        with without(Ledger, "marks", lambda *_: {}), without(Ledger, "note_alive_at", lambda *_: True):
            return original(self, *given)

    return replaced(ExchangeRecorder, "admit", admit)


@mutation
def the_fast_path_answers_before_it_is_written_down() -> Iterator[None]:
    return replaced(RecordKeeper, "is_written_down", lambda *_: True)


@mutation
def a_remove_that_is_under_way_is_not_waited_for() -> Iterator[None]:
    """It may be carried out after the copy that is written there, and take it away."""

    async def end_removes(self: Replicator, write: Write, pool: Pool) -> Any:
        return dict(write.begun_removes)

    return replaced(Replicator, "_end_removes", end_removes)


@mutation
def routes_are_shared_between_maps() -> Iterator[None]:
    """Sessions with one preference list are taken to have had one under each former map, too."""
    return replaced(routes, "is_one_map", lambda pool: True)


# --- what is counted ---


@mutation
def count_no_failover_for_a_client_that_has_left() -> Iterator[None]:
    """The fast path counts what it delivers, and not what a server has answered."""
    original = ExchangeRecorder.finish_undelivered

    def finish_undelivered(self: ExchangeRecorder, client: Client) -> None:
        if client.route is not None:
            client.route.passed_over = None
        original(self, client)

    return replaced(ExchangeRecorder, "finish_undelivered", finish_undelivered)


@mutation
def what_a_silent_server_may_have_is_nowhere() -> Iterator[None]:
    """A search settles its key whoever was silent, or is marked."""
    return replaced(lookup, "is_nowhere", lambda silent, marks: True)


@mutation
def what_a_server_that_is_away_may_have_is_nowhere() -> Iterator[None]:
    """The same on the fast path."""
    return replaced(recorder, "is_nowhere", lambda silent, marks: True)


# --- healing ---


@mutation
def heal_from_a_recovering_server() -> Iterator[None]:
    """What only a doubtful server has is taken for the session."""

    async def dispel(
        self: SessionHealer, session: SessionRef, found: Found, acting: ActingSet, *_: Any
    ) -> None:
        async with self._internal_requests.fetched(next(iter(found.on)), session.target) as reply:
            if reply is not None and reply.status == 200:
                await self._relocator.settle_in(session, acting.primary, reply)

    return replaced(SessionHealer, "_dispel", dispel)


@mutation
def heal_outside_the_gate() -> Iterator[None]:
    """A session is healed while clients use it."""
    original = SessionHealer.heal

    async def heal(self: SessionHealer, found: Found, walk: Any) -> Any:
        gate, self._gate = self._gate, KeyGate()
        try:
            return await original(self, found, walk)
        finally:
            self._gate = gate

    return replaced(SessionHealer, "heal", heal)


@mutation
def count_a_walk_though_the_pool_has_changed() -> Iterator[None]:
    return replaced(Healing, "_counts", lambda self, ongoing: True)


@mutation
def a_walk_settles_what_was_in_use() -> Iterator[None]:
    """Keys that were in use when it began are settled by it like all others."""
    return replaced(SessionHealer, "keys_in_use", lambda self: frozenset())


@mutation
def any_walk_settles_all_keys() -> Iterator[None]:
    """Whoever leaves, or is away."""
    return replaced(healing, "shows_all_settled", lambda pool, walked: True)


@mutation
def last_copies_are_not_guarded() -> Iterator[None]:
    """Operators may take away whatever they name."""
    return replaced(WithdrawalGuard, "_verdict", lambda self, withdrawal: ((), "", None))


@mutation
def several_are_stopped_at_once() -> Iterator[None]:
    """Each of them may be stopped, so all of them may."""
    safe = Redundancy.why_not_safe_to_stop

    def each_for_itself(
        self: Redundancy, identities: Collection[BackendId], now: float, handed_off: Container[BackendId] = ()
    ) -> tuple[str, ...]:
        return tuple(why for each in identities for why in safe(self, (each,), now, handed_off))

    return replaced(Redundancy, "why_not_safe_to_stop", each_for_itself)
