"""The workers of a supervisor: processes that serve at one port, each started again when it ends.

    Workers ── Worker 1 ── a process, and the line to it
            ├─ Worker 2 ── ...

A worker that dies takes its own clients along; the others never notice. What it had counted up to the last
look, a second ago at most, stays in the sums. One that does not answer for SILENCE, because its event loop
stands still, is killed.
"""

import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from subprocess import DEVNULL

import trio

from partitioner import __version__
from partitioner.daemon.shared_port import SharedPort
from partitioner.daemon.store import LAST_LOCKS, StoreServerOptions
from partitioner.daemon.worker_line import (
    AcceptLoss,
    Allow,
    Asker,
    CannotServe,
    Line,
    LineClosed,
    ListLocks,
    Locate,
    Look,
    Question,
    Stop,
    View,
    WorkerPlan,
)
from partitioner.errors import EngineLost
from partitioner.membership.backend import Network
from partitioner.ops.admin.reports import Locks, StoreLocation, StoreStatus, WorkerReport
from partitioner.ops.event_log import EventLog
from partitioner.ops.log import Log
from partitioner.ops.metrics.catalog import STORE
from partitioner.ops.metrics.process_numbers import process_numbers
from partitioner.ops.metrics.readings import Readings
from partitioner.ops.metrics.sums import sum_of, sum_of_processes, what_lasts
from partitioner.units import format_duration

MODULE = "partitioner.daemon.store_worker"

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a worker that has ended is started again, doubled each time; from the first one again after
it has served for longer than the longest."""

LOOK_INTERVAL = 1.0
LOOK_PATIENCE = 0.5
"""Seconds between two looks, and for how long an operator's question waits for one."""

SILENCE = 30.0
"""Seconds without a reply after which a worker is killed; the event loop of one that lives is idle within
milliseconds. As WatchdogSec of the unit."""

LAST_WORDS = LAST_LOCKS + 2.0
"""Seconds for a worker that was told to stop at once."""


class Worker:
    """One of the processes, whichever it is just now."""

    def __init__(self, number: int, workers: "Workers") -> None:
        self.number = number
        self.view: View | None = None  # when it was looked at last; None while there is no process
        self.restarts = 0
        self.failure: str | None = None  # why it has ended without ever having served
        self.is_settled = trio.Event()  # whether it can serve is known
        self._workers = workers
        self._process: trio.Process | None = None
        self._asker: Asker | None = None  # while it serves
        self._why_not = ""  # as it has said itself
        self._heard_at = 0.0
        self._last_event_at = 0.0

    def __repr__(self) -> str:
        return f"<Worker {self.number}, {'serves' if self.is_serving else 'does not serve'}>"

    @property
    def is_serving(self) -> bool:
        return self._asker is not None

    async def keep_running(self) -> None:
        """Have a process until all are stopped, or until it turns out that it cannot serve at all."""
        pause = FIRST_PAUSE
        while not self._workers.is_stopping:
            began_at = trio.current_time()
            cause = await self._live()
            if self._workers.is_stopping:
                break
            if not self.is_settled.is_set():
                self.failure = f"worker {self.number} has ended before it served: {self._why_not or cause}"
                break
            if trio.current_time() - began_at > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            self.restarts += 1
            self._workers.log.complain(
                "worker ended",
                worker=self.number,
                cause=self._why_not or cause,
                consequence="its clients' connections are closed; it is started again in "
                f"{format_duration(pause)}",
            )
            with trio.move_on_after(pause):
                await self._workers.stopping.wait()
            pause = min(2 * pause, LONGEST_PAUSE)
        self.is_settled.set()

    async def ask(self, question: Question) -> object:
        """The worker's reply. Raises LineClosed where there is none, or the failure that it replies with."""
        if self._asker is None:
            raise LineClosed
        return await self._asker.ask(question)

    async def look(self) -> None:
        """See how it is, if it says so."""
        try:
            view = await self.ask(Look(self._last_event_at))
        except LineClosed:
            return
        assert isinstance(view, View)
        if not self.is_serving:
            return
        self.view, self._heard_at = view, trio.current_time()
        for event in view.events:
            if event.at > self._last_event_at:
                self._last_event_at = event.at
                self._workers.event_log.take_over(event, worker=str(self.number))

    def kill_if_silent(self) -> None:
        """Kill it if it has not answered for long: its event loop stands still, and its clients wait."""
        silence = trio.current_time() - self._heard_at
        if self.is_serving and self._process is not None and silence > SILENCE:
            self._why_not = f"it has not answered for {format_duration(round(silence))}, and was killed"
            self._process.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def report(self) -> WorkerReport:
        pid = None if self._process is None else self._process.pid
        if self.view is None:
            return WorkerReport(self.number, pid, self.is_serving, 0.0, 0, 0, self.restarts)
        seen = self.view.status
        return WorkerReport(
            self.number, pid, self.is_serving, seen.uptime, seen.clients, seen.requests, self.restarts
        )

    async def _live(self) -> str:
        """Start a process and wait until it has ended; return how."""
        self._why_not = ""
        ours, theirs = socket.socketpair()
        passed = [theirs]
        try:
            passed += self._workers.port.new_sockets()
            numbers = tuple(each.fileno() for each in passed)
            process = await trio.lowlevel.open_process(
                [sys.executable, "-P", "-m", MODULE, str(numbers[0])],
                stdin=DEVNULL,
                pass_fds=numbers,
                start_new_session=True,  # or Ctrl-C would reach it twice
            )
        except OSError as error:
            ours.close()
            return f"it cannot be started: {error.strerror or error}"
        finally:
            for each in passed:
                each.close()
        line = Line(ours)
        self._process = process
        try:
            async with trio.open_nursery() as living:
                living.start_soon(self._talk, line, numbers[1:])
                await process.wait()
                living.cancel_scope.cancel()
        finally:
            self._asker = None
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
            line.close()
            self._process = None
            self._workers.keep_what_lasts(self)
        return _how_ended(process.returncode)

    async def _talk(self, line: Line, descriptors: tuple[int, ...]) -> None:
        workers = self._workers
        try:
            options = replace(workers.options, worker=str(self.number))
            await line.send(
                WorkerPlan(self.number, options, descriptors, workers.log_as_json, workers.log_level)
            )
            first = await line.receive()
        except LineClosed:
            return
        if isinstance(first, CannotServe):
            self._why_not = first.reason
            return
        assert self._process is not None
        workers.log.note("worker serves", worker=self.number, pid=self._process.pid)
        self._heard_at = trio.current_time()
        self._asker = Asker(line)
        self.is_settled.set()
        if workers.is_stopping:
            workers.order(Stop(), self)
        await self._asker.run()
        self._asker = None


class Workers:
    """All of them. This is the Server of a process (daemon/process.py)."""

    def __init__(
        self,
        count: int,
        options: StoreServerOptions,
        port: SharedPort,
        log: Log,
        event_log: EventLog,
        *,
        log_as_json: bool,
        log_level: str,
    ) -> None:
        """`options` are those of each worker."""
        self.options = replace(options, settings=None, read=None, admin=None, admin_token=None)
        self.port = port
        self.log = log
        self.event_log = event_log
        self.log_as_json = log_as_json
        self.log_level = log_level
        self.stopping = trio.Event()
        self._name = options.name
        self._began_at = trio.current_time()
        self._workers = [Worker(number, self) for number in range(1, count + 1)]
        self._background: trio.Nursery | None = None
        self._running = 0
        self._none_left = trio.Event()
        self._past = Readings()  # what those that have ended had counted
        self._past_requests = self._past_closed = 0
        self._past_cpu = 0.0

    def __repr__(self) -> str:
        return f"<Workers, {sum(each.is_serving for each in self._workers)} of {len(self._workers)} serve>"

    @property
    def is_stopping(self) -> bool:
        return self.stopping.is_set()

    async def start(self, background: trio.Nursery) -> str | None:
        """Start all; return when they serve, or why one of them cannot."""
        self._background = background
        self._running = len(self._workers)
        for each in self._workers:
            background.start_soon(self._run, each)
        for each in self._workers:
            await each.is_settled.wait()
        background.start_soon(self._keep_looking)
        return next((each.failure for each in self._workers if each.failure is not None), None)

    async def _run(self, worker: Worker) -> None:
        await worker.keep_running()
        self._running -= 1
        if not self._running:
            self._none_left.set()

    async def _keep_looking(self) -> None:
        while True:
            await self.look(LOOK_INTERVAL)
            for each in self._workers:
                each.kill_if_silent()
            await trio.sleep(LOOK_INTERVAL)

    # --- as one server ---

    @property
    def exchanges_under_way(self) -> int:
        return sum(view.exchanges_under_way for view in self._views)

    async def serve(self, listeners: Sequence[trio.SocketListener] = ()) -> None:
        """Return when the last worker has ended; if this is cancelled, they are stopped at once."""
        try:
            await self._none_left.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._end()

    def stop(self) -> None:
        """Have all of them stop softly."""
        self.stopping.set()
        for each in self._workers:
            self.order(Stop(), each)

    async def _end(self) -> None:
        self.stopping.set()
        for each in self._workers:
            self.order(Stop(at_once=True), each)
        with trio.move_on_after(LAST_WORDS):
            await self._none_left.wait()
        for each in self._workers:
            each.kill()
        await self._none_left.wait()

    def order(self, question: Question, worker: Worker) -> None:
        """Tell a worker something, without waiting until it has heard."""
        assert self._background is not None
        self._background.start_soon(self._ask_one, question, worker)

    async def _ask_one(self, question: Question, worker: Worker) -> None:
        try:
            await worker.ask(question)
        except LineClosed:
            return  # it has ended

    # --- what operators ask ---

    @property
    def _views(self) -> list[View]:
        return [each.view for each in self._workers if each.view is not None]

    async def look(self, patience: float = LOOK_PATIENCE) -> None:
        """See how all of them are; of one that does not reply in time the last view stays."""
        with trio.move_on_after(patience):
            async with trio.open_nursery() as looking:
                for each in self._workers:
                    looking.start_soon(each.look)

    @property
    def requests(self) -> int:
        """How many were answered since the start."""
        return self._past_requests + sum(view.status.requests for view in self._views)

    def status(self) -> StoreStatus:
        """How they are all together, as they were when they were looked at."""
        seen = [view.status for view in self._views]
        ready = [each for each in seen if each.ready]
        reasons = seen[0].reasons if seen else ("no worker serves",)
        if self.is_stopping:
            ready, reasons = [], ("it is stopping",)
        shown = (ready or seen)[:1]
        return StoreStatus(
            name=self._name,
            version=__version__,
            uptime=trio.current_time() - self._began_at,
            ready=bool(ready),
            reasons=() if ready else reasons,
            shards=shown[0].shards if shown else (),
            clients=sum(each.clients for each in seen),
            requests=self.requests,
            closed=self._past_closed + sum(each.closed for each in seen),
            locks_to_give_back=sum(each.locks_to_give_back for each in seen),
            workers=tuple(each.report() for each in self._workers),
        )

    def readings(self) -> Readings:
        """Their numbers, added up."""
        own = Readings()
        own.note("worker_restarts_total", sum(each.restarts for each in self._workers))
        return sum_of(STORE, [own, self._past, *(view.readings for view in self._views)])

    async def process_numbers(self) -> dict[str, float]:
        """What the operating system says of them and of the supervisor."""
        own, past = await process_numbers(), {"process_cpu_seconds_total": self._past_cpu}
        return sum_of_processes([own, past, *(view.process for view in self._views)])

    async def locate(self, key: bytes) -> StoreLocation:
        found = await self._ask_any(Locate(key))
        assert isinstance(found, StoreLocation)
        return found

    async def locks(self) -> Locks:
        """Raises StoreFailure."""
        held = await self._ask_any(ListLocks())
        assert isinstance(held, Locks)
        return held

    async def accept_loss(self) -> bool:
        """Have the engine taken as it stands; return whether it has lost sessions.

        One worker is enough, as one state server is: the others see that the loss was accepted.
        """
        for each in self._workers:
            try:
                if await each.ask(AcceptLoss()):
                    return True
            except LineClosed:
                continue
        return False

    async def allow(self, networks: tuple[Network, ...]) -> None:
        """From now on serve clients of these networks."""
        self.options = replace(self.options, allow=networks)
        for each in self._workers:
            await self._ask_one(Allow(networks), each)

    async def _ask_any(self, question: Question) -> object:
        for each in self._workers:
            try:
                return await each.ask(question)
            except LineClosed:
                continue
        raise EngineLost("no worker serves")

    def keep_what_lasts(self, worker: Worker) -> None:
        """A worker's process has ended: what it had counted is not forgotten."""
        view, worker.view = worker.view, None
        if view is None:
            return
        self._past = sum_of(STORE, [self._past, what_lasts(STORE, view.readings)])
        self._past_requests += view.status.requests
        self._past_closed += view.status.closed
        self._past_cpu += view.process.get("process_cpu_seconds_total", 0.0)


def _how_ended(code: int | None) -> str:
    """How a process has ended, for people."""
    if code is not None and code < 0:
        try:
            return f"it was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"it was killed by the signal {-code}"
    return f"it has ended with the code {code}"
