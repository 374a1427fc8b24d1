"""The canary: an item on every backend by which the router tells one life of it from the next.

State servers have no identity: one that was restarted looks like itself and has forgotten everything.
So the router keeps an item there, a random token with the longest time-out there is, under a key made
from the router's name. While the token reads back, the server has lived on; when it is gone or
another, everything else is gone too.

It is planted insert-only and then read back, and what reads back is the token, whoever planted it. So
two routers of one name, an active one and its standby, agree on a life instead of fighting over it,
and a router that was restarted recognises the life that it knew.
"""

from collections.abc import Callable
from secrets import token_hex

from partitioner.errors import MalformedAnswer
from partitioner.net.channel import Channel
from partitioner.net.client import ask
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from partitioner.protocol.writer import write_request
from partitioner.sessions.table import LONGEST_TIMEOUT_MINUTES

CANARIES = "/partitioner/canary/"
"""Where the keys of all canaries begin. No client has any business there: whoever locks or removes one
makes a healthy backend look ill."""


MOST_TOKEN_BYTES = 1024


class Canary:
    """The canary of one router, as it is asked for on any backend."""

    def __init__(self, router_name: str, new_token: Callable[[], str] = lambda: token_hex(16)) -> None:
        """`new_token` draws a token that nobody else draws."""
        target = encode_target(f"{CANARIES}{router_name}")
        self._get = write_request(Operation.GET, target, host="partitioner")
        self._target = target
        self._new_token = new_token

    async def read(self, channel: Channel) -> bytes | None:
        """Read the token over a connection; None if there is no canary.

        Raises ConnectionBroken, ConnectionEnded or MalformedAnswer.
        """
        head, token = await ask(channel, Operation.GET, self._get, MOST_TOKEN_BYTES)
        match head.status:
            case 200:
                return token
            case 404:
                return None
        raise MalformedAnswer(f"answered {head.status} for the canary; expected 200 or 404")

    async def plant(self, channel: Channel) -> bytes:
        """Plant a canary where there is none, and read back the one that is there now.

        Raises ConnectionBroken, ConnectionEnded or MalformedAnswer.
        """
        planting = write_request(
            Operation.CREATE_UNINITIALIZED,
            self._target,
            host="partitioner",
            timeout_minutes=LONGEST_TIMEOUT_MINUTES,
            lock_cookie=0,
            body=self._new_token().encode(),
        )
        head, _ = await ask(channel, Operation.CREATE_UNINITIALIZED, planting, MOST_TOKEN_BYTES)
        if head.status != 200:
            raise MalformedAnswer(
                f"answered {head.status} when the canary was stored; expected 200. Is its memory full?"
            )
        token = await self.read(channel)
        if token is None:
            raise MalformedAnswer("had stored the canary, and then did not have it")
        return token
