"""Rules of the router, each broken on purpose.

A rule that can be broken without any seed noticing is not tested. Each mutation here replaces one
decision of the package by the wrong one for the time of a history; test_mutations.py names a seed that
catches it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from partitioner.errors import BackendEjected, Phase
from partitioner.membership.failover import FAILOVER, Verdict
from partitioner.membership.health import Health
from partitioner.membership.ledger import Ledger
from partitioner.membership.losses import LossReason, maybe_loss
from partitioner.membership.pool import Member, Pool
from partitioner.net import finder
from partitioner.net.bookkeeper import Bookkeeper
from partitioner.net.copier import Copier, Write
from partitioner.net.finder import Finder
from partitioner.net.gate import KeyGate
from partitioner.net.lease import Lease
from partitioner.net.repairer import Repairer
from partitioner.net.router import Router
from partitioner.net.toucher import Toucher
from partitioner.net.upstream import Upstream
from partitioner.net.vigil import Vigil
from partitioner.protocol.messages import Operation

Mutation = Callable[[], Iterator[None]]
MUTATIONS: dict[str, Mutation] = {}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Run with this rule broken."""
    yield from MUTATIONS[name]()


def mutation(mutate: Mutation) -> Mutation:
    MUTATIONS[mutate.__name__.replace("_", " ")] = mutate
    return mutate


def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Have an attribute of a class be something else for a while."""
    original = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def nothing(*_: Any, **__: Any) -> None:
    pass


async def nothing_later(*_: Any, **__: Any) -> None:
    pass


# --- copies ---


@mutation
def drop_one_copy() -> Iterator[None]:
    """The last copy of a set is neither written nor marked."""
    original = Copier._copy

    async def copy(self: Copier, write: Write, pool: Pool) -> dict[str, Any]:
        if write.operation is Operation.SET:
            return {}
        return await original(self, write, pool)

    return replaced(Copier, "_copy", copy)


@mutation
def creates_not_copied() -> Iterator[None]:
    original = Copier._copy

    async def copy(self: Copier, write: Write, pool: Pool) -> dict[str, Any]:
        if write.operation is Operation.CREATE_UNINITIALIZED:
            return {}
        return await original(self, write, pool)

    return replaced(Copier, "_copy", copy)


@mutation
def removes_not_copied() -> Iterator[None]:
    original = Copier._copy

    async def copy(self: Copier, write: Write, pool: Pool) -> dict[str, Any]:
        if write.operation is Operation.REMOVE:
            return {}
        return await original(self, write, pool)

    return replaced(Copier, "_copy", copy)


@mutation
def no_removes_elsewhere() -> Iterator[None]:
    """In unsettled times a set leaves what others hold."""

    async def clear_up(*_: Any, **__: Any) -> dict[str, Any]:
        return {}

    return replaced(Copier, "_clear_up", clear_up)


@mutation
def leave_a_leftover() -> Iterator[None]:
    """A move leaves the session where it was."""
    return replaced(Finder, "_clear", nothing_later)


@mutation
def no_touches() -> Iterator[None]:
    """Nothing keeps copies alive."""
    return replaced(Toucher, "note_slid", nothing)


@mutation
def no_repair() -> Iterator[None]:
    return replaced(Repairer, "want", nothing)


# --- marks ---


@mutation
def skip_one_mark() -> Iterator[None]:
    """Who could not be written to is not marked."""
    return replaced(Bookkeeper, "mark", nothing)


@mutation
def unanswered_requests_leave_no_mark() -> Iterator[None]:
    return replaced(Bookkeeper, "went_unanswered", nothing)


@mutation
def read_a_marked_server() -> Iterator[None]:
    original = Pool.acting_set
    return replaced(Pool, "acting_set", lambda self, key, marked=(), **given: original(self, key, **given))


@mutation
def end_a_mark_too_early() -> Iterator[None]:
    """Any answered write puts a server right, whatever still lies in its connections."""

    def note_put_right(self: Ledger, key: bytes, server: str, sent_at: float) -> bool:
        self.unmark(key, server)
        return True

    return replaced(Ledger, "note_put_right", note_put_right)


@mutation
def no_half_close() -> Iterator[None]:
    """An unanswered connection is closed at once, and taken for worked off."""

    def keep(self: Vigil, lease: Lease, on_end: Callable[[Lease], None]) -> None:
        lease.channel.close()
        on_end(lease)

    return replaced(Vigil, "keep", keep)


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
    original = Bookkeeper.went_unanswered

    def went_unanswered(self: Bookkeeper, lease: Lease) -> None:
        if lease.request.operation is not Operation.ACQUIRE:
            original(self, lease)

    retry = _retry(Operation.ACQUIRE)
    next(retry)
    yield from replaced(Bookkeeper, "went_unanswered", went_unanswered)
    for _ in retry:
        pass


@mutation
def retry_a_set() -> Iterator[None]:
    return _retry(Operation.SET)


def _retry(operation: Operation) -> Iterator[None]:
    """Send a request again although the first one may have been carried out."""
    original = FAILOVER[operation, Phase.READING]
    FAILOVER[operation, Phase.READING] = Verdict.TRY_AGAIN
    try:
        yield
    finally:
        FAILOVER[operation, Phase.READING] = original


@mutation
def forget_a_granted_lock() -> Iterator[None]:
    return replaced(Ledger, "note_lock", nothing)


@mutation
def give_no_lock_back() -> Iterator[None]:
    """A lock whose answer could not be delivered stays."""

    async def give_back(self: Router, session: Any, lock: Any) -> None:
        self._gate.leave(session.key)

    return replaced(Router, "_give_back", give_back)


# --- lives and health ---


@mutation
def no_canary_on_new_connections() -> Iterator[None]:
    """A new connection is used whatever it says of its life."""

    async def connect(self: Upstream) -> Any:
        life = self.life
        channel, _ = await self._connector.connect(self.backend, self._policy.connect)
        if self.life == life:
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
    return replaced(Finder, "_silent", lambda self, missed, holders, told: ())


@mutation
def no_fill_on_miss() -> Iterator[None]:
    """What the acting primary does not have does not exist."""
    return replaced(Ledger, "is_settled", lambda self, key, pool, now: True)


@mutation
def anybody_vouches() -> Iterator[None]:
    """Any 404 is the truth, however short a time its server has held the key."""
    return replaced(Pool, "has_always_held", lambda self, identity, key, since: True)


@mutation
def give_up_at_once_what_timed_out() -> Iterator[None]:
    """`lost_after` is 0: a switch that is down for a minute costs sessions."""

    def loss(member: Member | None, now: float, lost_after: float) -> LossReason | None:
        return maybe_loss(member, now, 0.0)

    return replaced(finder, "maybe_loss", loss)
