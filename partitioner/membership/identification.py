"""Which memory is whose: a pool's members when backends are entered, moved or renamed (design.md 5.1)."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from partitioner.errors import Refused
from partitioner.membership.backend import Address, Backend, BackendId, Intent, free_identity
from partitioner.membership.health import Health, HealthPolicy, newcomer, put_aside
from partitioner.membership.pool import Member, Pool


def members_for(
    pool: Pool,
    backends: Sequence[Backend],
    seen: Mapping[Address, bytes],
    policy: HealthPolicy,
    now: float,
) -> dict[BackendId, Member]:
    """The members that these backends are, by identity: of the pool where it knows them, or new ones.

    `seen` says which canary tokens were just read at which addresses.

    Raises Refused if none of them would be ready, or if two of them are one server.
    """
    if all(each.intent is not Intent.READY for each in backends):
        raise Refused("no backend would be ready any more; expected at least one to serve the sessions")
    members: dict[BackendId, Member] = {}
    for backend in backends:
        member = _member_for(pool, backend, seen.get(backend.address), policy, now)
        twin = members.get(member.backend.identity)
        if twin is not None:
            raise Refused(
                f"{backend.name} ({backend.address}) is the same server as "
                f"{twin.backend.name} ({twin.backend.address}); expected each server once"
            )
        members[member.backend.identity] = member
    return members


def _member_for(pool: Pool, backend: Backend, seen: bytes | None, policy: HealthPolicy, now: float) -> Member:
    """The member that this backend is: one that is known by its token or as it was, or a new one."""
    identity = None if seen is None else pool.maybe_holder_of(seen, besides=None)
    if identity is None:
        identity = _maybe_known_as(pool, backend)
    if identity is None:
        fresh = free_identity(backend, pool.members)
        return Member(replace(backend, identity=fresh), newcomer(policy))
    known = pool.members[identity]
    record = known.record
    is_put_aside = backend.intent is Intent.MAINT or known.backend.intent is Intent.MAINT
    if is_put_aside and backend.intent is not known.backend.intent:
        record = put_aside(record, now, policy)
    return Member(replace(backend, identity=identity), record)


def _maybe_known_as(pool: Pool, backend: Backend) -> BackendId | None:
    for identity, known in pool.members.items():
        if (known.backend.name, known.backend.address) == (backend.name, backend.address):
            return identity
    return None


def taken_over(
    former: Mapping[BackendId, Member], entry: BackendId, known: BackendId, policy: HealthPolicy, now: float
) -> dict[BackendId, Member]:
    """The members when the server at `entry` has turned out to have the memory of `known`.

    The former place of that memory ends at once, without a drain; where that is still configured, another
    server is expected there. The memory that `entry` has led to is away, and may turn up elsewhere.
    """
    arrived, memory = former[entry], former[known]
    members: dict[BackendId, Member] = {}
    for identity, member in former.items():
        if identity == entry:
            members[known] = Member(replace(arrived.backend, identity=known), memory.record)
        elif identity != known:
            members[identity] = member
        elif member.removed_at is None:
            vacant = _vacant(member.backend, former, policy, now)
            members[vacant.backend.identity] = vacant
    if arrived.incarnation is not None:
        away = put_aside(arrived.record, now, policy)
        members[entry] = replace(arrived, record=away, removed_at=now)
    return members


def _vacant(backend: Backend, taken: Container[BackendId], policy: HealthPolicy, now: float) -> Member:
    """An entry whose server has turned up elsewhere: it is DOWN until another one is seen there."""
    identity = free_identity(backend, taken)
    return Member(
        replace(backend, identity=identity), replace(newcomer(policy), health=Health.DOWN, since=now)
    )
