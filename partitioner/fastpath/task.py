"""The express lane as a task: pumps its connections, and looks after those whose time is over.

It shares the thread with everything else. It pumps for a few milliseconds at a time, or until nothing has
come for one, and then lets all others have their turn; they cost more for each turn than a round does.
"""

import select
import socket
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple, TypeAlias

import trio

from partitioner.fastpath.connections import Client
from partitioner.fastpath.listener import Station
from partitioner.fastpath.reactor import Clock
from partitioner.fastpath.states import ClientState, Signal
from partitioner.membership.fencing import RouterConnection
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.listener import Door

OpenStation: TypeAlias = Callable[[Clock, Door], Station]


class Measure(NamedTuple):
    """For how long it pumps at most, after how much silence it lets go, and how many events a round has."""

    longest: float  # seconds
    silence: float
    events: int


ALONE = Measure(0.004, 0.001, 128)
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

    def __init__(self, open_station: OpenStation, policy: ConversationPolicy) -> None:
        """The station is opened when the lane begins to run."""
        self._open_station = open_station
        self._station: Station | None = None
        self._is_draining = False
        patience = policy.exchange * PATIENCE_SHARE
        self._times = {
            ClientState.IDLE: policy.client_idle,
            ClientState.RECEIVING: patience,
            ClientState.QUEUED: patience,
            ClientState.WAITING: patience,
            ClientState.DEAF: patience,
            ClientState.DELIVERING: policy.exchange,
            ClientState.GONE: float("inf"),
        }
        self._waiting = trio.CancelScope()

    @property
    def clients(self) -> int:
        return 0 if self._station is None else len(self._station.connected)

    @property
    def exchanges_under_way(self) -> int:
        if self._station is None:
            return 0
        return sum(client.state is not ClientState.IDLE for client in self._station.connected)

    def take(self, connected: socket.socket, peer: str, router: RouterConnection | None = None) -> None:
        """Serve a client from now on."""
        assert self._station is not None
        client = Client(connected, peer, trio.current_time())
        client.router = router
        self._station.take(client)

    def drain(self) -> None:
        """Close idle connections, and let the others finish their exchange."""
        self._is_draining = True
        if self._station is None:
            return  # it is told before it runs
        self._station.is_draining = True
        self.close_idle()
        self._waiting.cancel()

    def close_idle(self) -> None:
        """Close idle connections, and go on serving."""
        if self._station is None:
            return  # nobody is connected yet
        for client in tuple(self._station.connected):
            self._station.reactor.signal(client, Signal.LAST_CALL)

    async def run(self, door: Door) -> None:
        """Serve whoever is there, until it is drained and the last client has left."""
        station = self._station = self._open_station(_trio_clock(), door)
        station.is_draining = self._is_draining
        company = Company()
        trio.lowlevel.add_instrument(company)
        try:
            async with trio.open_nursery() as sweeping:
                sweeping.start_soon(self._sweep, station)
                is_silent = True
                while not (station.is_draining and not station.connected):
                    if is_silent:
                        await self._wait(station)
                    else:
                        await trio.lowlevel.checkpoint()  # the others' turn, at half the price of waiting
                    is_silent = _pump(station, IN_COMPANY if company.has_moved() else ALONE)
                sweeping.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(company)
            station.end()

    async def _wait(self, station: Station) -> None:
        with trio.CancelScope() as self._waiting:
            await trio.lowlevel.wait_readable(station.reactor.epoll.fileno())

    async def _sweep(self, station: Station) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            self.look_at_deadlines(station, trio.current_time())
            station.look_after(trio.current_time())
            if station.is_draining and not station.connected:
                self._waiting.cancel()

    def look_at_deadlines(self, station: Station, now: float) -> None:
        """Have those reacted to whose time is over."""
        began_before = [now - self._times[state] for state in ClientState]
        overdue = [client for client in station.connected if client.began_at < began_before[client.state]]
        for client in overdue:
            station.reactor.signal(client, Signal.OVERDUE)


def _pump(station: Station, measure: Measure) -> bool:
    """Work off rounds in this measure; answer whether it has ended in silence."""
    until = station.reactor.tell_time() + measure.longest
    while station.work_off(measure.silence, measure.events):
        if station.reactor.now >= until:
            return False
    return True


def _trio_clock() -> Clock:
    """trio's clock, at a fraction of its price. Times of both lanes are compared."""
    offset = trio.current_time() - perf_counter()
    return lambda: perf_counter() + offset
