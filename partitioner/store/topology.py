"""Which engine is the primary, and whether it still was when it replied.

Two kinds. A fixed primary is what the configuration says. Behind Sentinels it is whom they name, and they
also settle whether a reply counts that not all replicas have: a failover between two of their words would be
seen in them.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import trio

from partitioner.errors import EngineUnreachable, StoreFailure
from partitioner.membership.backend import Address
from partitioner.store.calls import Reply
from partitioner.store.connecting import Connector
from partitioner.store.policy import SentinelGroup

SENTINEL_TIMEOUT = 0.5
"""Seconds for a Sentinel to connect and to reply; they are all asked at the same time."""

_NOBODY = b"0" * 40


@dataclass(frozen=True, slots=True)
class Primary:
    """Whom to connect to."""

    address: Address
    replicas: int | None  # that should have every change; None: those that are connected to it
    canary: bytes | None = b"canary"  # what the canary is called, without the prefix; None: there is none
    epoch: int = 0  # of the configuration that made it the primary, where somebody counts them


class Tenure(Enum):
    """What is known of a primary that has replied."""

    LASTED = auto()  # no failover from it had begun before this was asked
    ENDED = auto()  # another one has taken its place, or nobody ever knows
    IN_DOUBT = auto()  # it may show if it is asked again


class Topology(Protocol):
    """Knows which engine is the primary."""

    async def find(self) -> Primary:
        """The primary now. Raises StoreFailure."""

    async def tenure(self, primary: Primary) -> Tenure:
        """Whether a failover from this primary had begun before this was asked."""


class FixedPrimary:
    """A primary that the configuration names; nothing else ever takes its place."""

    def __init__(self, address: Address) -> None:
        self._primary = Primary(address, None)

    async def find(self) -> Primary:
        return self._primary

    async def tenure(self, primary: Primary) -> Tenure:
        return Tenure.LASTED


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a Sentinel says of the primary."""

    address: Address
    flags: frozenset[str]
    config_epoch: int
    replicas: int  # that it knows, those that are down included
    vote_epoch: int  # of its latest vote for a leader of a failover
    sentinels: int  # that it knows, itself included

    @property
    def is_replacing(self) -> bool:
        """Whether it leads a failover now, or wants to."""
        return "failover_in_progress" in self.flags

    @property
    def rank(self) -> tuple[int, bool]:
        """How much it knows: who leads a failover has its epoch, and names the former primary to its end."""
        return self.config_epoch, not self.is_replacing


class SentinelTopology:
    """The primary that Sentinels name."""

    def __init__(self, group: SentinelGroup, connector: Connector) -> None:
        self._group = group
        self._connector = connector
        self._latest = (0, False)  # what any of them has known best so far (Opinion.rank)

    async def find(self) -> Primary:
        """The primary of the latest configuration that any of them knows. Raises EngineUnreachable.

        If it is not one any more, or not yet, it says so itself (ROLE). Sentinels that know an earlier
        primary than was told before are not believed: the others may just not reply in time.
        """
        opinions, failures = await self._ask_all()
        if not opinions:
            causes = "; ".join(dict.fromkeys(map(str, failures)))
            raise EngineUnreachable(f"no Sentinel names a primary called {self._group.name!r}: {causes}")
        latest = max(opinions, key=lambda each: each.rank)
        if latest.rank < self._latest:
            raise EngineUnreachable("the Sentinels that know the present primary do not reply")
        self._latest = latest.rank
        replicas = max(each.replicas for each in opinions)
        return Primary(latest.address, replicas, epoch=latest.config_epoch)

    async def tenure(self, primary: Primary) -> Tenure:
        """Whether a majority names this primary, and has not voted for a failover from it.

        A Sentinel promises its vote before a failover begins, and a majority has to have voted. So if a
        majority's latest votes are those of the present configuration, no failover had begun; and a replica
        that is promoted later either has the change, or the change was answered as degraded.

        An election that came to nothing leaves votes behind. Then all Sentinels have to name this primary and
        to be at no failover: one that leads a failover is at it until it names another primary, or gives up.
        """
        opinions, _ = await self._ask_all()
        return tenure_told(primary, opinions, len(self._group.addresses))

    async def _ask_all(self) -> tuple[list[Opinion], list[StoreFailure]]:
        opinions: list[Opinion] = []
        failures: list[StoreFailure] = []

        async def ask(address: Address) -> None:
            try:
                opinions.append(await self._ask(address))
            except StoreFailure as failure:
                failures.append(failure)

        async with trio.open_nursery() as asking:
            for address in self._group.addresses:
                asking.start_soon(ask, address)
        return opinions, failures

    async def _ask(self, address: Address) -> Opinion:
        with trio.move_on_after(SENTINEL_TIMEOUT):
            pipe = await self._connector.open_sentinel(address, self._group.credentials)
            try:
                name = self._group.name.encode()
                (said,) = await pipe.introduce([(b"SENTINEL", b"MASTER", name)])
                state = _fields(address, self._group.name, said)
                where = Address(state["ip"], int(state["port"]))
                question = (b"SENTINEL", b"IS-MASTER-DOWN-BY-ADDR", where.host.encode(), b"%d" % where.port)
                (vote,) = await pipe.introduce([(*question, b"0", _NOBODY)])
                return _opinion(address, where, state, vote)
            finally:
                pipe.close()
        raise EngineUnreachable(f"the Sentinel {address} did not reply in time")


def tenure_told(primary: Primary, opinions: list[Opinion], configured: int) -> Tenure:
    """What is known of a primary by what those say that have replied; so many Sentinels are configured."""
    if any(each.config_epoch > primary.epoch for each in opinions):
        return Tenure.ENDED  # even if it is the primary again: it was another one's replica meanwhile
    sentinels = max((configured, *(each.sentinels for each in opinions)))
    standing_by = [each for each in opinions if stands_by(each, primary.address)]
    unvoted = [each for each in standing_by if each.vote_epoch <= each.config_epoch]
    if len(unvoted) > sentinels // 2 or len(standing_by) == sentinels:
        return Tenure.LASTED
    return Tenure.IN_DOUBT


def stands_by(opinion: Opinion, address: Address) -> bool:
    """Whether a Sentinel names this primary, and is not about to replace it."""
    return opinion.address == address and not opinion.is_replacing


def _fields(address: Address, name: str, reply: Reply) -> dict[str, str]:
    if not isinstance(reply, list):
        raise EngineUnreachable(f"{address} knows no primary called {name!r} ({reply!s})")
    texts = [each.decode() if isinstance(each, bytes) else "" for each in reply]
    return dict(zip(texts[::2], texts[1::2], strict=False))


def _opinion(address: Address, where: Address, state: dict[str, str], vote: Reply) -> Opinion:
    if not isinstance(vote, list) or not isinstance(vote[2], int):
        raise EngineUnreachable(f"the Sentinel {address} does not tell its vote: {vote!s}")
    flags = frozenset(state["flags"].split(","))
    sentinels = int(state["num-other-sentinels"]) + 1
    return Opinion(where, flags, int(state["config-epoch"]), int(state["num-slaves"]), vote[2], sentinels)
