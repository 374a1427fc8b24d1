"""The fast path as a task: pumps its connections, and looks after those whose time is over.

It shares the thread with everything else. It pumps for a few milliseconds at a time, or until nothing has
come for one, and then lets all others have their turn; they cost more for each turn than a round does.
"""

import select
import socket
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import NamedTuple, TypeAlias

import trio

from partitioner.fastpath.connections import Client
from partitioner.fastpath.listener import FastListener
from partitioner.fastpath.reactor import Clock
from partitioner.fastpath.states import ClientState, Signal
from partitioner.membership.fencing import RouterConnection
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.listener import ClientHandoff

OpenListener: TypeAlias = Callable[[Clock, ClientHandoff], FastListener]


class PumpBudget(NamedTuple):
    """For how long it pumps at most, after how much silence it lets go, and how many events a round has."""

    longest: float  # seconds
    silence: float
    events: int


ALONE = PumpBudget(0.004, 0.001, 128)
SHARED = PumpBudget(0.0005, 0.0, 32)
"""While no other task has anything to do, and while one has. A page of the admin port takes a dozen turns,
each of which waits for a round to end; at every turn the others cost as much as two exchanges."""

SWEEP_INTERVAL = 0.25
"""Seconds between two looks at whose time is over."""

SLICE = 16
"""Connections that are reacted to in one go where many are overdue at once: a millisecond or two."""

PATIENCE_SHARE = 0.5
"""Of the time for an exchange: what takes longer is not ordinary any more. The slow path waits for the rest
of it, to the exact deadline. A smaller share would push exchanges
to the slow path under load, which costs more exactly then."""

IS_AVAILABLE = hasattr(select, "epoll")
"""Whether this system has what the fast path needs; elsewhere the slow path serves alone."""


class LoopActivity(trio.abc.Instrument):
    """Notices whether other tasks have anything to do."""

    def __init__(self) -> None:
        self._steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps += 1

    def has_moved(self) -> bool:
        """Whether any task but the one that asks has made a step since it last asked."""
        steps, self._steps = self._steps, 0
        return steps > 1


class FastPathTask:
    """Serves clients whose exchanges are ordinary. This is the FastPath of a Downstream."""

    def __init__(
        self, open_listener: OpenListener, policy: ConversationPolicy, alone: PumpBudget = ALONE
    ) -> None:
        """The listener is opened when the fast path begins to run.

        `alone` is its budget while no other task has anything to do.
        """
        self._alone = alone
        self._open_listener = open_listener
        self._listener: FastListener | None = None
        self._is_stopping = False
        self._policy = policy
        self._waiting = trio.CancelScope()

    @property
    def clients(self) -> int:
        return 0 if self._listener is None else len(self._listener.connected)

    @property
    def exchanges_under_way(self) -> int:
        if self._listener is None:
            return 0
        return sum(client.state is not ClientState.IDLE for client in self._listener.connected)

    def take(self, connected: socket.socket, peer: str, router: RouterConnection | None = None) -> None:
        """Serve a client from now on."""
        assert self._listener is not None
        client = Client(connected, peer, trio.current_time())
        client.router = router
        self._listener.take(client)

    def stop(self) -> None:
        """Close idle connections, and let the others finish their exchange."""
        self._is_stopping = True
        if self._listener is None:
            return  # it is told before it runs
        self._listener.clients.is_stopping = True
        self.close_idle()
        self._waiting.cancel()

    def close_idle(self) -> None:
        """Close idle connections, and go on serving."""
        if self._listener is None:
            return  # no client is connected yet
        for client in tuple(self._listener.connected):
            self._listener.signal(client, Signal.SHUTDOWN)

    async def run(self, client_handoff: ClientHandoff) -> None:
        """Serve the clients that there are, until it is stopped and the last client has left."""
        listener = self._listener = self._open_listener(_trio_clock(), client_handoff)
        listener.clients.is_stopping = self._is_stopping
        activity = LoopActivity()
        trio.lowlevel.add_instrument(activity)
        try:
            async with trio.open_nursery() as sweeping:
                sweeping.start_soon(self._sweep, listener)
                is_silent = True
                while not (listener.clients.is_stopping and not listener.connected):
                    if is_silent:
                        await self._wait(listener)
                    else:
                        await trio.lowlevel.checkpoint()  # the others' turn, at half the price of waiting
                    is_silent = _pump(listener, SHARED if activity.has_moved() else self._alone)
                sweeping.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(activity)
            listener.end()

    async def _wait(self, listener: FastListener) -> None:
        with trio.CancelScope() as self._waiting:
            await trio.lowlevel.wait_readable(listener.reactor.epoll.fileno())

    async def _sweep(self, listener: FastListener) -> None:
        looked_at, is_overdue = trio.current_time(), False
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            looked_before, looked_at = looked_at, trio.current_time()
            is_overdue = not is_overdue and looked_at - looked_before > 2 * SWEEP_INTERVAL
            if is_overdue:
                continue  # this process was stopped, or busy: what has come meanwhile is taken in first
            for _ in self.look_at_deadlines(listener, looked_at):
                await trio.lowlevel.checkpoint()
            for _ in listener.look_after(trio.current_time()):
                await trio.lowlevel.checkpoint()
            if listener.clients.is_stopping and not listener.connected:
                self._waiting.cancel()

    def look_at_deadlines(self, listener: FastListener, now: float) -> Iterator[None]:
        """Have those reacted to whose time is over, the oldest first; pauses between slices."""
        times = _times(self._policy)
        began_before = [now - times[state] for state in ClientState]
        timed_out = [client for client in listener.connected if client.began_at < began_before[client.state]]
        timed_out.sort(key=lambda client: client.began_at)
        for index, client in enumerate(timed_out):
            if client.began_at < began_before[client.state]:  # it may have got on meanwhile
                listener.signal(client, Signal.TIMED_OUT)
            if index % SLICE == SLICE - 1:
                yield


def _times(policy: ConversationPolicy) -> dict[ClientState, float]:
    """How long a client may be in a state, in seconds."""
    patience = policy.exchange * PATIENCE_SHARE
    return {
        ClientState.IDLE: policy.client_idle,
        ClientState.RECEIVING: policy.exchange,
        ClientState.QUEUED: patience,
        ClientState.WAITING: patience,
        ClientState.PAUSED: patience,
        ClientState.DELIVERING: policy.exchange,
        ClientState.GONE: float("inf"),
    }


def _pump(listener: FastListener, budget: PumpBudget) -> bool:
    """Work off rounds in this measure; return whether it has ended in silence."""
    until = listener.reactor.tell_time() + budget.longest
    while listener.work_off(budget.silence, budget.events):
        if listener.reactor.now >= until:
            return False
    return True


def _trio_clock() -> Clock:
    """trio's clock, at a fraction of its price. Times of both paths are compared."""
    offset = trio.current_time() - perf_counter()
    return lambda: perf_counter() + offset
