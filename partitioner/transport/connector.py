"""Opening a connection to a backend, so far that it is known which incarnation of the backend answers.

A restart has to be noticed before a client's request is sent to a server that has forgotten the
session and would say 404; so the first thing on every connection is to read the canary.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendRefused,
    BackendReset,
    BackendRestarted,
    BackendTooSlow,
    BackendUnreachable,
    ConnectionBroken,
    ConnectionEnded,
    MalformedAnswer,
    NotActive,
    NotListening,
    OutOfFiles,
    Phase,
    Unreachable,
)
from partitioner.membership.backend import Backend
from partitioner.membership.items import CanaryItem
from partitioner.transport.authority import Authority
from partitioner.transport.canary import Canary
from partitioner.transport.channel import Channel, Dial
from partitioner.transport.standstill import Standstills
from partitioner.units import format_duration

HUNG_UP_AT_ONCE = "connected and closed at once, is AllowRemoteConnection 0 there?"
"""A stock server that serves local clients only takes a connection and drops it (protocol.md 2). It shows
as an end of file or as a reset, depending on whether our first bytes had arrived."""

T = TypeVar("T")

DrawToken = Callable[[], Awaitable[bytes]]


def why_hung_up(channel: Channel | None) -> str:
    """What to make of a connection that the other end dropped while it was tried out."""
    if channel is None or not channel.has_received:
        return HUNG_UP_AT_ONCE
    return "broke off a new connection, is it a state server?"


@dataclass(frozen=True, slots=True)
class Connector:
    """Opens connections to backends, for exchanges, probes and releases alike."""

    dial: Dial
    canary: Canary
    authority: Authority | None = None  # None where no other router can have these servers
    standstills: Standstills = field(default_factory=Standstills)

    async def connect(self, backend: Backend, within: float) -> tuple[Channel, CanaryItem | None]:
        """Open a connection and read the canary on it: the channel, and the canary or None.

        Raises BackendFailure; nothing was asked of the backend then that anybody would miss.
        """
        return await self.greet(backend, within, self._reading(backend))

    async def connect_planting(
        self, backend: Backend, within: float, draw_token: DrawToken | None = None
    ) -> tuple[Channel, CanaryItem]:
        """Open a connection, and plant a canary if there is none: the channel, and the canary.

        `draw_token` draws the token of an empty memory, and writes it down before it is planted.

        Raises BackendFailure.
        """

        async def read_or_plant(channel: Channel) -> CanaryItem:
            found = await self.read(channel)
            if found is not None:
                return found
            token = None if draw_token is None else await draw_token()
            await trio.lowlevel.checkpoint_if_cancelled()  # nothing is planted after a standstill
            return await self.canary.plant(channel, token)

        return await self.greet(backend, within, read_or_plant)

    async def beat(self, backend: Backend, item: CanaryItem, within: float) -> None:
        """Write the canary of a backend anew.

        Raises BackendFailure.
        """

        async def write(channel: Channel) -> None:
            await self.read(channel)
            await self.canary.beat(channel, item)

        channel, _ = await self.greet(backend, within, write)
        channel.close_in_order()

    async def read(self, channel: Channel) -> CanaryItem | None:
        """Read the canary, and see whether this router may still write."""
        canary = await self.canary.read(channel)
        if self.authority is not None:
            await self.authority.check(channel)
        return canary

    def _reading(self, backend: Backend) -> Callable[[Channel], Awaitable[CanaryItem | None]]:
        """Read the canary of this backend, and refuse a memory that has gone back in time."""

        async def read(channel: Channel) -> CanaryItem | None:
            authority = self.authority
            before = {} if authority is None else authority.beats.snapshot()
            found = await self.read(channel)
            if found is None or authority is None:
                return found
            if authority.beats.has_gone_back(found, before):
                raise BackendRestarted(backend.identity, Phase.CONNECTING, "has gone back in time")
            return found

        return read

    async def greet(
        self, backend: Backend, within: float, greet: Callable[[Channel], Awaitable[T]]
    ) -> tuple[Channel, T]:
        """Open a connection and say the first things over it: the channel, and what came of them.

        The backend is not to blame for anything if we stood still meanwhile.

        Raises BackendFailure.
        """
        if self.authority is not None:
            await self.authority.wait_until_sure()
        return await self.look(backend, within, greet)

    async def look(
        self, backend: Backend, within: float, greet: Callable[[Channel], Awaitable[T]]
    ) -> tuple[Channel, T]:
        """The same, also where another router may have claimed while we stood still: nothing is written.

        Raises BackendFailure.
        """
        channel: Channel | None = None
        with self.standstills.guard() as scope:
            try:
                channel, greeted = await self._connect(backend, within, greet)
            except BackendFailure:
                if not scope.cancel_called:
                    raise
            else:
                if not scope.cancel_called:
                    return channel, greeted
        if channel is not None:
            channel.close()
        detail = "was not waited for: the router stood still"
        raise BackendNotAtFault(backend.identity, Phase.CONNECTING, detail)

    async def _connect(
        self, backend: Backend, within: float, greet: Callable[[Channel], Awaitable[T]]
    ) -> tuple[Channel, T]:
        channel: Channel | None = None
        was_greeted = False
        try:
            with trio.fail_after(within):
                channel = await self.dial(backend.address)
                greeted = await greet(channel)
                was_greeted = True
                return channel, greeted
        except trio.TooSlowError as error:
            did_not = "connect" if channel is None else "answer on a new connection"
            detail = f"did not {did_not} within {format_duration(within)}"
            raise BackendTooSlow(backend.identity, Phase.CONNECTING, detail) from error
        except OutOfFiles as error:
            raise BackendNotAtFault(backend.identity, Phase.CONNECTING, str(error)) from error
        except NotListening as error:
            raise BackendRefused(backend.identity, Phase.CONNECTING, str(error)) from error
        except Unreachable as error:
            raise BackendUnreachable(backend.identity, Phase.CONNECTING, str(error)) from error
        except (ConnectionBroken, ConnectionEnded) as error:
            kind = BackendReset if isinstance(error, ConnectionBroken) else BackendHungUp
            raise kind(backend.identity, Phase.CONNECTING, why_hung_up(channel)) from error
        except NotActive as error:
            raise BackendEjected(backend.identity, Phase.CONNECTING, str(error)) from error
        except MalformedAnswer as error:
            raise BackendMalformed(backend.identity, Phase.CONNECTING, str(error)) from error
        finally:
            if channel is not None and not was_greeted:
                channel.close()
