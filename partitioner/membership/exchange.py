"""The rules of one exchange, which both paths of a router carry out.

A router remembers little of a session: its lock, its time-out, that it was used, and which servers may not be
read for it. Which of that an answer changes depends on the operation and the status alone, so it stands in a
table, and each path carries the effects out in its own way: the slow path (routing.router) awaits what there
is to await, the fast path (fastpath.recorder) does nothing for which it would have to.

    admit       before a request is sent: may its acting primary be asked first, by what the ledger knows?
    EFFECTS     when its server has answered: what changes in ledger and expiry sync
    is_nowhere  when a session was searched for and not found: is its key settled by that?
    finish      when the client has its answer, or has gone: what becomes of the gate, a lock, the counters

EFFECTS and RULES are shared data and not functions: the fast path looks into them in each exchange, and a
call costs as much as all that is done then.
"""

from collections.abc import Set, Sized
from dataclasses import dataclass
from enum import Enum

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import LOCK, REMOVE, WRITE
from partitioner.membership.ledger import Ledger
from partitioner.protocol.messages import Operation


@dataclass(frozen=True, slots=True)
class OperationRules:
    """What is true of an operation, whatever is answered."""

    is_write: bool = False
    """Whether it concerns more servers than the first: that accepts it, and all others have to follow."""
    leaves: str | None = None
    """What a server may lack, or have too much, that was asked and has not answered; None: nothing."""
    ends_page: bool = False
    """Whether it is the last request of a page: where that is cut off, the page holds no lock any more."""


RULES: dict[Operation, OperationRules] = {
    Operation.GET: OperationRules(),
    Operation.ACQUIRE: OperationRules(leaves=LOCK),
    Operation.RELEASE: OperationRules(leaves=LOCK, ends_page=True),
    Operation.SET: OperationRules(is_write=True, leaves=WRITE, ends_page=True),
    Operation.CREATE_UNINITIALIZED: OperationRules(is_write=True, leaves=WRITE),
    Operation.REMOVE: OperationRules(is_write=True, leaves=REMOVE, ends_page=True),
    Operation.RESET_TIMEOUT: OperationRules(),
}


@dataclass(frozen=True, slots=True)
class Effects:
    """What the answer of a session's server means for what a router remembers of its key."""

    grants_lock: bool = False
    """The client holds the lock that the answer names."""
    ends_lock: bool = False
    """The lock of the key is over, as far as the server that answered is concerned."""
    tells_timeout: bool = False
    """The answer may say how long the session lives."""
    renews: bool = False
    """The session lives on, on the server that answered; its copies have to be touched."""
    spreads: bool = False
    """The write is done there, and goes to all others that it concerns; its time-out counts from now."""
    is_miss: bool = False
    """The session is not there, and may be elsewhere: it is searched for, unless the key is settled."""
    is_served: bool = False
    """The client learns that the session exists."""
    shows_no_lock: bool = False
    """No other page holds a lock on the session: this would have been refused."""


_GOT = Effects(tells_timeout=True, renews=True, is_served=True, shows_no_lock=True)
_WRITTEN = Effects(ends_lock=True, spreads=True, is_served=True, shows_no_lock=True)
_LOCKED = Effects(is_served=True)
_LOCKED_FOR_READER = Effects(tells_timeout=True, renews=True, is_served=True)
_MISSED = Effects(ends_lock=True, is_miss=True)
_NOTHING = Effects()

EFFECTS: dict[tuple[Operation, int], Effects] = {
    (Operation.GET, 200): _GOT,
    (Operation.GET, 400): Effects(tells_timeout=True),
    (Operation.GET, 404): _MISSED,
    (Operation.GET, 423): _LOCKED_FOR_READER,  # polling renews the expiry as well (protocol.md 6)
    (Operation.ACQUIRE, 200): Effects(
        grants_lock=True, tells_timeout=True, renews=True, is_served=True, shows_no_lock=True
    ),
    (Operation.ACQUIRE, 400): Effects(tells_timeout=True),
    (Operation.ACQUIRE, 404): _MISSED,
    (Operation.ACQUIRE, 423): _LOCKED_FOR_READER,
    (Operation.RELEASE, 200): Effects(ends_lock=True, renews=True, is_served=True),
    (Operation.RELEASE, 400): Effects(renews=True),
    (Operation.RELEASE, 404): _MISSED,
    (Operation.RELEASE, 423): Effects(renews=True, is_served=True),
    (Operation.SET, 200): _WRITTEN,
    (Operation.SET, 400): _NOTHING,
    (Operation.SET, 404): _NOTHING,
    (Operation.SET, 423): _LOCKED,
    # A create is a write where nothing was; where the session exists it is answered 200 as well, and is none.
    (Operation.CREATE_UNINITIALIZED, 200): Effects(spreads=True, is_served=True),
    (Operation.CREATE_UNINITIALIZED, 400): _NOTHING,
    (Operation.CREATE_UNINITIALIZED, 404): _NOTHING,
    (Operation.CREATE_UNINITIALIZED, 423): _LOCKED,
    (Operation.REMOVE, 200): _WRITTEN,
    (Operation.REMOVE, 400): _NOTHING,
    (Operation.REMOVE, 404): Effects(ends_lock=True, spreads=True),  # and has to be gone elsewhere
    (Operation.REMOVE, 423): _LOCKED,
    # A HEAD takes no heed of locks: its 200 does not say that there is none.
    (Operation.RESET_TIMEOUT, 200): Effects(tells_timeout=True, renews=True, is_served=True),
    (Operation.RESET_TIMEOUT, 400): Effects(tells_timeout=True),
    (Operation.RESET_TIMEOUT, 404): _MISSED,
    (Operation.RESET_TIMEOUT, 423): _LOCKED_FOR_READER,
}
"""For all operations, and all statuses that are relayed."""


def admit(
    ledger: Ledger,
    key: bytes,
    server: BackendId,
    incarnation: bytes,
    now: float,
    away: Set[BackendId] = frozenset(),
) -> bool:
    """Whether this server, in this incarnation, is the one to be asked first.

    So it is where the ledger knows of nothing but perhaps a lock on this server, and marks of servers that
    are `away`: nobody could ask those, nor put them right. Notes that the session is used if so. Until the
    key is settled a write concerns former holders as well, and so does a miss.
    """
    return ledger.note_alive_at(key, server, incarnation, now, away)


def is_nowhere(silent: Sized, marks: Sized) -> bool:
    """Whether a search without a find has shown that no server has the session, so that its key is settled.

    `silent` are the servers that can have it and did not say that they lack it, `marks` those of the key: on
    a server that is marked something may still be carried out. Behind the gate the session cannot come into
    being meanwhile.
    """
    return not silent and not marks


class StandIn(Enum):
    """What a router does about a request where the server that holds the session's lock is out of reach.

    Where that server can be asked but is not one that should have the session, the same holds, except that
    its own 423 is relayed, and a release goes to it.
    """

    LOCKED = "answers 423"
    TOUCHED = "answers 200: the session is there, and its page keeps it alive"
    LET_GO = "asks another server, if the lock's holder asks, whose lock is over; else answers 423"


STAND_IN: dict[Operation, StandIn] = {
    Operation.GET: StandIn.LOCKED,
    Operation.ACQUIRE: StandIn.LOCKED,
    Operation.RELEASE: StandIn.LET_GO,
    Operation.SET: StandIn.LET_GO,
    Operation.CREATE_UNINITIALIZED: StandIn.TOUCHED,  # a create of what is there is answered 200 (row 15)
    Operation.REMOVE: StandIn.LET_GO,
    Operation.RESET_TIMEOUT: StandIn.TOUCHED,
}


class Finish(Enum):
    """What is done at the end of an exchange whose server has answered.

    In any case it counts as a failover if the server answered because the first choice was out: whether the
    client is still there or not, another server looked after its session.
    """

    LEAVE_GATE = "leave the gate"
    GIVE_LOCK_BACK = "release the lock, and leave the gate then"


def finish(*, takes_lock: bool, was_delivered: bool) -> Finish:
    """Decide about the end: a lock that did not reach its client would stay for 110 s without a holder."""
    return Finish.GIVE_LOCK_BACK if takes_lock and not was_delivered else Finish.LEAVE_GATE
