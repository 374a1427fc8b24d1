"""How a router stands: whether it is the active one of its farm, and what it knows of its servers.

Only the active router probes. For a standby a server is UP that has answered when it looked last, and
nothing more is known of it (design.md 5.3).
"""

from typing import TYPE_CHECKING

from partitioner.membership.tenure import Role

if TYPE_CHECKING:  # a state server, whose status line stands beside that of routers, has no lane
    from partitioner.routing.core import Lane

IS_STANDBY = "this router is a standby; ask the active one"


def role_of(lane: "Lane") -> Role:
    """The role of the router. One with embedded servers is always active: nobody else can serve them."""
    return Role.ACTIVE if lane.tenure is None else lane.tenure.authority.role


def why_standby(lane: "Lane") -> str | None:
    """Why the router is not the active one of its farm; None: it is."""
    if lane.tenure is None:
        return None
    match role_of(lane):
        case Role.ACTIVE:
            return None
        case Role.CLAIMING:
            return "its claim is under way"
        case Role.STANDBY:
            return lane.tenure.why_not_claim() or "no other router is active, and no client has come here yet"


def dirty_of(lane: "Lane", identity: str) -> frozenset[str]:
    """What a server may lack, as the active router has it written down: lock, write, remove."""
    known = lane.roster.pool.dirty if role_of(lane) is Role.ACTIVE else None
    return (known or {}).get(identity, frozenset())


def why_nobody_serves(lane: "Lane") -> str | None:
    """Why web servers should not be sent here, for want of servers; None: some are there."""
    if lane.roster.pool.eligible:
        return None
    is_active = role_of(lane) is Role.ACTIVE
    return "no backend is up" if is_active else "this router is a standby, and no backend answers it"
