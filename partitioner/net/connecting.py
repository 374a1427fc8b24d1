"""Opening a connection to a backend, so far that it is known which life of the backend answers.

A restart has to be noticed before a client's request is sent to a server that has forgotten the
session and would say 404; so the first thing on every connection is to read the canary.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from partitioner.errors import (
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendRefused,
    BackendReset,
    BackendTooSlow,
    BackendUnreachable,
    ConnectionBroken,
    ConnectionEnded,
    MalformedAnswer,
    NobodyListens,
    OutOfFiles,
    Phase,
    Unreachable,
)
from partitioner.membership.backend import Backend
from partitioner.net.canary import Canary
from partitioner.net.channel import Channel, Dial
from partitioner.net.standstill import Standstills
from partitioner.units import format_duration

HUNG_UP_AT_ONCE = "connected and closed at once, is AllowRemoteConnection 0 there?"
"""A stock server that serves local clients only takes a connection and drops it (protocol.md 2). Whether
that shows as an end of file or as a reset hangs on whether our first bytes were there already."""

T = TypeVar("T")


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
    standstills: Standstills = field(default_factory=Standstills)

    async def connect(self, backend: Backend, within: float) -> tuple[Channel, bytes | None]:
        """Open a connection and read the canary on it: the channel, and the token or None.

        Raises BackendFailure; nothing was asked of the backend then that anybody would miss.
        """
        return await self._unless_stood_still(backend, within, self.canary.read)

    async def connect_planting(self, backend: Backend, within: float) -> tuple[Channel, bytes]:
        """Open a connection, and plant a canary if there is none: the channel, and the token.

        Raises BackendFailure.
        """

        async def read_or_plant(channel: Channel) -> bytes:
            token = await self.canary.read(channel)
            await trio.lowlevel.checkpoint_if_cancelled()  # nothing is planted after a standstill
            return token or await self.canary.plant(channel)

        return await self._unless_stood_still(backend, within, read_or_plant)

    async def _unless_stood_still(
        self, backend: Backend, within: float, greet: Callable[[Channel], Awaitable[T]]
    ) -> tuple[Channel, T]:
        """Open a connection; the backend is not to blame for anything if we stood still meanwhile."""
        channel: Channel | None = None
        with self.standstills.guard() as scope:
            try:
                channel, token = await self._connect(backend, within, greet)
            except BackendFailure:
                if not scope.cancel_called:
                    raise
            else:
                if not scope.cancel_called:
                    return channel, token
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
                token = await greet(channel)
                was_greeted = True
                return channel, token
        except trio.TooSlowError as error:
            did_not = "connect" if channel is None else "answer on a new connection"
            detail = f"did not {did_not} within {format_duration(within)}"
            raise BackendTooSlow(backend.identity, Phase.CONNECTING, detail) from error
        except OutOfFiles as error:
            raise BackendNotAtFault(backend.identity, Phase.CONNECTING, str(error)) from error
        except NobodyListens as error:
            raise BackendRefused(backend.identity, Phase.CONNECTING, str(error)) from error
        except Unreachable as error:
            raise BackendUnreachable(backend.identity, Phase.CONNECTING, str(error)) from error
        except (ConnectionBroken, ConnectionEnded) as error:
            kind = BackendReset if isinstance(error, ConnectionBroken) else BackendHungUp
            raise kind(backend.identity, Phase.CONNECTING, why_hung_up(channel)) from error
        except MalformedAnswer as error:
            raise BackendMalformed(backend.identity, Phase.CONNECTING, str(error)) from error
        finally:
            if channel is not None and not was_greeted:
                channel.close()
