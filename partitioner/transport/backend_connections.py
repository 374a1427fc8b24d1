"""The side towards one backend: its connections, idle and leased.

Idle connections are a stack, so that under light load a few stay warm and the others grow old and are
retired before the backend closes them. Every new connection reads the canary first. Connections are
bounded; one that went unanswered counts until its end of file, so a frozen backend cannot collect
more of them than a busy one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from partitioner.errors import BackendEjected, BackendFailure, BackendRestarted, Phase
from partitioner.membership.backend import Address, Backend
from partitioner.transport.backend_exchange import Lease
from partitioner.transport.channel import Channel
from partitioner.transport.connector import Connector
from partitioner.transport.exchange_states import Ending
from partitioner.transport.half_closed import HalfClosedWatch
from partitioner.transport.limits import ConnectionLimit
from partitioner.transport.messages import Request, Response
from partitioner.transport.shortcomings import Shortcoming, Shortcomings
from partitioner.transport.slices import in_slices
from partitioner.transport.traffic import Traffic

HELD_BODY = 64 * 1024
"""Bytes of a body that are held whole: an answer of that size is only passed on when it is complete, a
request only when all of it has come. Most sessions are far smaller; longer ones stream through."""


SILENT = 1.0
"""Seconds for which a request must have waited when a new connection is opened, and answered, before it says
something of the older ones: a thousand times what an exchange takes."""


@dataclass(frozen=True, slots=True)
class UpstreamPolicy:
    """How connections to backends are kept. Times are seconds."""

    connect: float
    idle: float
    connections: int


class UnansweredListener(Protocol):
    """Wants to know of requests that went unanswered, because they may be carried out all the same."""

    def went_unanswered(self, lease: Lease) -> None:
        """A request was written, wholly or in part, and no answer will be had."""

    def was_worked_off(self, lease: Lease) -> None:
        """Its connection has ended: the backend will do nothing more about it."""


class FastPathLinks(Protocol):
    """Where the fast path keeps its connections to the same backend."""

    @property
    def busy(self) -> int:
        """How many are used for an exchange."""

    @property
    def idle(self) -> int:
        """How many are idle."""

    @property
    def waits_since(self) -> float:
        """Since when the oldest request over them has waited for its answer; infinity if there is none."""

    def maybe_channel(self) -> Channel | None:
        """Give an idle one away."""

    def cut(self) -> None:
        """Let nothing reach a client that comes over them from now on, and close the idle ones."""

    def close_idle(self) -> None:
        """Close the idle ones."""

    def break_off(self) -> None:
        """Close the idle ones; give leases for the others, to be broken off with the rest."""


class Upstream:
    """The connections to one backend."""

    def __init__(
        self,
        backend: Backend,
        connector: Connector,
        policy: UpstreamPolicy,
        unanswered_listener: UnansweredListener,
        background: trio.Nursery,
        on_shortcoming: Callable[[Backend, Shortcoming], None] = lambda backend, shortcoming: None,
    ) -> None:
        """`background` outlives every exchange: unanswered connections are watched there."""
        self.backend = backend
        self._connector = connector
        self._policy = policy
        self._unanswered_listener = unanswered_listener
        self.shortcomings = Shortcomings(lambda seen: on_shortcoming(self.backend, seen))
        self._background = background
        self.half_closed = HalfClosedWatch(
            background, lambda: self.shortcomings.note(Shortcoming.KEEPS_HALF_CLOSED)
        )
        self.traffic = Traffic()
        self.fast_links: FastPathLinks | None = None  # of the fast path, if there is one
        self.incarnation: bytes | None = None  # None while the backend is out
        self._known_incarnation: bytes | None = None  # the last one
        self._idle: list[tuple[Channel, float]] = []  # the youngest last; with the time of their return
        self._leases: dict[Lease, None] = {}  # in order: a run of the simulation must be repeatable
        self.limit = ConnectionLimit(policy.connections)
        self._waiting: dict[trio.CancelScope, None] = {}  # for a place

    def __repr__(self) -> str:
        return f"<Upstream {self.backend}, {self.leased} leased, {self.idle} idle>"

    @property
    def leases(self) -> tuple[Lease, ...]:
        """The exchanges under way, those of the fast path apart."""
        return tuple(self._leases)

    @property
    def leased(self) -> int:
        """How many connections are used for an exchange."""
        return len(self._leases) + (self.fast_links.busy if self.fast_links is not None else 0)

    @property
    def idle(self) -> int:
        """How many connections are idle."""
        return len(self._idle) + (self.fast_links.idle if self.fast_links is not None else 0)

    def adopt(self, policy: UpstreamPolicy) -> None:
        """From now on keep connections so; those that are too many are closed as their exchanges end."""
        self._policy = policy
        self.limit.resize(policy.connections)

    def share(self, fast_links: FastPathLinks) -> None:
        """The fast path has connections to the backend as well; they count, and end, with the others."""
        self.fast_links = fast_links

    def end_sharing(self) -> None:
        """The fast path has none any more."""
        self.fast_links = None

    def reinstate(self, incarnation: bytes) -> None:
        """Take exchanges for the backend, in this incarnation of it."""
        if incarnation != self._known_incarnation:
            self.shortcomings.clear()
        self.incarnation = self._known_incarnation = incarnation

    def cut(self) -> None:
        """Take none any more, and let nothing reach a client that the backend says from now on."""
        self.incarnation = None
        for lease in self.leases:
            lease.cut()
        in_slices(Lease.wake_cut, self.leases, self._background)
        if self.fast_links is not None:
            self.fast_links.cut()
        in_slices(trio.CancelScope.cancel, tuple(self._waiting), self._background)
        self.close_idle()

    def break_off(self) -> None:
        """Close every connection now: nothing more is sent over it, or taken from it.

        The backend is not to blame, and goes on being asked, over new connections.
        """
        if self.fast_links is not None:
            self.fast_links.break_off()
        for lease in self.leases:
            lease.break_off()
        self.half_closed.break_off()
        self.close_idle()

    def close_idle(self) -> None:
        """Close the idle connections."""
        for channel, _ in self._idle:
            channel.close_in_order()
        self._idle.clear()
        if self.fast_links is not None:
            self.fast_links.close_idle()

    def note_probed(self, began_at: float) -> None:
        """A new connection, opened then, was answered.

        Where older requests still wait, the connections are to blame, and not the backend: a firewall between
        may have forgotten them. The idle ones are given no more requests.
        """
        waiting_since = min((lease.waits_since for lease in self.leases), default=float("inf"))
        if self.fast_links is not None:
            waiting_since = min(waiting_since, self.fast_links.waits_since)
        if waiting_since < began_at - SILENT:
            self.close_idle()

    def retire_idle(self) -> None:
        """Close the connections that have been idle for a while, before the backend does."""
        oldest = trio.current_time() - self._policy.idle
        while self._idle and self._idle[0][1] < oldest:
            self._idle.pop(0)[0].close_in_order()

    async def exchange(self, request: Request) -> Response:
        """Carry out one exchange.

        Raises BackendFailure, or ClientGone if the client's body stops coming.
        """
        try:
            await self._take_place()
            try:
                lease = await self._lease(request)
            except BaseException:
                self.limit.give_back()
                raise
        except BaseException:
            self.traffic.failed(Phase.CONNECTING)
            raise
        self._leases[lease] = None
        return await lease.exchange(HELD_BODY)

    async def _take_place(self) -> None:
        """Wait for one of the connections that there may be, or for the ejection."""
        if self.limit.free:
            await self.limit.take()
            return
        with trio.CancelScope() as waiting:
            self._waiting[waiting] = None
            try:
                await self.limit.take()
                return
            finally:
                self._waiting.pop(waiting, None)
        raise BackendEjected(self.backend.identity, Phase.CONNECTING, "was ejected")

    async def _lease(self, request: Request) -> Lease:
        self._refuse_when_out()
        channel = self.maybe_idle_channel()
        if channel is None and self.fast_links is not None:
            channel = self.fast_links.maybe_channel()
        is_reused = channel is not None
        if channel is None:
            channel = await self._connect()
        assert self.incarnation is not None  # nothing was awaited since it was looked at
        return self._new_lease(channel, self.incarnation, request, is_reused=is_reused)

    def take_up(self, channel: Channel, incarnation: bytes, request: Request) -> Lease:
        """A lease for an exchange that the fast path has begun, over this connection, in its place."""
        lease = self._new_lease(channel, incarnation, request, is_reused=True)
        self._leases[lease] = None
        return lease

    def _new_lease(self, channel: Channel, incarnation: bytes, request: Request, *, is_reused: bool) -> Lease:
        return Lease(
            self.backend,
            incarnation,
            channel,
            request,
            is_reused=is_reused,
            traffic=self.traffic,
            shortcomings=self.shortcomings,
            on_end=self._on_lease_end,
        )

    def _refuse_when_out(self) -> None:
        if self.incarnation is None:
            raise BackendEjected(self.backend.identity, Phase.CONNECTING, "was ejected")

    def _refuse_when_moved_from(self, address: Address, failure: BackendFailure | None = None) -> None:
        """What is found at the former address, another server or none, is not this one's failure."""
        if self.backend.address != address:
            raise BackendEjected(self.backend.identity, Phase.CONNECTING, "has moved") from failure

    def maybe_idle_channel(self) -> Channel | None:
        """The youngest of the idle connections that is still good."""
        self.retire_idle()
        while self._idle:
            channel, _ = self._idle.pop()
            if channel.is_quiet():
                return channel
            channel.close_in_order()  # the backend has closed it, or talks without being asked
        return None

    async def _connect(self) -> Channel:
        incarnation, address = self.incarnation, self.backend.address
        try:
            channel, canary = await self._connector.connect(self.backend, self._policy.connect)
        except BackendFailure as failure:
            self._refuse_when_moved_from(address, failure)
            raise
        if self.incarnation != incarnation:
            # It was ejected, and may be back, since it was asked: what it said of its incarnation is old
            # news.
            channel.close_in_order()
            raise BackendEjected(self.backend.identity, Phase.CONNECTING, "was ejected")
        if canary is not None and canary.token == incarnation:
            return channel
        channel.close_in_order()
        self._refuse_when_moved_from(address)
        detail = "has forgotten its canary" if canary is None else "has another canary"
        raise BackendRestarted(self.backend.identity, Phase.CONNECTING, detail)

    def _on_lease_end(self, lease: Lease, ending: Ending) -> None:
        self._leases.pop(lease, None)
        if ending is not Ending.REUSABLE and lease.was_written:
            self._unanswered_listener.went_unanswered(lease)
        if lease.was_lost:
            self.close_idle()  # the others likely are forgotten as well: a retry gets a new one
        if ending is Ending.UNANSWERED and lease.was_broken_off:
            self.limit.give_back()  # the connection is gone; what may still be carried out takes no place
            self.half_closed.keep(lease, self._on_worked_off)
            return
        if ending is Ending.UNANSWERED:
            self.half_closed.keep(lease, self._on_connection_end)
            return
        if ending is Ending.REUSABLE:
            assert self.incarnation == lease.incarnation  # or it had been cut, and gone unanswered
            self.limit.give_back()
            self._idle.append((lease.channel, trio.current_time()))
            return
        lease.channel.close()
        if ending is Ending.STALE:
            self.close_idle()  # the others likely are dead as well: a retry gets a new one
        self._on_connection_end(lease)

    def _on_connection_end(self, lease: Lease) -> None:
        self.limit.give_back()
        self._on_worked_off(lease)

    def _on_worked_off(self, lease: Lease) -> None:
        if lease.was_written:
            self._unanswered_listener.was_worked_off(lease)
