"""How a router stands: whether it is the active one of its farm, and what it knows of its servers.

Only the active router probes. For a standby a server is UP that has answered when it looked last, and
nothing more is known of it (design.md 5.3).
"""

from typing import TYPE_CHECKING

from partitioner.membership.backend import BackendId
from partitioner.membership.tenure import Role

MOST_NAMED = 5
"""Servers in one sentence."""

if TYPE_CHECKING:  # a state server, whose status line stands beside that of routers, has no core
    from partitioner.routing.core import RouterCore

IS_STANDBY = "this router is a standby; ask the active one"


def role_of(core: "RouterCore") -> Role:
    """The role of the router. One with embedded servers is always active: no other router can serve them."""
    return Role.ACTIVE if core.tenure is None else core.tenure.authority.role


def why_standby(core: "RouterCore") -> str | None:
    """Why the router is not the active one of its farm; None: it is."""
    if core.tenure is None:
        return None
    match role_of(core):
        case Role.ACTIVE:
            return None
        case Role.CLAIMING:
            return "its claim is under way"
        case Role.STANDBY:
            return (
                why_none_answers(core)
                or core.tenure.why_not_claim()
                or "no other router is active, and no client has come here yet"
            )


def why_none_answers(core: "RouterCore") -> str | None:
    """Which servers do not answer a standby, and why, where none of them does; None: some answer it."""
    if core.tenure is None or core.tenure.servers_seen:
        return None
    failures = core.tenure.failures
    silent = [
        f"{member.backend.name} ({member.backend.address}) {failures[identity]}"
        for identity, member in core.roster.pool.members.items()
        if identity in failures
    ]
    more = len(silent) - MOST_NAMED
    rest = [f"{more} more do not answer"] if more > 0 else []
    return f"no state server answers: {', '.join([*silent[:MOST_NAMED], *rest])}" if silent else None


def dirty_of(core: "RouterCore", identity: BackendId) -> frozenset[str]:
    """What a server may lack, as the active router has it written down (reasons of membership.ledger)."""
    known = core.roster.pool.dirty if role_of(core) is Role.ACTIVE else None
    return (known or {}).get(identity, frozenset())


def why_no_server_serves(core: "RouterCore") -> str | None:
    """Why web servers should not be sent here, for want of servers; None: some are there."""
    if core.roster.pool.eligible:
        return None
    is_active = role_of(core) is Role.ACTIVE
    return "no backend is up" if is_active else "this router is a standby, and no backend answers it"
