"""One connection to an engine: commands go out in batches, replies come back in order.

It is written by hand because the store has to know of every command whether it was written, and because all
calls of a moment become one send and one receive. hiredis parses the replies.

Nothing is ever matched by anything but order, so a pipe that has lost count is of no use: whatever is wrong
ends it, and its owner sends what was not replied to over another one.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import hiredis
import trio

from partitioner.errors import ConnectionBroken, EngineLost, EngineTooSlow, StoreFailure
from partitioner.store.calls import Reply, ReplyError
from partitioner.store.resp import write_command
from partitioner.transport.channel import Channel

_NOTHING_YET = object()


@dataclass(slots=True, eq=False)
class Batch:
    """Bytes that go out together, and the replies to them, which are handed over together."""

    data: bytes
    count: int  # of the replies
    on_replies: Callable[[list[Reply]], None]
    replies: list[Reply] = field(default_factory=list)


NextBatch = Callable[[], Batch | None]
"""Says what is to be sent next, if anything is."""


class Pipe:
    """A connection to an engine."""

    def __init__(self, channel: Channel, answer_timeout: float) -> None:
        """It is given up when the engine replies nothing for `answer_timeout` seconds while it should."""
        self.channel = channel
        self.clock_offset = 0.0  # the engine's clock less trio's
        self._answer_timeout = answer_timeout
        self._parser = hiredis.Reader(notEnoughData=_NOTHING_YET)
        self._questions: deque[Batch] = deque()
        self._in_flight: deque[Batch] = deque()
        self._progress_at = trio.current_time()
        self._idle = trio.lowlevel.ParkingLot()
        self._next_batch: NextBatch | None = None  # while it runs
        self._rest = b""  # of a batch that did not go out at once

    def __repr__(self) -> str:
        return f"<Pipe to {self.channel.peer}, {len(self._in_flight)} batches in flight>"

    def close(self) -> None:
        """Close at once: what the kernel has not sent yet is never sent."""
        self.channel.close()

    @property
    def is_busy(self) -> bool:
        """Whether it waits for replies."""
        return bool(self._in_flight)

    def wake(self) -> None:
        """Have it look for something to send when other tasks have had their turn."""
        self._idle.unpark()

    def flush(self) -> None:
        """Send what there is to send, now."""
        next_batch = self._next_batch
        if next_batch is None:
            return
        while not self._rest:
            batch = self._questions.popleft() if self._questions else next_batch()
            if batch is None:
                return
            if not self._in_flight:
                self._progress_at = trio.current_time()
            self._in_flight.append(batch)
            data, batch.data = batch.data, b""
            try:
                sent = self.channel.send_now(data)
            except ConnectionBroken:
                sent = 0  # the writer finds it broken as well
            if sent < len(data):
                self._rest = data[sent:]
                self._idle.unpark()

    def clock_difference(self) -> float:
        """Seconds by which the engine's clock is ahead of this machine's."""
        return self.clock_offset - (time.time() - trio.current_time())

    async def ask(self, *arguments: bytes) -> Reply:
        """Send one command, and return the reply to it.

        Raises StoreFailure if the pipe ends before that, also where it is not running.
        """
        (reply,) = await self.ask_all([arguments])
        return reply

    async def ask_all(self, commands: list[tuple[bytes, ...]]) -> list[Reply]:
        """The same for several commands that are sent together."""
        return await self.ask_written(b"".join(write_command(*each) for each in commands), len(commands))

    async def ask_written(self, data: bytes, count: int) -> list[Reply]:
        """The same for so many commands that are bytes already."""
        found: list[Reply] = []
        has_come = trio.Event()

        def take(replies: list[Reply]) -> None:
            found.extend(replies)
            has_come.set()

        self._questions.append(Batch(data, count, take))
        self.wake()
        await has_come.wait()
        return found

    async def introduce(self, commands: list[tuple[bytes, ...]]) -> list[Reply]:
        """Like `ask_all`, before the pipe runs. Raises EngineLost; the caller owns the time-out."""
        return await self.introduce_raw(b"".join(write_command(*each) for each in commands), len(commands))

    async def introduce_raw(self, data: bytes, count: int) -> list[Reply]:
        """The same for so many commands that are bytes already."""
        found: list[Reply] = []
        self._in_flight.append(Batch(b"", count, found.extend))
        try:
            await self.channel.send(data)
            while self._in_flight:
                self._take_in(await self.channel.receive())
        except ConnectionBroken as error:
            raise EngineLost(f"{self.channel.peer} broke the connection: {error}") from error
        return found

    async def run(self, next_batch: NextBatch) -> None:
        """Send batches and take replies in, until something is wrong. Raises StoreFailure, never returns."""
        failure: StoreFailure | None = None

        async def until_it_fails(task: Callable[[], Awaitable[None]]) -> None:
            nonlocal failure
            try:
                await task()
            except StoreFailure as error:
                failure = failure or error
                tasks.cancel_scope.cancel()
            except ConnectionBroken as error:
                failure = failure or EngineLost(f"{self.channel.peer} broke the connection: {error}")
                tasks.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as tasks:
                self._next_batch = next_batch
                tasks.start_soon(until_it_fails, self._write)
                tasks.start_soon(until_it_fails, self._read)
                tasks.start_soon(until_it_fails, self._watch)
        finally:
            self._next_batch = None
            self.close()
        assert failure is not None
        raise failure

    async def _write(self) -> None:
        """Send what did not go out at once, and whatever there is when it is woken."""
        while True:
            self.flush()
            if self._rest:
                await self.channel.send(self._rest)
                self._rest = b""
            else:
                await self._idle.park()

    async def _read(self) -> None:
        receive = self.channel.receive
        while True:
            self._take_in(await receive())

    def _take_in(self, data: bytes) -> None:
        if not data:
            raise EngineLost(f"{self.channel.peer} closed the connection")
        self._progress_at = trio.current_time()
        in_flight, gets = self._in_flight, self._parser.gets
        try:
            self._parser.feed(data)
            while in_flight:
                batch = in_flight[0]
                replies, count = batch.replies, batch.count
                while len(replies) < count:
                    reply = gets()
                    if reply is _NOTHING_YET:
                        return
                    replies.append(reply)
                in_flight.popleft()
                batch.on_replies(replies)
            reply = gets()
        except hiredis.ProtocolError as error:
            raise EngineLost(f"{self.channel.peer} does not speak the engine's protocol: {error}") from error
        if reply is not _NOTHING_YET:
            raise EngineLost(f"{self.channel.peer} replied to nothing: {reply!r}")
        self.flush()

    async def _watch(self) -> None:
        """Give a silent engine up, and ask now and then what time it is.

        So an idle connection is known to live, since a dead peer sends no end of file; and deadlines hold
        where the engine's clock is set.
        """
        asked_at = trio.current_time()
        while True:
            await trio.sleep(self._answer_timeout / 4)
            now = trio.current_time()
            silence = now - self._progress_at
            if self._in_flight and silence > self._answer_timeout:
                raise EngineTooSlow(f"{self.channel.peer} replied nothing for {silence:.1f} s")
            if not self._questions and now - asked_at > self._answer_timeout / 2:
                asked_at = now
                self._questions.append(self._clock_question())
                self.wake()

    def _clock_question(self) -> Batch:
        asked_at = trio.current_time()
        return Batch(write_command(b"TIME"), 1, lambda replies: self.note_time(replies[0], asked_at))

    def note_time(self, reply: Reply, asked_at: float) -> None:
        """Take note of what time it is for the engine, which was asked at that moment.

        Half of the time that the reply has taken is what it may be wrong by.
        """
        if isinstance(reply, list):
            seconds, microseconds = (int(each) for each in reply if isinstance(each, bytes))
            self.clock_offset = seconds + microseconds / 1e6 - (asked_at + trio.current_time()) / 2


def is_refusal(reply: Reply, *codes: str) -> bool:
    """Whether a reply is an error of one of these codes."""
    return isinstance(reply, ReplyError) and str(reply).partition(" ")[0] in codes
