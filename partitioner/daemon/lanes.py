"""What serves the sessions of a router, put together: the lanes, and what clients connect to before them."""

import trio

from partitioner.config import Lanes, Settings
from partitioner.daemon.state_dir import StateDir
from partitioner.membership.backend import Backend
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.pool import first_pool
from partitioner.net.canary import Canary
from partitioner.net.channel import dial_tcp
from partitioner.net.connecting import Connector
from partitioner.net.conversation import ConversationPolicy
from partitioner.net.downstream import Downstream, DownstreamPolicy
from partitioner.net.express.lane import IS_AVAILABLE
from partitioner.net.express.relay import relay_lane
from partitioner.net.handoff import ListKeys
from partitioner.net.lane import Lane, LanePolicy
from partitioner.net.observer import Observer
from partitioner.net.tenure import TenurePolicy
from partitioner.net.upstream import HELD_BODY, UpstreamPolicy
from partitioner.protocol.grammar import Dialect


def build_lane(
    settings: Settings,
    backends: tuple[Backend, ...],
    observer: Observer,
    background: trio.Nursery,
    list_keys: ListKeys | None = None,
    state_dir: StateDir | None = None,
) -> Lane:
    """Put the await lane together. What is known of its backends it finds out when it starts."""
    policy = _lane_policy(settings)
    pool = first_pool(backends, policy.health, settings.copies_kept(), trio.current_time())
    connector = Connector(dial_tcp, Canary(settings.name))
    return Lane(pool, policy, connector, observer, background, list_keys=list_keys, disk=state_dir)


def build_downstream(settings: Settings, lane: Lane, observer: Observer) -> Downstream:
    """Put together what clients connect to; the express lane goes with it, if there is one."""
    conversation = _conversation_policy(settings)
    express = relay_lane(lane, conversation) if has_express(settings) else None
    policy = DownstreamPolicy(settings.allow_clients, settings.limits.connections, conversation)
    downstream = Downstream(lane.router.respond, policy, observer, express)
    if lane.tenure is not None:
        # The exchanges of the others fail, because their backends' connections are cut.
        lane.tenure.authority.listeners.append(lambda _term: downstream.close_idle())
    lane.standstills.listeners.append(lambda duration: downstream.break_off("the router stood still"))
    return downstream


def has_express(settings: Settings) -> bool:
    """Whether ordinary exchanges go by the express lane, here and in embedded state servers."""
    return settings.lanes is Lanes.BOTH and IS_AVAILABLE


def lacks_express(settings: Settings) -> bool:
    """Whether the express lane is wanted, and this system has not what it needs."""
    return settings.lanes is Lanes.BOTH and not IS_AVAILABLE


def _lane_policy(settings: Settings) -> LanePolicy:
    upstream = UpstreamPolicy(
        connect=settings.timeouts.connect,
        idle=settings.timeouts.backend_idle,
        connections=settings.limits.per_backend_connections,
    )
    return LanePolicy(
        health=settings.health.policy(),
        upstream=upstream,
        ledger=LedgerPolicy(settings.session_timeout, settings.session_timeout_max, settings.limits.ledger),
        lost_sessions=settings.lost_sessions,
        hash_key=settings.hash_key,
        copy=settings.timeouts.copying,
        body_memory=settings.limits.body_memory,
        lost_after=settings.lost_after,
        tenure=None if settings.embedded else TenurePolicy(settings.name, settings.lost_after),
    )


def _conversation_policy(settings: Settings) -> ConversationPolicy:
    return ConversationPolicy(
        dialect=Dialect.GUARDED,
        exchange=settings.timeouts.exchange,
        client_idle=settings.timeouts.client_idle,
        max_body=settings.limits.body,
        held_body=HELD_BODY,
    )
