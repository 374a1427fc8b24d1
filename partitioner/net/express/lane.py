"""The express lane as a task: pumps its connections, and looks after those whose time is over.

It shares the thread with everything else. It pumps for a few milliseconds at a time, or until nothing has
come for one, and then lets all others have their turn; they cost more for each turn than a round does.
"""

import select
import socket
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import trio

from partitioner.net.conversation import ConversationPolicy
from partitioner.net.downstream import Door
from partitioner.net.express.connections import Client
from partitioner.net.express.relay import Relay
from partitioner.net.express.states import ClientState, Signal
from partitioner.net.lane import Lane


class Measure(NamedTuple):
    """For how long it pumps at most, after how much silence it lets go, and how many events a round has."""

    longest: float  # seconds
    silence: float
    events: int


ALONE = Measure(0.004, 0.001, 256)
IN_COMPANY = Measure(0.0005, 0.0, 32)
"""While nobody else has anything to do, and while somebody has. A page of the admin port takes a dozen turns,
each of which waits for a round to end; at every turn the others cost as much as two exchanges."""

SWEEP_INTERVAL = 0.25
"""Seconds between two looks at whose time is over."""

PATIENCE_SHARE = 0.5
"""Of the time for an exchange: what takes longer is not ordinary any more. The await lane waits for the rest
of it, to the exact deadline. Were it less, a busy hour would send all over to where exchanges cost more."""

IS_AVAILABLE = hasattr(select, "epoll")
"""Whether this system has what the express lane needs; elsewhere the await lane serves alone."""


class Company(trio.abc.Instrument):
    """Notices whether other tasks have anything to do."""

    def __init__(self) -> None:
        self._steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps += 1

    def has_moved(self) -> bool:
        """Whether anybody but the task that asks has made a step since it last asked."""
        steps, self._steps = self._steps, 0
        return steps > 1


class ExpressLane:
    """Serves clients whose exchanges are ordinary. This is the OtherLane of a Downstream."""

    def __init__(self, lane: Lane, policy: ConversationPolicy, backend_idle: float) -> None:
        """Shares everything with the await lane. `backend_idle` is for how long links are kept idle."""
        self._lane = lane
        self._policy = policy
        self._backend_idle = backend_idle
        self._relay: Relay | None = None
        patience = policy.exchange * PATIENCE_SHARE
        self._times = {
            ClientState.IDLE: policy.client_idle,
            ClientState.RECEIVING: patience,
            ClientState.QUEUED: patience,
            ClientState.WAITING: patience,
            ClientState.DEAF: patience,
            ClientState.DELIVERING: policy.exchange,
        }
        self._waiting = trio.CancelScope()

    @property
    def clients(self) -> int:
        return 0 if self._relay is None else len(self._relay.connected)

    @property
    def exchanges_under_way(self) -> int:
        if self._relay is None:
            return 0
        return sum(client.state is not ClientState.IDLE for client in self._relay.connected)

    def take(self, connected: socket.socket, peer: str) -> None:
        """Serve a client from now on."""
        assert self._relay is not None
        self._relay.take(Client(connected, peer, trio.current_time()))

    def drain(self) -> None:
        """Close idle connections, and let the others finish their exchange."""
        if self._relay is None:
            return
        self._relay.is_draining = True
        for client in tuple(self._relay.connected):
            self._relay.reactor.signal(client, Signal.LAST_CALL)
        self._waiting.cancel()

    async def run(self, door: Door) -> None:
        """Serve whoever is there, until it is drained and the last client has left."""
        relay = self._relay = Relay(self._lane, self._policy, _trio_clock(), door)
        company = Company()
        trio.lowlevel.add_instrument(company)
        self._lane.toucher.shortcut = relay.touch
        try:
            async with trio.open_nursery() as sweeping:
                sweeping.start_soon(self._sweep, relay)
                while not (relay.is_draining and not relay.connected):
                    await self._wait(relay)
                    self._pump(relay, IN_COMPANY if company.has_moved() else ALONE)
                sweeping.cancel_scope.cancel()
        finally:
            self._lane.toucher.shortcut = None
            trio.lowlevel.remove_instrument(company)
            relay.end()

    async def _wait(self, relay: Relay) -> None:
        with trio.CancelScope() as self._waiting:
            await trio.lowlevel.wait_readable(relay.reactor.epoll.fileno())

    def _pump(self, relay: Relay, measure: Measure) -> None:
        until = perf_counter() + measure.longest
        while relay.work_off(measure.silence, measure.events) and perf_counter() < until:
            pass

    async def _sweep(self, relay: Relay) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            self.look_at_deadlines(relay, trio.current_time())
            relay.look_at_queues(trio.current_time())
            if relay.is_draining and not relay.connected:
                self._waiting.cancel()

    def look_at_deadlines(self, relay: Relay, now: float) -> None:
        """Have those reacted to whose time is over."""
        began_before = [now - self._times[state] for state in ClientState]
        overdue = [client for client in relay.connected if client.began_at < began_before[client.state]]
        for client in overdue:
            relay.reactor.signal(client, Signal.OVERDUE)
        for link in relay.idle_links_before(now - self._backend_idle):
            relay.reactor.signal(link, Signal.OVERDUE)
        for link in relay.copies_before(now - self._lane.policy.copy * PATIENCE_SHARE):
            relay.reactor.signal(link, Signal.OVERDUE)


def _trio_clock() -> Callable[[], float]:
    """trio's clock, at a fraction of its price. Times of both lanes are compared."""
    offset = trio.current_time() - perf_counter()
    return lambda: perf_counter() + offset
