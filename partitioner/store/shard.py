"""The calls for one primary: a queue, the pipes that carry them, and what makes a reply count.

All that waits when a pipe is free goes out as one batch:

    calls ..., the canary [, WAIT replicas]

The canary after the calls proves that what they did not find had not been lost (canary.py); it is read,
and sometimes advanced. WAIT proves that all replicas have what they changed; while it waits the next batch
collects for another pipe. Where replicas are missing, the topology says whether the primary was one to the
end, and the canary is advanced before anything is answered, so that a replica without the change has an older
one. If it is not known whether the primary was one, the calls are sent again, under the same ids, to the
primary of then.

Whatever is wrong with one pipe, all of them are given up, and the primary is looked for anew: the other
connections to an engine that has died would only find out later.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import trio

from partitioner.errors import (
    EngineEmpty,
    EngineLost,
    EngineTooSlow,
    EngineUnfit,
    StoreFailure,
    StoreOverloaded,
)
from partitioner.store.calls import Call, Reply, ReplyError
from partitioner.store.canary import LOST, NO_MARK, Canary, Finding, Mark, new_step
from partitioner.store.connecting import NOT_NOW, Connector
from partitioner.store.facts import SECTIONS, EngineFacts, read_facts
from partitioner.store.observer import StoreObserver
from partitioner.store.pipe import Batch, Pipe, is_refusal
from partitioner.store.policy import Acknowledge, Otherwise, StorePolicy
from partitioner.store.resp import write_command
from partitioner.store.scripts import ADVANCE
from partitioner.store.topology import Primary, Tenure, Topology
from partitioner.transport.traffic import DURATIONS, Histogram

MOST_CALLS = 256
MOST_BYTES = 1024 * 1024
"""How much goes out in one batch; a single call may be larger."""

WAIT_FOR_REPLICAS = 0.5
WAIT_WHILE_DEGRADED = 0.05
"""Seconds for replicas to have a batch. Where the batch before was not acknowledged by all, a replica is
away, and a long wait would only delay everybody; those that are there take a millisecond."""

DOUBT_PAUSE = 0.05
"""Seconds between two times that it is asked whether a primary has lasted."""

ADVANCE_INTERVAL = 0.5
"""Seconds between two steps of the canary while nothing is wrong: an engine that has gone back by more than
that is noticed."""

WATCH_INTERVAL = 5.0
"""Seconds between two looks at how the engine is."""

NOT_CARRIED_OUT = ("NOSCRIPT", "MOVED", "ASK", *NOT_NOW)
"""Errors after which a call goes out again, as if it had not been sent."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two attempts to find and reach a primary, doubled from one to the other."""


@dataclass(slots=True, eq=False)
class _CallBatch:
    """Calls that went out together, and what is known of them."""

    calls: list[Call]
    mark: Mark = NO_MARK  # what the canary must have passed
    is_advancing: bool = False  # the canary is advanced after the calls
    is_patient: bool = True  # replicas have WAIT_FOR_REPLICAS
    replies: list[Reply] = field(default_factory=list)
    canary: Reply = None


@dataclass(slots=True, eq=False)
class _Serving:
    """The time with one primary."""

    primary: Primary
    replicas: int  # that have to acknowledge
    pipes: list[Pipe]
    nursery: trio.Nursery
    canary: Canary | None
    get_canary: bytes = b""  # the command
    canary_name: bytes = b""
    is_advance_due: bool = False
    unacknowledged: list[_CallBatch] = field(default_factory=list)  # some replica does not have them
    doubt: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)  # until there are some
    failure: StoreFailure | None = None

    def advance_canary(self) -> bytes:
        """The command."""
        return write_command(b"EVAL", ADVANCE.source, b"1", self.canary_name, new_step())

    def end(self, failure: StoreFailure) -> None:
        """Give all pipes up."""
        self.failure = self.failure or failure
        self.nursery.cancel_scope.cancel()


@dataclass(slots=True)
class Arrivals:
    """Counts how often replies have come, to all shards together."""

    count: int = 0


class Shard:
    """Carries calls out at the primary of the moment."""

    def __init__(
        self,
        topology: Topology,
        connector: Connector,
        canaries: Callable[[bytes], Canary],
        policy: StorePolicy,
        observer: StoreObserver,
        arrivals: Arrivals,
        redirect: Callable[[Call, Reply], None] | None = None,
    ) -> None:
        """`canaries` tells what is expected of the canary of this name; `redirect` takes calls that belong
        to another shard, where there are several.
        """
        self._topology = topology
        self._connector = connector
        self._canaries = canaries
        self._redirect = redirect
        self._policy = policy
        self._observer = observer
        self._arrivals = arrivals
        self._queue: deque[Call] = deque()
        self._queued_bytes = 0
        self._out: dict[_CallBatch, None] = {}  # sent, and not settled
        self._serving: _Serving | None = None
        self._is_degraded = False
        self._is_collecting = False  # the calls of a round
        self.facts: EngineFacts | None = None  # what the engine has said of itself last
        self.round_trips = Histogram(DURATIONS)  # of batches, in seconds
        self.trouble: StoreFailure | None = EngineLost("the engine has not been reached yet")
        """Why calls are not carried out now; None while they are."""

    def __repr__(self) -> str:
        return f"<Shard, {len(self._queue)} calls wait, {len(self._out)} batches are out>"

    # --- what the store is asked ---

    @property
    def pipe(self) -> Pipe | None:
        """A pipe to the primary, for what is asked rarely; None while there is no primary."""
        return self._serving.pipes[0] if self._serving is not None else None

    @property
    def primary(self) -> Primary | None:
        """Who carries calls out now."""
        return self._serving.primary if self._serving is not None else None

    @property
    def replicas(self) -> int | None:
        """How many replicas have to acknowledge a change; None while there is no primary."""
        return self._serving.replicas if self._serving is not None else None

    @property
    def is_degraded(self) -> bool:
        """Whether the latest batch was acknowledged by fewer replicas than there are."""
        return self._is_degraded

    def submit(self, call: Call) -> None:
        """Have a call carried out before its deadline, or settled with a StoreFailure."""
        trouble = self.trouble
        if trouble is not None and isinstance(trouble, EngineUnfit | EngineEmpty):
            call.settle_with(trouble)
        elif self._queued_bytes + call.size > self._policy.waiting_memory:
            call.settle_with(StoreOverloaded("too many bytes of requests wait for the engine"))
        else:
            queue = self._queue
            queue.append(call)
            self._queued_bytes += call.size
            if len(queue) == 1 and not self._is_collecting:
                self._wake()  # or whoever was woken takes it as well

    def collect(self) -> None:
        """Let calls wait until `flush`."""
        self._is_collecting = True

    def flush(self) -> None:
        """Send what waits, now."""
        self._is_collecting = False
        serving = self._serving
        if serving is not None and self._queue:
            for pipe in serving.pipes if serving.replicas else serving.pipes[:1]:
                if not pipe.is_busy:
                    pipe.flush()
                    return

    def take_queue(self) -> list[Call]:
        """Give away all calls that wait: this shard does not run any more."""
        calls = [call for call in self._queue if not call.is_settled]
        self._fill_queue([])
        return calls

    def settle_overdue(self, now: float) -> None:
        """Settle the calls whose deadline has inherited."""
        for call in (*self._queue, *(call for batch in self._out for call in batch.calls)):
            if call.deadline <= now:
                call.settle_with(self.trouble or EngineTooSlow("the engine has not replied in time"))
        if self._serving is None:
            self._fill_queue([call for call in self._queue if not call.is_settled])

    # --- the primary of the moment ---

    async def run(self) -> None:
        """Keep connected to the primary."""
        pause = FIRST_PAUSE
        while True:
            began_at = trio.current_time()
            try:
                await self._serve()
            except StoreFailure as failure:
                self._note_trouble(failure)
            if trio.current_time() - began_at > 2 * LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _note_trouble(self, failure: StoreFailure) -> None:
        is_new = self.trouble is None or str(self.trouble) != str(failure)
        self.trouble = failure
        if is_new:
            self._observer.engine_lost(failure)
        if isinstance(failure, EngineUnfit | EngineEmpty):
            for call in tuple(self._queue):
                call.settle_with(failure)
            self._fill_queue([])

    async def _serve(self) -> None:
        """Carry calls out until something is wrong. Raises StoreFailure, never returns."""
        primary = await self._topology.find()
        pipes: list[Pipe] = []
        try:
            replicas = await self._open(primary, pipes)
            await self._serve_over(pipes, primary, replicas)
        finally:
            self._serving = None
            for pipe in pipes:
                pipe.close()
            self._take_back()

    async def _open(self, primary: Primary, pipes: list[Pipe]) -> int:
        """Open the pipes, and look whether the sessions are still there.

        Returns how many replicas have to acknowledge.
        """
        connected = 0
        for _ in range(self._policy.connections):
            pipe, greeting = await self._connector.open(primary.address)
            pipes.append(pipe)
            connected = greeting.replicas
        replicas = connected if primary.replicas is None else primary.replicas
        with trio.move_on_after(self._policy.answer_timeout) as scope:
            if primary.canary is not None:
                await self._look_at_canary(pipes[0], self._policy.prefix + primary.canary, replicas)
        if scope.cancelled_caught:
            raise EngineTooSlow(f"{primary.address} did not tell its canary in time")
        return replicas if self._policy.acknowledge is Acknowledge.REPLICAS else 0

    async def _serve_over(self, pipes: list[Pipe], primary: Primary, replicas: int) -> None:
        async with trio.open_nursery() as nursery:
            serving = _Serving(primary, replicas, pipes, nursery, None)
            if primary.canary is not None:
                name = self._policy.prefix + primary.canary
                serving.canary, serving.canary_name = self._canaries(name), name
                serving.get_canary = write_command(b"GET", name)
                nursery.start_soon(self._advance_now_and_then, serving)
            self._serving = serving
            self.trouble = None
            self._observer.engine_found(primary.address, replicas)
            for pipe in pipes:
                nursery.start_soon(self._run_pipe, pipe, serving)
            nursery.start_soon(self._watch, pipes[0], serving)
            nursery.start_soon(self._settle_unacknowledged, serving)
        assert serving.failure is not None
        raise serving.failure

    async def _run_pipe(self, pipe: Pipe, serving: _Serving) -> None:
        in_flight: dict[_CallBatch, None] = {}
        try:
            await pipe.run(lambda: self._next_batch(pipe, serving, in_flight))
        except StoreFailure as failure:
            serving.end(failure)

    async def _advance_now_and_then(self, serving: _Serving) -> None:
        """Have a batch advance the canary, and one go out for that alone where there are no calls."""
        while True:
            await trio.sleep(ADVANCE_INTERVAL)
            serving.is_advance_due = True
            self._wake()

    async def _watch(self, pipe: Pipe, serving: _Serving) -> None:
        """Ask now and then how the engine is."""
        while True:
            self.facts = read_facts(await pipe.ask(b"INFO", *SECTIONS))
            if self.facts.trouble is not None:
                serving.end(EngineUnfit(f"{serving.primary.address}: {self.facts.trouble}"))
            await self._look_for_replicas(serving, self.facts.replicas)
            await trio.sleep(WATCH_INTERVAL)

    async def _look_for_replicas(self, serving: _Serving, connected: int) -> None:
        """Have replicas that have joined acknowledge as well: any of them may be the next primary."""
        if self._policy.acknowledge is not Acknowledge.REPLICAS:
            return
        try:
            named = await self._topology.find()
        except StoreFailure:
            return  # whether that matters is seen when a reply is in doubt
        if named.address != serving.primary.address and named.epoch >= serving.primary.epoch:
            serving.end(EngineLost(f"{named.address} is the primary now"))
        serving.replicas = max(serving.replicas, connected, named.replicas or 0)
        if connected >= serving.replicas:
            self._is_degraded = False  # a replica that is back may need more than WAIT_WHILE_DEGRADED

    async def _look_at_canary(self, pipe: Pipe, name: bytes, replicas: int) -> None:
        """Raises EngineEmpty if the sessions are lost."""
        canary = self._canaries(name)
        for _ in range(3):
            (found,) = await pipe.introduce([(b"GET", name)])
            if isinstance(found, ReplyError):
                raise _why_canary_is_refused(pipe, name, "read", found)
            item = found if isinstance(found, bytes) else None
            finding = canary.judge(item)
            if finding is Finding.FITS:
                return
            if finding is Finding.LOST:
                said = "is gone" if item is None else "is another one"
                if item is not None and canary.has_gone_back(item):
                    said = "is an older one, so it has gone back to what it was earlier"
                    await pipe.introduce([(b"SET", name, LOST)])
                raise EngineEmpty(
                    f"the engine has lost its sessions: its canary {name.decode()} {said}; "
                    "`partitioner accept-loss` has it taken as it stands"
                )
            if finding is Finding.PLANT_ANEW:
                self._observer.loss_accepted()
            value = canary.next_value(item)
            only_if_absent = (b"NX",) if item is None else ()
            waiting = (b"WAIT", b"%d" % replicas, b"%d" % int(WAIT_FOR_REPLICAS * 1000))
            planted, _ = await pipe.introduce([(b"SET", name, value, *only_if_absent), waiting])
            if isinstance(planted, ReplyError):
                raise _why_canary_is_refused(pipe, name, "written", planted)
            if planted == b"OK":
                canary.adopt(value)
        raise EngineEmpty("the engine's canary changes all the time: several farms may use one prefix")

    def _take_back(self) -> None:
        """Have sent again what was sent and got no reply that counts."""
        again = [call for batch in self._out for call in batch.calls if not call.is_settled]
        self._out.clear()
        for call in again:
            if not call.is_again:
                call.is_again = True
                self._observer.call_repeated()
        self._fill_queue([*again, *self._queue])

    def _fill_queue(self, calls: Iterable[Call]) -> None:
        self._queue = deque(calls)
        self._queued_bytes = sum(call.size for call in self._queue)

    def _wake(self) -> None:
        """Have a pipe that is free look at the queue. One that is not does so when it has its replies.

        While nobody has to acknowledge, one pipe carries everything: fewer and larger batches cost less.
        """
        serving = self._serving
        if serving is None:
            return
        for pipe in serving.pipes if serving.replicas else serving.pipes[:1]:
            if not pipe.is_busy:
                pipe.wake()
                return

    # --- batches ---

    def _next_batch(self, pipe: Pipe, serving: _Serving, in_flight: dict[_CallBatch, None]) -> Batch | None:
        """What this pipe is to send next: one batch at a time, so that batches grow with the load."""
        if in_flight or not (serving.replicas or pipe is serving.pipes[0]):
            return None
        calls = self._take_calls() if self._queue else []
        if not calls and not serving.is_advance_due:
            return None
        batch = _CallBatch(calls)
        self._out[batch] = in_flight[batch] = None
        pieces: list[bytes] = []
        clock_offset = pipe.clock_offset
        for call in calls:
            call.write_to(pieces, clock_offset)
        if serving.canary is not None:
            batch.mark = serving.canary.mark
            batch.is_advancing = serving.is_advance_due or self._is_degraded
            serving.is_advance_due = False
            pieces.append(serving.advance_canary() if batch.is_advancing else serving.get_canary)
        count = len(calls) + (serving.canary is not None)
        if self._redirect is not None:
            count += sum(call.is_asking for call in calls)
        wanted = serving.replicas
        if wanted:
            batch.is_patient = not self._is_degraded
            patience = WAIT_FOR_REPLICAS if batch.is_patient else WAIT_WHILE_DEGRADED
            pieces.append(write_command(b"WAIT", b"%d" % wanted, b"%d" % int(patience * 1000)))
            count += 1

        sent_at = trio.current_time()

        def take(replies: list[Reply]) -> None:
            del in_flight[batch]
            if batch.calls:
                self.round_trips.add(trio.current_time() - sent_at)
            self._take_replies(batch, replies, serving, wanted)

        return Batch(b"".join(pieces), count, take)

    def _take_calls(self) -> list[Call]:
        """The next calls, as many as go out at once."""
        queue = self._queue
        if len(queue) <= MOST_CALLS and self._queued_bytes <= MOST_BYTES:
            calls = [call for call in queue if not call.is_settled]
            queue.clear()
            self._queued_bytes = 0
            return calls
        calls, size = list[Call](), 0
        while queue and len(calls) < MOST_CALLS and (not calls or size + queue[0].size <= MOST_BYTES):
            call = queue.popleft()
            self._queued_bytes -= call.size
            if not call.is_settled:
                calls.append(call)
                size += call.size
        return calls

    def _take_replies(self, batch: _CallBatch, replies: list[Reply], serving: _Serving, wanted: int) -> None:
        """Settle the calls of a batch, or see to what has to be done before that.

        So many replicas were wanted to acknowledge it.
        """
        if batch not in self._out:
            return  # it was taken back
        acknowledged = replies.pop() if wanted else 0
        if serving.canary is not None:
            batch.canary = replies.pop()
        batch.replies = replies if self._redirect is None else _without_permissions(batch.calls, replies)
        if not self._is_canary_right(batch, serving):
            return
        if ReplyError in map(type, replies):
            for call, reply in zip(tuple(batch.calls), tuple(batch.replies), strict=True):
                if is_refusal(reply, *NOT_CARRIED_OUT):
                    self._take_refusal(batch, call, reply, serving)
        if serving.failure is not None:
            return
        if isinstance(acknowledged, ReplyError):
            # It was made a replica while it waited: WAIT itself is tried when a pipe is opened.
            serving.end(EngineLost(f"{serving.primary.address} does not serve now: {acknowledged}"))
        elif isinstance(acknowledged, int) and acknowledged >= wanted:
            self._is_degraded = False
            self._settle(batch, serving)
        else:
            self._is_degraded = self._is_degraded or batch.is_patient
            self._doubt(batch, serving)

    def _doubt(self, batch: _CallBatch, serving: _Serving) -> None:
        """Not all replicas have a batch."""
        if not batch.calls:
            self._out.pop(batch, None)
        else:
            serving.unacknowledged.append(batch)
            serving.doubt.unpark()

    def _is_canary_right(self, batch: _CallBatch, serving: _Serving) -> bool:
        """Whether the engine still has what it had. If not, or if that is not said, it is given up."""
        expected, found = serving.canary, batch.canary
        if expected is None or found == expected.value:
            return True
        if isinstance(found, bytes) and expected.fits(found, batch.mark):
            return True
        where = serving.primary.address
        if is_refusal(found, "MOVED", "ASK"):
            serving.end(EngineLost(f"{where} hands slots over"))
            return True  # its calls are refused, too, and each says where it belongs
        if is_refusal(found, *NOT_NOW):
            serving.end(EngineLost(f"{where} does not serve now: {found!s}"))
            return True
        if isinstance(found, ReplyError):
            serving.end(EngineUnfit(f"{where} does not tell its canary: {found!s}"))
        else:
            serving.end(EngineEmpty("the engine's canary is not there any more, or is another one"))
        return False

    def _take_refusal(self, batch: _CallBatch, call: Call, reply: Reply, serving: _Serving) -> None:
        """The engine has not carried a call out: it goes out again, and is no repetition by that."""
        index = batch.calls.index(call)
        del batch.calls[index], batch.replies[index]
        if is_refusal(reply, "MOVED", "ASK") and self._redirect is not None:
            self._redirect(call, reply)
            return
        call.by_source = is_refusal(reply, "NOSCRIPT")
        self._queue.appendleft(call)
        self._queued_bytes += call.size
        if not call.by_source:
            serving.end(EngineLost(f"{serving.primary.address} does not serve now: {reply!s}"))

    async def _settle_unacknowledged(self, serving: _Serving) -> None:
        """Settle batches that some replica does not have, as soon as it is known that the primary is one.

        After a failover the Sentinels agree on the next primary within a second or so.
        """
        while True:
            while not serving.unacknowledged:
                await serving.doubt.park()
            batches, serving.unacknowledged = serving.unacknowledged, []
            if not await self._advance_after(batches, serving):
                return
            tenure = await self._topology.tenure(serving.primary)
            if tenure is Tenure.ENDED:
                where = serving.primary.address
                serving.end(EngineLost(f"whether {where} was still the primary when it replied is not known"))
                return
            if tenure is Tenure.LASTED:
                for batch in batches:
                    self._settle_degraded(batch, serving)
                continue
            serving.unacknowledged[:0] = [batch for batch in batches if self._is_awaited(batch)]
            await trio.sleep(DOUBT_PAUSE)

    async def _advance_after(self, batches: list[_CallBatch], serving: _Serving) -> bool:
        """Have the canary advanced after all these batches; return whether it is still the right one."""
        waiting = [batch for batch in batches if not batch.is_advancing]
        if serving.canary is None or not waiting:
            return True
        (item,) = await serving.pipes[0].ask_written(serving.advance_canary(), 1)
        for batch in waiting:
            batch.canary, batch.is_advancing = item, True
        return self._is_canary_right(waiting[0], serving)

    def _is_awaited(self, batch: _CallBatch) -> bool:
        """Whether somebody still waits for a call of this batch; if not, it is forgotten."""
        if any(not call.is_settled for call in batch.calls):
            return True
        self._out.pop(batch, None)
        return False

    def _settle_degraded(self, batch: _CallBatch, serving: _Serving) -> None:
        """The primary alone is known to have what these calls have changed."""
        if self._policy.otherwise is Otherwise.CLOSE:
            self._out.pop(batch, None)
            for call in batch.calls:
                call.settle_with(EngineLost("not all replicas have the change (`store.otherwise: close`)"))
            return
        self._observer.calls_degraded(len(batch.calls))
        self._settle(batch, serving)

    def _settle(self, batch: _CallBatch, serving: _Serving) -> None:
        self._out.pop(batch, None)
        self._arrivals.count += 1
        expected = serving.canary
        if expected is not None and batch.canary != expected.value:
            assert isinstance(batch.canary, bytes)
            expected.remember(batch.canary)
        for call, reply in zip(batch.calls, batch.replies, strict=True):
            if not call.is_settled:
                call.is_settled = True
                call.take(reply)
        if self._queue:
            self._wake()


def _why_canary_is_refused(pipe: Pipe, name: bytes, doing: str, refusal: ReplyError) -> StoreFailure:
    """What a refusal at the first look means: the canary's slot may be on its way to another shard."""
    sentence = f"the canary {name.decode()} cannot be {doing}: {refusal}"
    if is_refusal(refusal, "MOVED", "ASK", *NOT_NOW):
        return EngineLost(f"{pipe.channel.peer} does not serve now: {sentence}")
    return EngineUnfit(sentence)


def _without_permissions(calls: list[Call], replies: list[Reply]) -> list[Reply]:
    """The replies to calls, without those to the ASKING before some of them."""
    if not any(call.is_asking for call in calls):
        return replies
    following = iter(replies)
    own: list[Reply] = []
    for call in calls:
        if call.is_asking:
            next(following)
            call.is_asking = False
        own.append(next(following))
    return own
