"""A model of engines and Sentinels on the network in memory: what they reply, and how they fail.

A node carries commands out in the order in which they come over a connection, and replicates each change
after some virtual time. It can be killed, frozen and emptied. A frozen one goes on, when it is thawed, with
what lies in its sockets, as what it was: a primary that was replaced meanwhile is told so only later. That
moment is what most rules of a store are about.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import hiredis
import trio

from partitioner.membership.backend import Address
from partitioner.store.scripts import ADVANCE, SCRIPTS, Script
from tests.doubles.network import MemoryStream, Network
from tests.simulation.seeded import ActorRandom
from tests.store import script_model
from tests.store.script_model import Item, Items

WALL = 1_700_000_000.0
"""Unix time when a world begins."""

GROUP = "sessions"

DOWN_AFTER = 1.0
"""Seconds without a sign of life after which Sentinels replace a primary."""

TOLD_AFTER = 0.4
"""Seconds after which a former primary that goes on is told that it is a replica."""

_BY_HASH: dict[bytes, Script] = {each.by_hash.split(b"\r\n")[3]: each for each in SCRIPTS}
_BY_SOURCE: dict[bytes, Script] = {each.source: each for each in SCRIPTS}

READING = frozenset({b"HELLO", b"ROLE", b"TIME", b"INFO", b"SCRIPT", b"GET", b"WAIT", b"SELECT"})
"""What a replica replies to as well."""


def write_reply(reply: object) -> bytes:
    match reply:
        case None:
            return b"$-1\r\n"
        case Exception():
            return b"-%b\r\n" % str(reply).encode()
        case str():
            return b"+%b\r\n" % reply.encode()
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n%b" % (len(reply), b"".join(map(write_reply, reply)))
    raise AssertionError(reply)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait, and look a hundred times a second whether it is so; time is virtual, and costs little."""
    while True:
        if is_so():
            return
        await trio.sleep(0.01)


Handler = Callable[[list[bytes]], Awaitable[object]]


async def serve_commands(stream: MemoryStream, handler: Handler) -> None:
    """Reply to commands until the other end closes."""
    reader = hiredis.Reader(notEnoughData=Ellipsis)
    try:
        while data := await stream.receive_some():
            reader.feed(data)
            while (command := reader.gets()) is not Ellipsis:
                assert isinstance(command, list)
                await stream.send_all(write_reply(await handler(command)))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        stream.close()


class Link:
    """What a replica has yet to follow."""

    def __init__(self, lag: float, followed: int) -> None:
        self.followed = -1  # the number of the last change that it has acknowledged
        self.begins_with = followed  # what it has from the beginning
        self._lag = lag
        self._put, self.changes = trio.open_memory_channel[tuple[float, bytes, Item | None, int]](math.inf)

    def put(self, name: bytes, item: Item | None, number: int) -> None:
        self._put.send_nowait((trio.current_time() + self._lag, name, item, number))


class Node:
    """An engine."""

    def __init__(self, network: Network, number: int, rng: ActorRandom, lag: float) -> None:
        """It replicates within `lag` seconds."""
        self.address = Address(f"10.1.0.{number}", 6379)
        self.items: Items = {}
        self.is_alive = False
        self.primary: Node | None = None  # whose replica it is
        self.replicas: dict[Node, Link] = {}
        self.lag = lag
        self._network = network
        self._rng = rng
        self._changes = 0
        self._followed_until = 0  # of its primary's changes
        self._running = trio.Event()
        self._running.set()
        self._followed = trio.Event()  # is set, and made anew, when a replica has
        self._serving: set[trio.CancelScope] = set()  # its connections

    def __repr__(self) -> str:
        return f"<Node {self.address}, {'replica' if self.primary else 'primary'}>"

    @property
    def is_frozen(self) -> bool:
        return not self._running.is_set()

    @property
    def answers(self) -> bool:
        return self.is_alive and not self.is_frozen

    # --- what happens to it ---

    def start(self) -> None:
        self.is_alive = True
        self._network.listen(self.address, self._serve)

    def kill(self) -> None:
        """It ends; what it has stays in its file."""
        self.is_alive = False
        self._network.stop_listening(self.address)
        self._drop_connections()
        self.replicas.clear()
        if self.primary is not None:
            self.primary.replicas.pop(self, None)

    def freeze(self) -> None:
        self._running = trio.Event()

    def thaw(self) -> None:
        self._running.set()

    def follow(self, primary: "Node") -> None:
        """Become a replica: it takes all that the primary has, and its clients have to look for that."""
        self.primary = primary
        self.replicas.clear()
        self.items = dict(primary.items)
        self._followed_until = primary._changes
        link = primary.replicas[self] = Link(primary.lag, primary._changes)
        self._network.nursery.start_soon(primary.replicate, self, link)
        self._drop_connections()

    def promote(self) -> None:
        if self.primary is not None:
            self.primary.replicas.pop(self, None)
        self.primary = None

    def _drop_connections(self) -> None:
        for scope in self._serving:
            scope.cancel()

    def has_followed(self, primary: "Node") -> int:
        """How many of its changes this replica has."""
        return self._followed_until if self.primary is primary else -1

    # --- what it replies ---

    async def _serve(self, stream: MemoryStream) -> None:
        scope = trio.CancelScope()
        self._serving.add(scope)
        try:
            with scope:
                await serve_commands(stream, self._carry_out)
        finally:
            self._serving.discard(scope)

    async def _carry_out(self, command: list[bytes]) -> object:
        await self._running.wait()
        name, *words = command
        name = name.upper()
        if self.primary is not None and name not in READING:
            return hiredis.ReplyError("READONLY You can't write against a read only replica.")
        if name == b"WAIT":
            return await self._wait(int(words[0]), int(words[1]) / 1000)
        return self._reply(name, words)

    def _reply(self, name: bytes, words: list[bytes]) -> object:
        match name:
            case b"HELLO":
                return [b"server", b"valkey", b"version", b"9.0.0", b"mode", b"standalone"]
            case b"ROLE" if self.primary is None:
                return [b"master", self._changes, [[b"", b"", b""] for _ in self.replicas]]
            case b"ROLE":
                return [b"slave", b"", 0, b"connected", 0]
            case b"TIME":
                return [b"%d" % int(self._now / 1000), b"%d" % (self._now % 1000 * 1000)]
            case b"INFO":
                return b"maxmemory_policy:noeviction\r\nconnected_slaves:%d\r\n" % len(self.replicas)
            case b"SCRIPT":
                return b"loaded"
            case b"GET":
                item = self.items.get(words[0])
                return None if item is None else item.value
            case b"SET":
                if b"NX" in words and words[0] in self.items:
                    return None
                self.items[words[0]] = Item(words[1])
                self._changed(words[0])
                return "OK"
            case b"EVALSHA":
                return self._run(_BY_HASH[words[0]], words[2], words[3:])
            case b"EVAL" if words[0] == ADVANCE.source:
                advanced = script_model.advance(self.items, words[2], words[3])
                self._changed(words[2])
                return advanced
            case b"EVAL" if words[0] in _BY_SOURCE:
                return self._run(_BY_SOURCE[words[0]], words[2], words[3:])
            case b"EVAL":
                return 1
        raise AssertionError(name)

    @property
    def _now(self) -> int:
        """Milliseconds of Unix time."""
        return int((WALL + trio.current_time()) * 1000)

    def _run(self, script: Script, name: bytes, words: list[bytes]) -> object:
        item = self.items.get(name)
        if item is not None and item.expires_at is not None and item.expires_at <= self._now:
            del self.items[name]
        reply = script_model.run(script.name, self.items, name, words, self._now)
        self._changed(name)
        return reply

    # --- replication ---

    def _changed(self, name: bytes) -> None:
        """Have replicas follow an item that may have changed."""
        self._changes += 1
        for link in self.replicas.values():
            link.put(name, self.items.get(name), self._changes)

    async def replicate(self, replica: "Node", link: "Link") -> None:
        """Have a replica follow, change by change, for as long as it is one."""
        await trio.sleep(self.lag)
        link.followed = link.begins_with
        async for due_at, name, item, number in link.changes:
            await trio.sleep_until(due_at)
            await self._running.wait()
            await replica._running.wait()
            if self.replicas.get(replica) is not link:
                return
            if item is None:
                replica.items.pop(name, None)
            else:
                replica.items[name] = item
            link.followed = replica._followed_until = number
            followed, self._followed = self._followed, trio.Event()
            followed.set()

    async def _wait(self, wanted: int, seconds: float) -> int:
        number = self._changes
        with trio.move_on_after(seconds):
            while self._count(number) < wanted:
                await self._followed.wait()
        await self._running.wait()
        return self._count(number)

    def _count(self, number: int) -> int:
        return sum(link.followed >= number for link in self.replicas.values())


@dataclass
class Sentinel:
    """One of those who know the primary, and replace it."""

    address: Address
    primary: Node
    replicas: int
    others: int = 2
    config_epoch: int = 0
    vote_epoch: int = 0
    is_leading: bool = False

    async def serve(self, stream: MemoryStream) -> None:
        await serve_commands(stream, self._reply)

    async def _reply(self, command: list[bytes]) -> object:
        where = self.primary.address
        match command[1].upper():
            case b"MASTER":
                flags = "master,failover_in_progress" if self.is_leading else "master"
                told = {
                    "name": GROUP,
                    "ip": where.host,
                    "port": str(where.port),
                    "flags": flags,
                    "num-slaves": str(self.replicas),
                    "num-other-sentinels": str(self.others),
                    "config-epoch": str(self.config_epoch),
                }
                return [word.encode() for pair in told.items() for word in pair]
            case b"IS-MASTER-DOWN-BY-ADDR":
                return [0, b"*", self.vote_epoch]
        raise AssertionError(command)


@dataclass
class SentinelGroup:
    """Three Sentinels, and the nodes that they watch; the first node is the primary."""

    network: Network
    nodes: list[Node]
    rng: ActorRandom
    sentinels: list[Sentinel] = field(default_factory=list)
    failovers: int = 0

    def __post_init__(self) -> None:
        primary, *others = self.nodes
        for number in range(1, 4):
            sentinel = Sentinel(Address(f"10.2.0.{number}", 26379), primary, len(others))
            self.network.listen(sentinel.address, sentinel.serve)
            self.sentinels.append(sentinel)
        for each in others:
            each.follow(primary)

    @property
    def primary(self) -> Node:
        return self.sentinels[0].primary

    async def run(self) -> None:
        """Replace the primary whenever it has been down for long enough."""
        seen_at = trio.current_time()
        while True:
            await trio.sleep(0.1)
            if self.primary.answers:
                seen_at = trio.current_time()
            elif trio.current_time() - seen_at >= DOWN_AFTER and any(
                each.answers for each in self.nodes if each is not self.primary
            ):
                await self._fail_over()
                seen_at = trio.current_time()

    async def _fail_over(self) -> None:
        leader, *others = self.sentinels
        former, epoch = leader.primary, leader.config_epoch + 1
        for each in self.sentinels:  # all of them vote before anything else happens
            each.vote_epoch = epoch
        leader.is_leading = True
        await trio.sleep(self.rng.uniform(0.05, 0.3))
        following = max(
            (each for each in self.nodes if each.answers and each is not former),
            key=lambda each: each.has_followed(former),
        )
        following.promote()
        self.failovers += 1
        for node in self.nodes:
            if node not in (former, following) and node.is_alive:
                node.follow(following)
        await trio.sleep(self.rng.uniform(0.0, 0.1))
        leader.primary, leader.config_epoch, leader.is_leading = following, epoch, False
        for sentinel in others:
            await trio.sleep(self.rng.uniform(0.0, 0.2))
            sentinel.primary, sentinel.config_epoch = following, epoch
        self.network.nursery.start_soon(self._tell, former, following)

    async def _tell(self, former: Node, following: Node) -> None:
        """Make a former primary a replica when it is back."""
        await until(lambda: former.answers)
        await trio.sleep(TOLD_AFTER)
        if former.answers and following.primary is None and former is not following:
            former.follow(following)
