"""One router on loopback, by one path or by both, in front of backends that fail as they are told to.

What its clients and its backends see is written down, so that two runs can be compared: the same actions one
after the other, and the same turns between them, each of them over before the next begins.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

import trio

from partitioner.fastpath.router import router_fast_path
from partitioner.fastpath.task import FastPathTask
from partitioner.membership.backend import Intent
from partitioner.membership.health import Health, HealthPolicy
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.pool import first_pool
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Operation
from partitioner.routing.core import RouterCore, RouterPolicy
from partitioner.routing.expiry_sync import PAGE
from partitioner.transport.backend_connections import HELD_BODY, UpstreamPolicy
from partitioner.transport.canary import Canary
from partitioner.transport.channel import dial_tcp, listening_address
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.connector import Connector
from partitioner.transport.listener import Downstream, DownstreamPolicy
from tests.doubles.backends import ROUTER_NAME
from tests.doubles.observers import RecordingObserver
from tests.doubles.routers import backend
from tests.doubles.sessions import request, target
from tests.fastpath.plans import Action, Farm, Fault, Turn
from tests.fastpath.recording_backend import A_MOMENT, RecordingBackend
from tests.fastpath.run_record import COMPARED, RunRecord, described, without_port

LOOPBACK = ip_network("127.0.0.0/8")

PATIENCE = 30.0
EXCHANGE = 0.8
"""Seconds for an exchange: what is stalled is given up soon."""

POLICY = ConversationPolicy(Dialect.GUARDED, EXCHANGE, 60.0, 2**20, HELD_BODY, tells_applications=True)
_PASSING = re.compile(rb"(LockDate|LockAge): [0-9]+")
_LENGTH = re.compile(rb"\r\nContent-Length: *([0-9]+)\r\n", re.IGNORECASE)
_COOKIE = re.compile(rb"\r\nLockCookie: ([0-9]+)\r\n")


class RouterRun(RecordingObserver):
    """One run of a plan."""

    def __init__(self, farm: Farm, *, is_fast: bool) -> None:
        super().__init__()
        self._farm = farm
        self._is_fast = is_fast
        self._health = HealthPolicy(fall=farm.fall, hold_down=0.0)
        self._backends: list[RecordingBackend] = []
        self._clients: dict[int, trio.SocketStream] = {}
        self._cookies: dict[int, int] = {}
        self._requests = 0
        self.seen = RunRecord()
        self.fast_path: FastPathTask | None = None

    # --- facts that are compared ---

    def exchange_finished(self, operation: Operation, status: int, duration: float, size: int) -> None:
        self.seen.operations.append(f"{operation.value} {status} {size}")

    def exchange_closed(self, peer: str, operation: Operation | None, reason: str) -> None:
        reason = without_port(reason)
        self.seen.operations.append(f"{operation and operation.value} closed: {reason}")

    def request_rejected(self, peer: str, reason: str) -> None:
        self.seen.operations.append(f"rejected: {reason}")

    def conversation_crashed(self, peer: str, error: Exception) -> None:
        raise error

    # --- a run ---

    async def run(self, steps: list[Action | Turn]) -> RunRecord:
        """Carry out all actions and turns; what was seen."""
        async with trio.open_nursery() as nursery:
            self._core = await self._open_core(nursery)
            policy = DownstreamPolicy((LOOPBACK,), 100, POLICY)
            if self._is_fast:
                self.fast_path = router_fast_path(self._core, POLICY)
            self._downstream = Downstream(self._core.router.respond, policy, self, self.fast_path)
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self._address = listening_address(listener)
            nursery.start_soon(self._downstream.serve, [listener])
            for step in steps:
                await (self._take_turn(step) if isinstance(step, Turn) else self._act(step))
                await self._come_to_rest()
                self._note_step(is_in_order=not isinstance(step, Turn))
            await self._read_back()
            for client in self._clients.values():
                await client.aclose()
            for upstream in self._core.roster.upstreams.values():
                upstream.cut()
            for backend_server in self._backends:
                backend_server.close()
            nursery.cancel_scope.cancel()
        return self.seen

    async def _open_core(self, nursery: trio.Nursery) -> RouterCore:
        farm, incarnation = self._farm, 1e-9 if self._farm.is_settled else 3600.0
        self._backends = [RecordingBackend(nursery) for _ in range(farm.backends)]
        for backend_server in self._backends:
            await backend_server.come()
        members = [
            replace(backend(number), address=backend_server.address)
            for number, backend_server in enumerate(self._backends, start=1)
        ]
        policy = RouterPolicy(
            self._health,
            UpstreamPolicy(1.0, 10.0, 16),
            LedgerPolicy(incarnation, incarnation, farm.keys),
            copy=EXCHANGE,
        )
        pool = first_pool(members, self._health, farm.copies, trio.current_time())
        core = RouterCore(pool, policy, Connector(dial_tcp, Canary(ROUTER_NAME)), self, nursery)
        await core.probing.first_look()
        self.facts.clear()  # which backend was the first to answer
        await trio.sleep(A_MOMENT)
        return core

    def _note_step(self, *, is_in_order: bool) -> None:
        """Write down what was seen in one step; in some of them several keys are worked at side by side."""
        seen, ledger, pool = self.seen, self._core.ledger, self._core.roster.pool
        order = list if is_in_order else sorted
        seen.backends.append([order(backend_server.asked) for backend_server in self._backends])
        for backend_server in self._backends:
            backend_server.asked.clear()
        seen.facts += order(described(fact) for fact in self.facts if fact[0] in COMPARED)
        self.facts.clear()
        seen.marks.append({(key, each) for each in pool.members for key in ledger.keys_marked_on(each)})
        healths = {each: member.record.health.value for each, member in pool.members.items()}
        seen.pools.append(f"epoch {pool.epoch}: {pool.copies} copies, {healths}")

    # --- turns ---

    async def _take_turn(self, turn: Turn) -> None:
        first, core = self._backends[0], self._core
        for backend_server in self._backends:
            backend_server.faults = []
        if turn in (Turn.GOES, Turn.RESTARTS):
            await first.go()
        if turn in (Turn.RETURNS_EMPTY, Turn.RESTARTS):
            first.forget()
        if turn in (Turn.RETURNS, Turn.RETURNS_EMPTY, Turn.RESTARTS):
            await first.come()
        if turn is Turn.PROBED:
            for _ in range(self._health.rise):
                await core.probing.first_look()
        if turn is Turn.TENDED:
            await self._tend()
        if turn in (Turn.TWO_COPIES, Turn.ONE_COPY):
            members = [member.backend for member in core.roster.pool.members.values()]
            core.roster.adopt(members, 2 if turn is Turn.TWO_COPIES else 1)  # as a reload does it
        if turn is Turn.TRUSTED:
            for name, identity in core.roster.pool.places.items():
                if core.roster.pool.members[identity].record.health is Health.RECOVERING:
                    core.roster.set_intent(name, Intent.READY)

    async def _tend(self) -> None:
        """Have copies touched, and marked keys repaired: all that is due now, and nothing twice."""
        core, expiry_sync = self._core, self._core.expiry_sync

        def is_touching() -> bool:
            due = expiry_sync._due
            return bool(due) and due[0][0] < trio.current_time() + PAGE

        async with trio.open_nursery() as tending:
            tending.start_soon(expiry_sync.run)
            await self._come_to_rest(is_touching)
            tending.cancel_scope.cancel()
        # Those that repair itself would retry in a second are not waited for.
        for server in core.roster.pool.members:
            for key in sorted(core.ledger.keys_marked_on(server)):
                await core.repairer.repair(key)

    # --- actions ---

    async def _act(self, action: Action) -> None:
        for number, backend_server in enumerate(self._backends):
            is_struck = self._farm.all_fail or number == action.at
            # A server that answers is late, or whether a client has left before the answer were a race.
            is_struck = is_struck or action.leaves or action.finishes
            backend_server.faults = [action.fault] if is_struck else []
        stream = self._clients.get(action.client) or await self._connect(action.client)
        body = self._body(action)
        asked = self._request(action, body)
        count = 2 if action.repeats else 1
        answers = [b""] * count
        try:
            await _send_in_pieces(stream, asked * count, action.cuts)
            if action.leaves:
                await self._leave(action.client, stream)
                return
            if action.finishes:
                await stream.send_eof()
            answers = [await self._receive(action, stream) for _ in range(count)]
        except trio.BrokenResourceError:
            pass  # whether a connection ends or breaks hangs on what of a request was read by then: a race
        finally:
            self._note_saved(action, body, answers)
        self.seen.clients.append(b" and ".join(answers))
        if action.finishes or action.garbles or b"" in answers:
            await self._leave(action.client, stream)

    def _body(self, action: Action) -> bytes:
        """A content that no other request has."""
        self._requests += 1
        return (b"%d.%d." % (action.session, self._requests)).ljust(action.size, b"x")

    def _request(self, action: Action, body: bytes) -> bytes:
        cookie = self._cookies.get(action.session, 0) if action.has_cookie else 77
        asked = request(action.operation, target(action.session), cookie=cookie, body=body)
        return asked.replace(b"HTTP/1.1", b"HTTP/1.0") if action.garbles else asked

    def _note_saved(self, action: Action, body: bytes, answers: list[bytes]) -> None:
        """What was acknowledged; what was not may have been carried out, or not."""
        has_changed = not all(each.startswith(b"4") for each in answers)
        if has_changed and action.operation in (Operation.SET, Operation.REMOVE):
            self.seen.saved.pop(action.session, None)
        if action.operation is Operation.SET and any(each.startswith(b"200") for each in answers):
            self.seen.saved[action.session] = body

    async def _connect(self, number: int) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self._address.port)
        self._clients[number] = stream
        return stream

    async def _leave(self, number: int, stream: trio.SocketStream) -> None:
        await stream.aclose()
        del self._clients[number]

    async def _receive(self, action: Action, stream: trio.SocketStream) -> bytes:
        """The next answer; nothing if the connection was closed instead."""
        received = b""
        with trio.fail_after(PATIENCE):
            while not _is_whole(received, is_to_head=action.operation is Operation.RESET_TIMEOUT):
                data = bytes(await stream.receive_some(1 if action.repeats else None))
                if not data:
                    return b""
                received += data
        cookie = _COOKIE.search(received)
        if cookie is not None:
            self._cookies[action.session] = int(cookie[1])
        return _PASSING.sub(b"", received)

    async def _read_back(self) -> None:
        """Read all sessions of which it is certain what they hold."""
        for session in self.seen.saved:
            reading = Action(
                9, session, Operation.GET, False, 7, (), False, False, False, False, Fault.NONE, 0
            )
            await self._act(reading)
            await self._come_to_rest()
            self.seen.read_back[session] = self.seen.clients[-1]

    async def _come_to_rest(self, is_busy_too: Callable[[], bool] = lambda: False) -> None:
        """Wait until nothing is under way any more."""
        with trio.fail_after(PATIENCE):
            quiet = 0
            while quiet < 3:
                is_busy = (
                    len(self._core.gate)
                    or self._downstream.exchanges_under_way
                    or self._downstream.connections != len(self._clients)
                    or any(each.under_way for each in self._backends)
                    or any(upstream.leased for upstream in self._core.roster.upstreams.values())
                    or is_busy_too()
                )
                quiet = 0 if is_busy else quiet + 1
                await trio.sleep(A_MOMENT)


def _is_whole(received: bytes, *, is_to_head: bool) -> bool:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(received[: end + 2])
    return is_to_head or length is None or len(received) >= end + 4 + int(length[1])


async def _send_in_pieces(stream: trio.SocketStream, data: bytes, cuts: tuple[int, ...]) -> None:
    begin = 0
    for cut in (*cuts, len(data)):
        if begin < cut:
            await stream.send_all(data[begin:cut])
            begin = cut
            await trio.sleep(2 * A_MOMENT)
