"""The slow path, put together: a roster, a ledger, a gate, and all that works with them."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from random import uniform as random_uniform

import trio

from partitioner.errors import BackendFailure
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import Ledger, LedgerPolicy
from partitioner.membership.losses import LossPolicy, LostSessions
from partitioner.membership.pool import Pool
from partitioner.membership.redundancy import Redundancy
from partitioner.placement.session_id import HashKey
from partitioner.routing.answer_recorder import AnswerRecorder
from partitioner.routing.answering import Answering
from partitioner.routing.drain import HandOff, ListKeys
from partitioner.routing.expiry_sync import ExpirySync
from partitioner.routing.farm_mismatch import FarmMismatch
from partitioner.routing.healing import RATE, Healing
from partitioner.routing.internal_requests import InternalRequests
from partitioner.routing.inventory import ListSessions
from partitioner.routing.key_gate import KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.lock_quarantine import LockQuarantine
from partitioner.routing.lookup import Lookup
from partitioner.routing.losses import Losses
from partitioner.routing.probes import Probing
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.redundancy_watch import RedundancyWatch
from partitioner.routing.relocation import Relocator
from partitioner.routing.repair import Repairer
from partitioner.routing.replication import Replicator
from partitioner.routing.roster import Roster
from partitioner.routing.router import Parts, Router
from partitioner.routing.session_healing import SessionHealer
from partitioner.routing.succession import Disk, TenurePolicy
from partitioner.routing.tenure import Tenure
from partitioner.routing.undelivered_locks import UndeliveredLocks
from partitioner.routing.verification import Verification
from partitioner.routing.withdrawal import WithdrawalGuard
from partitioner.transport.authority import Authority
from partitioner.transport.backend_connections import Upstream, UpstreamPolicy
from partitioner.transport.connector import Connector
from partitioner.transport.limits import BodyBudget
from partitioner.transport.observer import Observer
from partitioner.transport.precedence import Precedence

SWEEP_INTERVAL = 5.0
WINDOWS = 8
"""Into so many parts the memory for bodies is divided; large bodies that come in at once take one."""

_A_SECOND = 1.0


@dataclass(frozen=True, slots=True)
class RouterPolicy:
    """How a router behaves towards its backends. Times are seconds, sizes bytes."""

    health: HealthPolicy
    upstream: UpstreamPolicy
    ledger: LedgerPolicy
    lost_sessions: LostSessions = LostSessions.NEW
    hash_key: HashKey = HashKey.SESSION_ID
    copy: float = 0.25  # for writing a copy, and a second more for each 16 MiB
    body_memory: int = 256 * 1024 * 1024
    heal_rate: float = RATE  # sessions a second
    lost_after: float = 60.0  # for which a server must have been DOWN by time-outs
    tenure: TenurePolicy | None = None  # None where no other router can serve these servers
    wall_clock: Callable[[], float] = time.time  # seconds since 1970


class RouterCore:
    """A router without its clients."""

    def __init__(
        self,
        pool: Pool,
        policy: RouterPolicy,
        connector: Connector,
        observer: Observer,
        background: trio.Nursery,
        uniform: Callable[[float, float], float] = random_uniform,
        list_keys: ListKeys | None = None,
        disk: Disk | None = None,
        list_sessions: ListSessions | None = None,
    ) -> None:
        """`background` outlives every exchange; `uniform` draws the jitter of probes.

        `list_keys` and `list_sessions` ask state servers of our own what they hold, if that is possible.
        `disk` is where the record is kept on this machine, if anywhere.
        """
        if policy.tenure is not None:
            connector = replace(connector, authority=Authority(connector.canary))
        self.policy = policy
        self.observer = observer
        self._connector = connector
        # What requests and upkeep share.
        self.ledger = Ledger(policy.ledger)
        self.roster = self._new_roster(pool, background)
        self.ledger_keeper = LedgerKeeper(self.ledger, self.roster, policy.hash_key)
        self.roster.open_upstreams()
        self.gate = KeyGate()
        self.body_budget = BodyBudget(policy.body_memory)
        self.precedence = Precedence(policy.body_memory // WINDOWS)
        self.internal_requests = InternalRequests(self.roster, self.body_budget, policy.copy)
        self.replicator = Replicator(self.roster, self.ledger_keeper, self.internal_requests, observer)
        self.relocator = Relocator(self.roster, self.ledger_keeper, self.internal_requests, self.replicator)
        losses = LossPolicy(policy.lost_sessions, policy.lost_after)
        self.losses = Losses(losses, self.roster, self.ledger_keeper, observer)
        self.lookup = self._new_lookup()
        self.expiry_sync = ExpirySync(self.roster, self.ledger_keeper, self.gate, self.internal_requests)
        # What goes on beside the exchanges.
        self.repairer = self._new_repairer()
        self.watch = RedundancyWatch(self.roster, observer)
        self.handoff = self._new_handoff(list_keys)
        healer = self._new_session_healer()
        self.healing = self._new_healing(healer, list_sessions)
        self.verification = Verification(self.roster, self.healing, healer)
        self.withdrawal_guard = WithdrawalGuard(
            self.roster, self.handoff, connector.canary.farm, list_sessions
        )
        # Which router it is that serves. None where no other one can come after this one.
        self.keeper = self._maybe_new_keeper(disk)
        self.probing = Probing(self.roster, connector, uniform, self.keeper)
        self.tenure = self._maybe_new_tenure(disk, list_keys)
        self.farm_mismatch = FarmMismatch(observer)
        self.undelivered_locks = UndeliveredLocks(
            self.roster, self.ledger_keeper, self.gate, self.internal_requests, observer, background
        )
        self.router = self._new_router(background)
        self.standstills = connector.standstills
        self.standstills.listeners.append(self._stood_still)

    # --- how its parts are made ---

    def _new_roster(self, pool: Pool, background: trio.Nursery) -> Roster:
        def open_upstream(backend: Backend) -> Upstream:
            return Upstream(
                backend,
                self._connector,
                self.policy.upstream,
                self.ledger_keeper,
                background,
                self.observer.backend_falls_short,
            )

        return Roster(
            pool,
            self.policy.health,
            self.observer,
            Redundancy(pool, self.ledger, self.time_of_day),
            open_upstream,
            longest_life=lambda: self.ledger.longest_life,
        )

    def _new_lookup(self) -> Lookup:
        return Lookup(
            self.roster,
            self.ledger_keeper,
            self.internal_requests,
            self.relocator,
            self.losses,
            self.observer,
        )

    def _new_repairer(self) -> Repairer:
        return Repairer(
            self.roster,
            self.ledger_keeper,
            self.gate,
            self.internal_requests,
            self.replicator,
            self.lookup,
            self.expiry_sync,
            self.observer,
        )

    def _new_handoff(self, list_keys: ListKeys | None) -> HandOff:
        return HandOff(
            self.roster,
            self.ledger_keeper,
            self.gate,
            self.replicator,
            self.relocator,
            self.observer,
            list_keys,
        )

    def _new_session_healer(self) -> SessionHealer:
        return SessionHealer(
            self.roster,
            self.ledger_keeper,
            self.gate,
            self.internal_requests,
            self.lookup,
            self.relocator,
            self.expiry_sync,
        )

    def _new_healing(self, healer: SessionHealer, list_sessions: ListSessions | None) -> Healing:
        return Healing(
            self.roster,
            healer,
            self.observer,
            self._connector.canary.farm,
            list_sessions,
            self.policy.heal_rate,
        )

    def _maybe_new_keeper(self, disk: Disk | None) -> RecordKeeper | None:
        if self._connector.authority is None:
            return None
        return RecordKeeper(self.roster, self.ledger, self._connector, disk, self.observer)

    def _maybe_new_tenure(self, disk: Disk | None, list_keys: ListKeys | None) -> Tenure | None:
        if self.keeper is None:
            return None
        assert self.policy.tenure is not None  # or there would be no authority
        return Tenure(
            self.policy.tenure,
            self._connector,
            self.roster,
            self.ledger,
            self.keeper,
            self.probing,
            disk,
            self.observer,
            list_keys,
        )

    def _new_router(self, background: trio.Nursery) -> Router:
        lock_quarantine = LockQuarantine(self.tenure, self.roster, self.ledger_keeper, self.internal_requests)
        parts = Parts(
            self.roster,
            self.ledger_keeper,
            self.gate,
            self.body_budget,
            self.precedence,
            self._new_answering(lock_quarantine),
            lock_quarantine,
            self.expiry_sync,
            self.undelivered_locks,
            self.farm_mismatch,
            self.observer,
            self.keeper,
            self.tenure,
        )
        return Router(parts, background)

    def _new_answering(self, lock_quarantine: LockQuarantine) -> Answering:
        recorder = AnswerRecorder(
            self.roster, self.ledger_keeper, self.replicator, self.expiry_sync, lock_quarantine
        )
        return Answering(
            self.roster,
            self.ledger_keeper,
            self.lookup,
            self.expiry_sync,
            lock_quarantine,
            recorder,
            self.observer,
        )

    def adopt(self, policy: RouterPolicy) -> None:
        """From now on behave so; what is under way goes on as it began.

        What cannot change while a router runs is left as it was: the hash key, and the time-outs of sessions.
        """
        self.policy = policy
        self.roster.policy = policy.health
        for upstream in self.roster.upstreams.values():
            upstream.adopt(policy.upstream)
        self.ledger.bound(policy.ledger.keys)
        self.body_budget.limit = policy.body_memory
        self.precedence.window = policy.body_memory // WINDOWS
        self.internal_requests.patience = policy.copy
        self.losses.policy = LossPolicy(policy.lost_sessions, policy.lost_after)
        self.healing.rate = policy.heal_rate
        if self.tenure is not None:
            self.tenure.policy = replace(self.tenure.policy, lost_after=policy.lost_after)

    # --- how it runs ---

    async def start(self) -> None:
        """See who is there, and be the active router if no other one can be."""
        if self.tenure is None:
            self.roster.find_out_first()
            await self.probing.first_look()
            self.roster.begin_to_serve()
        else:
            await self.tenure.start()

    def time_of_day(self, moment: float) -> str:
        """What people's clocks show here at a moment of monotonic time, as 14:32."""
        seconds = self.policy.wall_clock() + moment - trio.current_time()
        return time.strftime("%H:%M", time.localtime(seconds))

    async def run(self) -> None:
        """Do everything that goes on beside the exchanges, for as long as the router runs."""
        tenure, keeper = self.tenure, self.keeper
        if tenure is None or keeper is None:
            await self._serve()
            return
        while True:
            await tenure.stand_by()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve)
                nursery.start_soon(keeper.run)
                nursery.start_soon(tenure.look_after_standstills)
                nursery.start_soon(keeper.remove_earlier)
                while tenure.is_active:
                    await tenure.wait_for_change()
                nursery.cancel_scope.cancel()

    async def _serve(self) -> None:
        """Do what the active router does beside the exchanges."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.probing.run)
            nursery.start_soon(self.expiry_sync.run)
            nursery.start_soon(self.repairer.run)
            nursery.start_soon(self.handoff.run)
            nursery.start_soon(self.healing.run)
            nursery.start_soon(self.verification.run)
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._look_after)

    async def identify(self, backends: Iterable[Backend]) -> dict[Address, bytes]:
        """Read the canaries at those addresses of which it is not known which server answers there.

        Returns tokens by address, of those that answer in the time of a probe. Nothing is planted.
        """
        found: dict[Address, bytes] = {}

        async def look(backend: Backend) -> None:
            with suppress(BackendFailure):  # who it is shows when it can be probed
                channel, canary = await self._connector.connect(backend, self.roster.policy.timeout)
                channel.close_in_order()
                if canary is not None:
                    found[backend.address] = canary.token

        async with trio.open_nursery() as looking:
            for backend in self.roster.unseen(backends):
                if backend.intent is not Intent.MAINT:
                    looking.start_soon(look, backend)
        return found

    def _stood_still(self, duration: float) -> None:
        """Close all connections to backends, and probe all: every new connection reads the canary first."""
        self.observer.stood_still(duration)
        for upstream in self.roster.upstreams.values():
            upstream.break_off()
        if self.tenure is not None:
            self.tenure.authority.doubt()
        self.roster.want_all_probed()

    def close_idle(self) -> None:
        """Close the idle connections to backends, in order. The others are reset as they end."""
        for upstream in self.roster.upstreams.values():
            upstream.close_idle()

    async def _sweep(self) -> None:
        """Forget what has expired."""
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            self.ledger.forget_settled(self.roster.pool, trio.current_time())
            members = self.roster.pool.members.items()
            answering = {identity for identity, member in members if member.record.answers}
            for _ in self.ledger.sweep(trio.current_time(), answering):
                await trio.lowlevel.checkpoint()
            for identity in self.roster.forget_the_gone():
                self.ledger.unmark_all(identity)
            self.farm_mismatch.turn_over(trio.current_time())

    async def _look_after(self) -> None:
        """Close connections that have been idle for long, and see whether the pool is redundant."""
        while True:
            await trio.sleep(_A_SECOND)
            self.watch.look()
            for upstream in tuple(self.roster.upstreams.values()):
                upstream.retire_idle()
