"""The items that the router keeps on every backend (membership.items), read and written over a connection.

The canary is planted insert-only and then read back, and what reads back is the token, whichever router
planted it. So two routers of one name agree on a memory instead of fighting over it, and a router that was
restarted recognises the memory that it knew.

An item that is locked, by whatever has asked for it, is released with the cookie that its refusal shows.
"""

from collections.abc import Callable
from secrets import token_hex

from partitioner.errors import MalformedAnswer
from partitioner.membership.items import (
    ITEMS,
    MOST_CANARY_BYTES,
    MOST_RECORD_BYTES,
    MOST_TERM_BYTES,
    CanaryItem,
    Term,
    TermItem,
    read_canary,
    read_term,
)
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from partitioner.protocol.writer import write_request
from partitioner.sessions.table import LONGEST_TIMEOUT_MINUTES
from partitioner.transport.channel import Channel
from partitioner.transport.one_exchange import exchange

_HOST = "partitioner"


class Canary:
    """The items of one farm, as they are asked for on any backend."""

    def __init__(self, farm: str, new_token: Callable[[], str] = lambda: token_hex(16)) -> None:
        """`farm` is the configured name; `new_token` draws a token that no other router draws."""
        self.farm = farm
        self._canary = self._target("canary")
        self._term = self._target("term")
        self.new_token = new_token

    async def read(self, channel: Channel) -> CanaryItem | None:
        """Read the canary over a connection; None if there is none.

        Raises ConnectionBroken, ConnectionEnded or MalformedAnswer.
        """
        content = await self._read(channel, self._canary, MOST_CANARY_BYTES, "the canary")
        return None if content is None else read_canary(content)

    async def plant(self, channel: Channel, token: bytes | None = None) -> CanaryItem:
        """Plant a canary, with this token or a new one, where there is none; read back what is there now.

        Raises ConnectionBroken, ConnectionEnded or MalformedAnswer.
        """
        token = token or self.new_token().encode()
        await self._write(channel, Operation.CREATE_UNINITIALIZED, self._canary, token, "the canary")
        item = await self.read(channel)
        if item is None:
            raise MalformedAnswer("had stored the canary, and then did not have it")
        return item

    async def beat(self, channel: Channel, item: CanaryItem) -> None:
        """Write the canary anew, with another beat, or with another token for the memory that it names.

        Raises ConnectionBroken, ConnectionEnded or MalformedAnswer.
        """
        await self._write(channel, Operation.SET, self._canary, item.written(), "the canary")

    # --- term and record ---

    async def read_term(self, channel: Channel) -> TermItem | None:
        """Read who may write; None if no router has claimed yet.

        Raises ConnectionBroken, ConnectionEnded or MalformedAnswer.
        """
        content = await self._read(channel, self._term, MOST_TERM_BYTES, "the term")
        return None if content is None else read_term(content)

    async def write_term(self, channel: Channel, item: TermItem) -> None:
        """Say who may write. Raises as `read_term` does."""
        await self._write(channel, Operation.SET, self._term, item.written(), "the term")

    async def read_record(self, channel: Channel, term: Term) -> bytes | None:
        """Read the record of the router that had this term, if it is there. Raises as `read_term` does."""
        return await self._read(channel, self._record(term), MOST_RECORD_BYTES, "the record")

    async def write_record(self, channel: Channel, term: Term, written: bytes) -> None:
        """Store the record of this term. Raises as `read_term` does."""
        await self._write(channel, Operation.SET, self._record(term), written, "the record")

    async def remove_record(self, channel: Channel, term: Term) -> None:
        """Remove the record of a term that is over. Raises as `read_term` does."""
        removing = write_request(Operation.REMOVE, self._record(term), host=_HOST, lock_cookie=0)
        await exchange(channel, Operation.REMOVE, removing, MOST_CANARY_BYTES)

    # --- whether two addresses lead to one server ---

    async def leave_word(self, channel: Channel, word: str) -> None:
        """Store an item under a word that no other router knows. Raises as `read_term` does."""
        target = self._target(f"word-{word}")
        await self._write(
            channel, Operation.SET, target, word.encode(), "an item of the router", timeout_minutes=1
        )

    async def finds_word(self, channel: Channel, word: str) -> bool:
        """Whether this item was stored here; if so, it is removed. Raises as `read_term` does."""
        target = self._target(f"word-{word}")
        if await self._read(channel, target, MOST_CANARY_BYTES, "an item of the router") is None:
            return False
        removing = write_request(Operation.REMOVE, target, host=_HOST, lock_cookie=0)
        await exchange(channel, Operation.REMOVE, removing, MOST_CANARY_BYTES)
        return True

    def _record(self, term: Term) -> bytes:
        return self._target(f"record-{term.number}-{term.word}")

    def _target(self, item: str) -> bytes:
        return encode_target(f"{ITEMS}{self.farm}/{item}")

    async def _read(self, channel: Channel, target: bytes, most_bytes: int, what: str) -> bytes | None:
        head, content = await exchange(
            channel, Operation.GET, write_request(Operation.GET, target, host=_HOST), most_bytes
        )
        if head.status == 423 and head.lock_cookie is not None:
            await self._release(channel, target, head.lock_cookie)
            head, content = await exchange(
                channel, Operation.GET, write_request(Operation.GET, target, host=_HOST), most_bytes
            )
        match head.status:
            case 200:
                return content
            case 404:
                return None
        if head.status == 400:
            raise MalformedAnswer(f"answered 400 for {what}, as a router does; expected a state server")
        raise MalformedAnswer(f"answered {head.status} for {what}; expected 200 or 404")

    async def _write(
        self,
        channel: Channel,
        operation: Operation,
        target: bytes,
        content: bytes,
        what: str,
        timeout_minutes: int = LONGEST_TIMEOUT_MINUTES,
    ) -> None:
        writing = write_request(
            operation,
            target,
            host=_HOST,
            timeout_minutes=timeout_minutes,
            lock_cookie=0,
            body=content,
        )
        head, _ = await exchange(channel, operation, writing, MOST_CANARY_BYTES)
        if head.status == 423 and head.lock_cookie is not None:
            await self._release(channel, target, head.lock_cookie)
            head, _ = await exchange(channel, operation, writing, MOST_CANARY_BYTES)
        if head.status != 200:
            raise MalformedAnswer(
                f"answered {head.status} when {what} was stored; expected 200. Is its memory full?"
            )

    async def _release(self, channel: Channel, target: bytes, cookie: int) -> None:
        releasing = write_request(Operation.RELEASE, target, host=_HOST, lock_cookie=cookie)
        await exchange(channel, Operation.RELEASE, releasing, MOST_CANARY_BYTES)
