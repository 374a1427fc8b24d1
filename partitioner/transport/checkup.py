"""A backend put through its paces before it is trusted with sessions: `partitioner check --connect`.

Stores, reads, locks, saves and removes one item of its own, under a random key that is no client's
session, and compares every answer with what a state server says (protocol.md 6).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from secrets import token_hex

import trio

from partitioner.errors import (
    ConnectionBroken,
    ConnectionEnded,
    MalformedAnswer,
    NotListening,
    OutOfFiles,
    Unreachable,
)
from partitioner.membership.backend import Backend
from partitioner.membership.items import ITEMS
from partitioner.protocol.messages import AnswerHead, Operation
from partitioner.protocol.target import encode_target
from partitioner.protocol.writer import write_request
from partitioner.transport.channel import Channel, Dial
from partitioner.transport.connector import why_hung_up
from partitioner.transport.one_exchange import exchange
from partitioner.transport.shortcomings import Shortcoming, lacks_version
from partitioner.units import format_duration

TIMEOUT_MINUTES = 1
MOST_BYTES = 1024
_IS_IT_ONE = "; is it a state server or a router, and not an admin port?"
_OLD, _NEW = b"partitioner check, first content", b"partitioner check, second content"


class _Wrong(Exception):
    """The backend did what no state server does; the message completes "the backend ..."."""


async def examine(backend: Backend, dial: Dial, within: float) -> str | None:
    """Examine one backend for at most `within` seconds; return what is wrong with it, or None.

    Nothing is left behind on it, unless it stops answering in the middle: then for a minute.
    """
    channel: Channel | None = None
    try:
        with trio.fail_after(within):
            channel = await dial(backend.address)
            await _Examination(channel).run()
        with trio.move_on_after(within) as patience:
            await _see_it_closed(channel)
        if patience.cancelled_caught:
            return f"{Shortcoming.KEEPS_HALF_CLOSED}, within {format_duration(within)}"
    except trio.TooSlowError:
        did_not = "take a connection" if channel is None else "answer"
        return f"did not {did_not} within {format_duration(within)}"
    except (ConnectionEnded, ConnectionBroken):
        return why_hung_up(channel)
    except (NotListening, Unreachable, OutOfFiles, MalformedAnswer, _Wrong) as error:
        return str(error)
    finally:
        if channel is not None:
            channel.close_in_order()
    return None


async def _see_it_closed(channel: Channel) -> None:
    """Say that nothing more will be sent, and wait for the other end: a router waits for it as well."""
    with suppress(ConnectionBroken):
        await channel.send_eof()
        while await channel.receive():
            pass


async def is_router(backend: Backend, dial: Dial, within: float) -> bool:
    """Whether a router answers there: it refuses the keys of routers, whatever it does with its clients."""
    target = encode_target(f"{ITEMS}{token_hex(12)}/check")
    reading = write_request(Operation.GET, target, host="partitioner")
    answer = await _exchange_once(backend, dial, within, Operation.GET, reading)
    return answer is not None and answer[0] == 400


async def find_twins(backends: Sequence[Backend], dial: Dial, within: float) -> dict[str, Backend]:
    """Find the backends that are the same server as one before them: by name, that one.

    Each is given an item under one key, with its own name for content; where two are one server, both show
    the later name. One that does not answer within `within` seconds is not looked at.
    """
    target = encode_target(f"/partitioner-check/{token_hex(12)}")
    shown: dict[str, bytes] = {}
    for backend in backends:
        await store_item(backend, dial, target, within, backend.name.encode())
    for backend in backends:
        reading = write_request(Operation.GET, target, host="partitioner")
        found = await _exchange_once(backend, dial, within, Operation.GET, reading)
        if found is not None and found[0] == 200:
            shown[backend.name] = found[1]
    for backend in backends:
        await remove_item(backend, dial, target, within)
    return _twins(backends, shown)


async def store_item(
    backend: Backend, dial: Dial, target: bytes, within: float, content: bytes = b"partitioner check"
) -> bool:
    """Store an item for a minute; return whether the backend has taken it."""
    storing = write_request(
        Operation.SET,
        target,
        host="partitioner",
        timeout_minutes=TIMEOUT_MINUTES,
        lock_cookie=0,
        body=content,
    )
    return await _exchange_once(backend, dial, within, Operation.SET, storing) is not None


async def remove_item(backend: Backend, dial: Dial, target: bytes, within: float) -> None:
    """Remove it again, if the backend answers."""
    removing = write_request(Operation.REMOVE, target, host="partitioner", lock_cookie=0)
    await _exchange_once(backend, dial, within, Operation.REMOVE, removing)


def _twins(backends: Sequence[Backend], shown: Mapping[str, bytes]) -> dict[str, Backend]:
    firsts: dict[bytes, Backend] = {}
    twins: dict[str, Backend] = {}
    for backend in backends:
        if backend.name in shown:
            first = firsts.setdefault(shown[backend.name], backend)
            if first is not backend:
                twins[backend.name] = first
    return twins


async def _exchange_once(
    backend: Backend, dial: Dial, within: float, operation: Operation, request: bytes
) -> tuple[int, bytes] | None:
    """Ask over a connection of its own; status and content of the answer, or None if that failed."""
    channel: Channel | None = None
    try:
        with trio.fail_after(within):
            channel = await dial(backend.address)
            head, content = await exchange(channel, operation, request, MOST_BYTES)
            return head.status, content
    except (trio.TooSlowError, ConnectionEnded, ConnectionBroken, NotListening, Unreachable, OutOfFiles):
        return None
    except MalformedAnswer:
        return None
    finally:
        if channel is not None:
            channel.close()


class _Examination:
    """The steps of one examination, over one connection."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._target = encode_target(f"/partitioner-check/{token_hex(12)}")

    async def run(self) -> None:
        await self._expect("an item that does not exist", Operation.GET, 404, ask_back=_IS_IT_ONE)
        await self._expect("storing an item", Operation.SET, 200, body=_OLD)
        await self._expect("reading it", Operation.GET, 200, content=_OLD)
        locked = await self._expect("locking it", Operation.ACQUIRE, 200, content=_OLD)
        if locked.lock_cookie is None:
            raise _Wrong(Shortcoming.NO_LOCK_COOKIE)
        await self._expect("reading it while it is locked", Operation.GET, 423)
        await self._expect("saving it", Operation.SET, 200, cookie=locked.lock_cookie, body=_NEW)
        await self._expect("reading what was saved", Operation.GET, 200, content=_NEW)
        await self._expect("removing it", Operation.REMOVE, 200)
        await self._expect("reading what was removed", Operation.GET, 404)

    async def _expect(
        self,
        step: str,
        operation: Operation,
        status: int,
        *,
        cookie: int = 0,
        body: bytes = b"",
        content: bytes | None = None,
        ask_back: str = "",
    ) -> AnswerHead:
        request = write_request(
            operation,
            self._target,
            host="partitioner",
            timeout_minutes=TIMEOUT_MINUTES if body else None,
            lock_cookie=cookie,
            body=body,
        )
        head, received = await exchange(self._channel, operation, request, MOST_BYTES)
        if head.status != status:
            raise _Wrong(f"answered {head.status} to {step}; expected {status}{ask_back}")
        if content is not None and received != content:
            raise _Wrong(
                f"answered {len(received)} other bytes to {step}; expected the {len(content)} stored"
            )
        if lacks_version(head):
            raise _Wrong(Shortcoming.NO_VERSION)
        return head
