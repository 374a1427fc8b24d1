"""A Cluster: which of its primaries has which sessions, as its nodes tell.

A name belongs to one of 16384 slots, and a range of slots to a shard: a primary with its replicas. The names
of sessions have no hash tag, so they spread over all slots.

A Cluster has nobody who could be asked whether a failover had begun when a primary replied, as Sentinels can.
So where not all replicas have a change, it is not known whether it counts: the request is sent again, under
its id, and its client is closed at its deadline.
"""

from binascii import crc_hqx
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import trio

from partitioner.errors import EngineUnfit, EngineUnreachable, StoreFailure
from partitioner.membership.backend import Address
from partitioner.store.calls import Reply
from partitioner.store.connecting import Connector
from partitioner.store.topology import Primary, Tenure

SLOTS = 16384
CANARY_DISTANCE = 256
"""Slots from one canary to the next: each shard with so many slots in a row has one of its own."""

VIEW_TIMEOUT = 1.0


def slot_of(name: bytes) -> int:
    """The slot of a name without a hash tag: CRC16 (XMODEM) modulo 16384 (Cluster specification)."""
    return crc_hqx(name, 0) % SLOTS


@lru_cache(maxsize=SLOTS // CANARY_DISTANCE)
def canary_of_slot(slot: int) -> bytes:
    """What the canary of a slot is called: a hash tag that belongs to that slot, and a word."""
    for number in count():
        tag = b"%d" % number
        if slot_of(tag) == slot:
            return b"{%b}canary" % tag
    raise AssertionError("every slot has a number")


@dataclass(frozen=True, slots=True)
class ShardView:
    """A shard as the nodes tell of it."""

    ranges: tuple[tuple[int, int], ...]  # of slots, both ends included
    members: frozenset[str]  # the IDs of its nodes
    primary: Address
    replicas: int  # that it should have, those that are down included

    @property
    def canary(self) -> bytes | None:
        """The name of its canary, without the prefix; None if it has too few slots for one."""
        for first, last in self.ranges:
            slot = -(-first // CANARY_DISTANCE) * CANARY_DISTANCE
            if slot <= last:
                return canary_of_slot(slot)
        return None


class ClusterView:
    """What was told last, and how it is asked for."""

    def __init__(self, seeds: tuple[Address, ...], connector: Connector) -> None:
        self._seeds = seeds
        self._connector = connector
        self.shards: tuple[ShardView, ...] = ()

    async def refresh(self) -> None:
        """Ask the nodes that are known, and then those of the configuration, until one answers.

        Raises EngineUnreachable or EngineUnfit.
        """
        failures: list[StoreFailure] = []
        for address in dict.fromkeys([*(each.primary for each in self.shards), *self._seeds]):
            try:
                self.shards = await self._ask(address)
                return
            except EngineUnfit:
                raise
            except StoreFailure as failure:
                failures.append(failure)
        causes = "; ".join(dict.fromkeys(map(str, failures)))
        raise EngineUnreachable(f"no node of the Cluster answers: {causes}")

    async def _ask(self, address: Address) -> tuple[ShardView, ...]:
        with trio.move_on_after(VIEW_TIMEOUT):
            pipe = await self._connector.open_node(address)
            try:
                info, shards = await pipe.introduce([(b"CLUSTER", b"INFO"), (b"CLUSTER", b"SHARDS")])
            finally:
                pipe.close()
            if not isinstance(info, bytes) or not isinstance(shards, list):
                raise EngineUnfit(f"{address} tells nothing of a Cluster: {_text(info)}; {_text(shards)}")
            return tuple(view for each in shards if (view := _shard_view(each, address.host)) is not None)
        raise EngineUnreachable(f"{address} did not tell of the Cluster in time")


class ShardTopology:
    """The primary of one shard. This is a Topology."""

    def __init__(self, view: ClusterView, members: frozenset[str]) -> None:
        self._view = view
        self.members = members

    async def find(self) -> Primary:
        """The primary that the nodes name now. Raises EngineUnreachable or EngineUnfit."""
        await self._view.refresh()
        for each in self._view.shards:
            if each.members & self.members:
                self.members = each.members
                return Primary(each.primary, each.replicas, each.canary)
        raise EngineUnreachable("the shard has left the Cluster")

    async def tenure(self, primary: Primary) -> Tenure:
        """Nobody knows."""
        return Tenure.ENDED


def _shard_view(reply: object, asked_host: str) -> ShardView | None:
    """One item of CLUSTER SHARDS; None if it has no slots, or no primary."""
    shard = _pairs(reply)
    slots = shard.get("slots")
    numbers = [each for each in slots if isinstance(each, int)] if isinstance(slots, list) else []
    listed = shard.get("nodes")
    nodes = [_pairs(each) for each in listed] if isinstance(listed, list) else []
    primaries = [each for each in nodes if each.get("role") == b"master" and each.get("health") != b"fail"]
    if not numbers or not primaries:
        return None
    return ShardView(
        ranges=tuple(zip(numbers[::2], numbers[1::2], strict=True)),
        members=frozenset(_text(each["id"]) for each in nodes),
        primary=_address(primaries[0], asked_host),
        replicas=len(nodes) - 1,  # a primary that has failed is to be one when it comes back
    )


def _address(node: dict[str, object], asked_host: str) -> Address:
    """Where a node takes connections; one that does not know its own address is where it was asked."""
    endpoint = _text(node.get("endpoint", b""))
    host = endpoint if endpoint not in ("", "?", "None") else asked_host
    port = node.get("tls-port", node.get("port"))
    assert isinstance(port, int)
    return Address(host, port)


def _pairs(reply: object) -> dict[str, object]:
    assert isinstance(reply, list)
    return {_text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read_redirection(reply: Reply) -> tuple[int, Address]:
    """Read `MOVED SLOT HOST:PORT` or `ASK SLOT HOST:PORT`; the host is empty where it is the same one."""
    _, slot, where = str(reply).split(" ")[:3]
    host, _, port = where.rpartition(":")
    return int(slot), Address(host, int(port))
