"""What is wrong with an engine, for whoever configures one: connect, run the scripts, and look around."""

from dataclasses import dataclass
from secrets import token_bytes, token_hex

import trio

from partitioner.errors import EngineUnfit, StoreFailure
from partitioner.store.calls import OtherCall, Reply, ReplyError
from partitioner.store.cluster import SLOTS, ClusterView
from partitioner.store.connecting import Connector, Greeting
from partitioner.store.engine import topology_of
from partitioner.store.pipe import Pipe
from partitioner.store.policy import Acknowledge, StorePolicy
from partitioner.store.scripts import ABSENT, ACQUIRE, GET, INSERT, RELEASE, REMOVE, SET, Script
from partitioner.store.topology import Primary
from partitioner.transport.channel import Dial

APART = 1.0
"""Seconds by which clocks may differ: deadlines are told by the engine's, and locks dated by it."""

PATIENCE = 10.0

_BODY = b"probe"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    says: tuple[str, ...] = ()  # what the engine is
    warnings: tuple[str, ...] = ()
    trouble: str | None = None  # why it cannot be used; None if it can


async def examine(policy: StorePolicy, dial: Dial) -> Examination:
    """Look at each primary of a store; nothing is changed there but an item of our own, which is removed."""
    connector = Connector(dial, policy)
    says: list[str] = []
    warnings: list[str] = []
    try:
        with trio.fail_after(PATIENCE):
            for primary in await _primaries(policy, connector):
                pipe, greeting = await connector.open(primary.address)
                try:
                    await _probe(pipe, policy.prefix + (primary.canary or b""))
                finally:
                    pipe.close()
                says.append(_description(primary, greeting))
                warnings += _warnings(policy, primary, greeting, pipe)
    except StoreFailure as failure:
        return Examination(tuple(says), tuple(warnings), str(failure))
    except trio.TooSlowError:
        return Examination(tuple(says), tuple(warnings), f"it was not examined within {PATIENCE:g} s")
    return Examination(tuple(says), tuple(warnings))


async def _primaries(policy: StorePolicy, connector: Connector) -> list[Primary]:
    """All primaries that have sessions. Raises StoreFailure."""
    if not policy.cluster:
        return [await topology_of(policy, connector).find()]
    view = ClusterView(policy.cluster, connector)
    await view.refresh()
    missing = SLOTS - sum(last - first + 1 for each in view.shards for first, last in each.ranges)
    if missing:
        raise EngineUnfit(f"{missing} of {SLOTS} slots of the Cluster have no primary")
    return [Primary(each.primary, each.replicas, each.canary) for each in view.shards]


async def _probe(pipe: Pipe, prefix: bytes) -> None:
    """Add an item, lock it, save it, read it and remove it. Raises EngineUnfit."""
    name = prefix + b"-probe-" + token_hex(8).encode()
    steps: list[tuple[Script, tuple[bytes, ...], object]] = [
        (SET, (token_bytes(8), b"1", b"0", _BODY), ABSENT),
        (INSERT, (token_bytes(8), b"1", b"0", _BODY, b"0"), 200),
        (ACQUIRE, (token_bytes(8),), [200, 0, 2, 1, _BODY]),
        (SET, (token_bytes(8), b"1", b"2", _BODY), 200),
        (GET, (token_bytes(8),), [200, 0, -2, 1, _BODY]),
        (RELEASE, (b"2", token_bytes(8)), [200, 0]),
        (REMOVE, (b"2",), 200),
    ]
    for script, arguments, expected in steps:
        now = trio.current_time()
        call = OtherCall(script, name, arguments, now, now + PATIENCE)
        reply = await _run(pipe, call)
        if reply != expected:
            seen = str(reply) if isinstance(reply, ReplyError) else repr(reply)
            raise EngineUnfit(f"the script {script.name!r} replied {seen}; expected {expected!r}")


async def _run(pipe: Pipe, call: OtherCall) -> Reply:
    (reply,) = await pipe.introduce_raw(call.write(pipe.clock_offset), 1)
    return reply


def _description(primary: Primary, greeting: Greeting) -> str:
    replicas = greeting.replicas
    count = "no replica" if replicas == 0 else "1 replica" if replicas == 1 else f"{replicas} replicas"
    return f"{primary.address} is {greeting.engine} {greeting.version}, a primary with {count}"


def _warnings(policy: StorePolicy, primary: Primary, greeting: Greeting, pipe: Pipe) -> tuple[str, ...]:
    facts, found = greeting.facts, []
    if greeting.engine != policy.engine.value:
        found.append(f"`store.engine` is {policy.engine.value}, and it is {greeting.engine}")
    if facts is not None and not facts.is_persistent:
        found.append(
            "neither an append-only file nor snapshots are on: a restart loses all sessions, and clients are "
            "closed until `partitioner accept-loss`"
        )
    if facts is not None and not facts.max_memory:
        found.append("it has no `maxmemory`: when the machine's memory is full, the system kills it")
    if policy.acknowledge is Acknowledge.PRIMARY:
        found.append("`store.acknowledge` is primary: when it dies, what its replicas do not have is lost")
    elif primary.replicas is not None and greeting.replicas < primary.replicas:
        found.append(
            f"{primary.replicas} replicas should be there, and {greeting.replicas} are connected: "
            "requests are degraded, or closed (`store.otherwise`). SENTINEL RESET has Sentinels forget those "
            "that are gone for good, and CLUSTER FORGET nodes"
        )
    elif greeting.replicas == 0:
        found.append(f"{primary.address} has no replica: there is one copy of each session")
    apart = pipe.clock_difference()
    if abs(apart) > APART:
        found.append(
            f"its clock is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
        )
    return tuple(found)
