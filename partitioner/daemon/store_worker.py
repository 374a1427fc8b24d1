"""`python -m partitioner.daemon.store_worker DESCRIPTOR`: one of several processes that serve at one port.

The supervisor (store_supervisor.py) starts it, and tells it over the line at that descriptor what to do. It
serves as a state server that is alone does, but has no admin port: the supervisor asks it, and tells
operators of all workers together.

A worker stops when it is told to, when it gets SIGTERM, and when its supervisor is gone.
"""

import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import assert_never

import trio

from partitioner.daemon.notify import Notifier
from partitioner.daemon.process import STOPPING, Controls, open_signals, run_daemon, serve_until_stopped
from partitioner.daemon.serving import fitted, watch_over
from partitioner.daemon.store import StoreParts
from partitioner.daemon.store_reports import StoreReports
from partitioner.daemon.store_server import build_store_parts
from partitioner.daemon.worker_line import (
    AcceptLoss,
    Allow,
    CannotServe,
    Line,
    LineClosed,
    ListLocks,
    Locate,
    Look,
    Question,
    Serving,
    Stop,
    View,
    WorkerPlan,
)
from partitioner.errors import FileUnusable, PartitionerError
from partitioner.ops.event_log import EventLog, Level
from partitioner.ops.log import Log
from partitioner.ops.log_output import open_log, set_log_level
from partitioner.ops.metrics.process_numbers import process_numbers
from partitioner.ops.metrics.store_counters import store_reading
from partitioner.transport.channel import listening

MOST_ORDERS = 16
"""Signals and orders that wait to be obeyed: more than any operator gives."""


class Orders:
    """What this process is told to do: by signals, and by its supervisor, as if that were signals.

    A service manager sends SIGTERM to all processes of a service, and the supervisor passes it on as well. So
    the first of the two alone counts. A second SIGTERM has it stop at once, as has the supervisor.
    """

    def __init__(self) -> None:
        self._send, self.received = trio.open_memory_channel[int](MOST_ORDERS)
        self._signals = 0  # of those that stop
        self._is_stopping = False

    async def take_signals(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number in STOPPING:
                self._signals += 1
                self.stop(at_once=self._signals > 1)
            elif number != signal.SIGHUP:  # which the supervisor obeys
                self._put(number)

    def stop(self, *, at_once: bool = False) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._put(signal.SIGTERM)
        if at_once:
            self._put(signal.SIGTERM)

    def _put(self, number: int) -> None:
        with suppress(trio.WouldBlock):  # enough has been ordered
            self._send.send_nowait(number)


class Worker:
    """Answers the supervisor."""

    def __init__(self, line: Line, parts: StoreParts, orders: Orders) -> None:
        self._line = line
        self._parts = parts
        self._orders = orders
        self._reports = StoreReports(parts)
        self._read = store_reading(parts.counters, parts.store_counters, parts.downstream, parts.store.engine)

    async def run(self) -> None:
        """Answer until the supervisor is gone; then stop."""
        try:
            await self._line.send(Serving())
            async with trio.open_nursery() as answering:
                while True:
                    value = await self._line.receive()
                    assert isinstance(value, tuple)
                    answering.start_soon(self._answer, *value)
        except* LineClosed:
            if not self._parts.downstream.is_stopping:
                self._parts.log.complain(
                    "supervisor gone", cause="its process has ended", consequence="this worker stops"
                )
            self._orders.stop()

    async def _answer(self, number: int, question: Question) -> None:
        try:
            reply = await self._carry_out(question)
        except PartitionerError as failure:
            reply = failure
        await self._line.send((number, reply))

    async def _carry_out(self, question: Question) -> object:
        match question:
            case Look():
                return await self._look(question.since)
            case Locate():
                return self._reports.locate(question.key)
            case ListLocks():
                return await self._reports.locks()
            case AcceptLoss():
                return self._reports.accept_loss()
            case Allow():
                self._parts.downstream.allow(question.networks)
            case Stop():
                self._orders.stop(at_once=question.at_once)
            case _:
                assert_never(question)
        return None

    async def _look(self, since: float) -> View:
        events = [each for each in self._parts.event_log.events() if each.at > since]
        return View(
            self._reports.status(),
            self._read(),
            await process_numbers(),
            self._parts.downstream.exchanges_under_way,
            tuple(reversed(events)),
        )


async def run_worker(plan: WorkerPlan, connected: socket.socket) -> None:
    """Serve until it is told to stop."""
    line, event_log = Line(connected), EventLog()
    log = Log(event_log)
    with open_signals() as signals:
        try:
            parts = build_store_parts(fitted(plan.options, log), log, event_log)
        except FileUnusable as error:
            await line.send(CannotServe(str(error)))
            return
        listeners = [listening(socket.socket(fileno=each)) for each in plan.descriptors]
        orders = Orders()
        async with trio.open_nursery() as background:
            parts.store.start(background)
            watch_over(background, log, parts.counters)
            background.start_soon(orders.take_signals, signals)
            background.start_soon(Worker(line, parts, orders).run)
            controls = Controls(orders.received, Notifier(), lambda: plan.options.shutdown)
            await serve_until_stopped(parts.downstream, listeners, controls, log)
            await parts.store.stop()
            background.cancel_scope.cancel()
    log.note_end(parts.counters)


def main() -> None:
    """Read the plan, and carry it out."""
    connected = socket.socket(fileno=int(sys.argv[1]))
    try:
        plan = trio.run(_receive_plan, connected.dup())
    except LineClosed:
        return
    set_log_level(Level(plan.log_level))
    with open_log(as_json=plan.log_as_json, worker=plan.number):
        run_daemon(run_worker, plan, connected)


async def _receive_plan(connected: socket.socket) -> WorkerPlan:
    line = Line(connected)
    plan = await line.receive()
    line.close()
    assert isinstance(plan, WorkerPlan)
    return plan


if __name__ == "__main__":
    main()
