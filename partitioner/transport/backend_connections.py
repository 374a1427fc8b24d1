"""The side towards one backend: its connections, idle and leased.

Idle connections are a stack, so that under light load a few stay warm and the others grow old and are
retired before the backend closes them. Every new connection reads the canary first. Connections are
bounded; one that went unanswered counts until its end of file, so a frozen backend cannot collect
more of them than a busy one.
"""

from dataclasses import dataclass
from typing import Protocol

import trio

from partitioner.errors import BackendEjected, BackendFailure, BackendRestarted, Phase
from partitioner.membership.backend import Address, Backend
from partitioner.transport.backend_exchange import Ending, Lease
from partitioner.transport.channel import Channel
from partitioner.transport.connector import Connector
from partitioner.transport.half_closed import Vigil
from partitioner.transport.limits import Places
from partitioner.transport.messages import Request, Response
from partitioner.transport.traffic import Traffic

HELD_BODY = 64 * 1024
"""Bytes of a body that are held whole: an answer of that size is only passed on when it is complete, a
request only when all of it has come. Most sessions are far smaller; longer ones stream through."""


@dataclass(frozen=True, slots=True)
class UpstreamPolicy:
    """How connections to backends are kept. Times are seconds."""

    connect: float
    idle: float
    connections: int


class Aftermath(Protocol):
    """Wants to know of requests that went unanswered, because they may be carried out all the same."""

    def went_unanswered(self, lease: Lease) -> None:
        """A request was written, wholly or in part, and no answer will be had."""

    def was_worked_off(self, lease: Lease) -> None:
        """Its connection has ended: the backend will do nothing more about it."""


class Siding(Protocol):
    """Where another lane keeps its connections to the same backend."""

    @property
    def busy(self) -> int:
        """How many are used for an exchange."""

    @property
    def idle(self) -> int:
        """How many nobody uses."""

    def maybe_channel(self) -> Channel | None:
        """Give one away that nobody uses."""

    def cut(self) -> None:
        """Let nothing reach a client that comes over them from now on, and close those that nobody uses."""

    def close_idle(self) -> None:
        """Close those that nobody uses."""

    def break_off(self) -> None:
        """Close those that nobody uses; give leases for the others, to be broken off with the rest."""


class Upstream:
    """The connections to one backend."""

    def __init__(
        self,
        backend: Backend,
        connector: Connector,
        policy: UpstreamPolicy,
        aftermath: Aftermath,
        background: trio.Nursery,
    ) -> None:
        """`background` outlives every exchange: unanswered connections are watched there."""
        self.backend = backend
        self._connector = connector
        self._policy = policy
        self._aftermath = aftermath
        self.vigil = Vigil(background)
        self.traffic = Traffic()
        self.siding: Siding | None = None  # of the express lane, if there is one
        self.life: bytes | None = None  # None while the backend is out
        self._idle: list[tuple[Channel, float]] = []  # the youngest last; with the time of their return
        self._leases: dict[Lease, None] = {}  # in order: a run of the simulation must be repeatable
        self.places = Places(policy.connections)
        self._waiting: dict[trio.CancelScope, None] = {}  # for a place

    def __repr__(self) -> str:
        return f"<Upstream {self.backend}, {self.leased} leased, {self.idle} idle>"

    @property
    def leases(self) -> tuple[Lease, ...]:
        """The exchanges under way, those of the express lane apart."""
        return tuple(self._leases)

    @property
    def leased(self) -> int:
        """How many connections are used for an exchange."""
        return len(self._leases) + (self.siding.busy if self.siding is not None else 0)

    @property
    def idle(self) -> int:
        """How many connections nobody uses."""
        return len(self._idle) + (self.siding.idle if self.siding is not None else 0)

    def reinstate(self, life: bytes) -> None:
        """Take exchanges for the backend, in this life of it."""
        self.life = life

    def cut(self) -> None:
        """Take none any more, and let nothing reach a client that the backend says from now on."""
        self.life = None
        for lease in self.leases:
            lease.cut()
        if self.siding is not None:
            self.siding.cut()
        for waiting in tuple(self._waiting):
            waiting.cancel()
        self.close_idle()

    def break_off(self) -> None:
        """Close every connection now: nothing more is sent over it, or taken from it.

        The backend is not to blame, and goes on being asked, over new connections.
        """
        if self.siding is not None:
            self.siding.break_off()
        for lease in self.leases:
            lease.break_off()
        self.vigil.break_off()
        self.close_idle()

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        for channel, _ in self._idle:
            channel.close_in_order()
        self._idle.clear()
        if self.siding is not None:
            self.siding.close_idle()

    def retire_idle(self) -> None:
        """Close the connections that nobody has used for a while, before the backend does."""
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
                self.places.give_back()
                raise
        except BaseException:
            self.traffic.failed(Phase.CONNECTING)
            raise
        self._leases[lease] = None
        return await lease.exchange(HELD_BODY)

    async def _take_place(self) -> None:
        """Wait for one of the connections that there may be, or for the ejection."""
        if self.places.free:
            await self.places.take()
            return
        with trio.CancelScope() as waiting:
            self._waiting[waiting] = None
            try:
                await self.places.take()
                return
            finally:
                self._waiting.pop(waiting, None)
        raise BackendEjected(self.backend.identity, Phase.CONNECTING, "was ejected")

    async def _lease(self, request: Request) -> Lease:
        self._refuse_when_out()
        channel = self.maybe_idle_channel()
        if channel is None and self.siding is not None:
            channel = self.siding.maybe_channel()
        is_reused = channel is not None
        if channel is None:
            channel = await self._connect()
        assert self.life is not None  # nothing was awaited since it was looked at
        return self._new_lease(channel, self.life, request, is_reused=is_reused)

    def take_up(self, channel: Channel, life: bytes, request: Request) -> Lease:
        """A lease for an exchange that the express lane has begun, over this connection, in its place."""
        lease = self._new_lease(channel, life, request, is_reused=True)
        self._leases[lease] = None
        return lease

    def _new_lease(self, channel: Channel, life: bytes, request: Request, *, is_reused: bool) -> Lease:
        return Lease(
            self.backend,
            life,
            channel,
            request,
            is_reused=is_reused,
            traffic=self.traffic,
            on_end=self._on_lease_end,
        )

    def _refuse_when_out(self) -> None:
        if self.life is None:
            raise BackendEjected(self.backend.identity, Phase.CONNECTING, "was ejected")

    def _refuse_when_moved_from(self, address: Address, failure: BackendFailure | None = None) -> None:
        """What another server answers at the former address, or nobody, is not this one's failure."""
        if self.backend.address != address:
            raise BackendEjected(self.backend.identity, Phase.CONNECTING, "has moved") from failure

    def maybe_idle_channel(self) -> Channel | None:
        """The youngest of the connections that nobody uses, and that is still good."""
        self.retire_idle()
        while self._idle:
            channel, _ = self._idle.pop()
            if channel.is_quiet():
                return channel
            channel.close_in_order()  # the backend has closed it, or talks without being asked
        return None

    async def _connect(self) -> Channel:
        life, address = self.life, self.backend.address
        try:
            channel, canary = await self._connector.connect(self.backend, self._policy.connect)
        except BackendFailure as failure:
            self._refuse_when_moved_from(address, failure)
            raise
        if self.life != life:
            # It was ejected, and may be back, since it was asked: what it said of its life is old news.
            channel.close_in_order()
            raise BackendEjected(self.backend.identity, Phase.CONNECTING, "was ejected")
        if canary is not None and canary.token == life:
            return channel
        channel.close_in_order()
        self._refuse_when_moved_from(address)
        detail = "has forgotten its canary" if canary is None else "has another canary"
        raise BackendRestarted(self.backend.identity, Phase.CONNECTING, detail)

    def _on_lease_end(self, lease: Lease, ending: Ending) -> None:
        self._leases.pop(lease, None)
        if ending is not Ending.REUSABLE and lease.was_written:
            self._aftermath.went_unanswered(lease)
        if ending is Ending.UNANSWERED and lease.was_broken_off:
            self.places.give_back()  # the connection is gone; what may still be carried out takes no place
            self.vigil.keep(lease, self._on_worked_off)
            return
        if ending is Ending.UNANSWERED:
            self.vigil.keep(lease, self._on_connection_end)
            return
        if ending is Ending.REUSABLE:
            assert self.life == lease.life  # or it had been cut, and gone unanswered
            self.places.give_back()
            self._idle.append((lease.channel, trio.current_time()))
            return
        lease.channel.close()
        if ending is Ending.STALE:
            self.close_idle()  # the others likely are dead as well: a second try gets a new one
        self._on_connection_end(lease)

    def _on_connection_end(self, lease: Lease) -> None:
        self.places.give_back()
        self._on_worked_off(lease)

    def _on_worked_off(self, lease: Lease) -> None:
        if lease.was_written:
            self._aftermath.was_worked_off(lease)
