"""One router on loopback, by one lane or by both, in front of backends that fail as they are told to.

What its clients and its backends see is written down, so that two runs can be compared: the same actions one
after the other, each of them over before the next begins.
"""

import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import ip_network
from random import Random

import trio

from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.pool import first_pool
from partitioner.net.canary import Canary
from partitioner.net.channel import dial_tcp, listening_address
from partitioner.net.connecting import Connector
from partitioner.net.conversation import ConversationPolicy
from partitioner.net.downstream import Downstream, DownstreamPolicy
from partitioner.net.express.lane import ExpressLane
from partitioner.net.express.relay import relay_lane
from partitioner.net.lane import Lane, LanePolicy
from partitioner.net.observer import Observer
from partitioner.net.responder import Request
from partitioner.net.stateserver import StateServer
from partitioner.net.upstream import HELD_BODY, UpstreamPolicy
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Operation, RequestHead
from partitioner.protocol.reader import BodyPiece, Event, request_reader
from partitioner.sessions.table import SessionTable
from tests.doubles.backends import CANARY_TARGET, LIFE, ROUTER_NAME, ok
from tests.doubles.routers import backend
from tests.doubles.sessions import request, target

LOOPBACK = ip_network("127.0.0.0/8")

A_MOMENT = 0.001
PATIENCE = 5.0
EXCHANGE = 0.8
"""Seconds for an exchange: what is stalled is given up soon."""

POLICY = ConversationPolicy(Dialect.GUARDED, EXCHANGE, 60.0, 2**20, HELD_BODY)
_PASSING = re.compile(rb"(LockDate|LockAge): [0-9]+")
_LENGTH = re.compile(rb"\r\nContent-Length: *([0-9]+)\r\n", re.IGNORECASE)
_COOKIE = re.compile(rb"\r\nLockCookie: ([0-9]+)\r\n")


class Fault(Enum):
    """What a backend does about one request."""

    NONE = "none"
    SPLIT = "answers in pieces"
    LATE = "answers late"
    ODD = "spells a field in its own way"
    PREFIXED = "answers like an HTTP server"
    CLOSE_AFTER = "answers, and hangs up"
    # From here on a session is not what it was, or nobody knows; it is not asked for again.
    EXTRA = "says more than it was asked"
    ERROR = "answers 503"
    HANG_UP = "hangs up"
    HANG_UP_LATER = "carries it out, and hangs up"
    HALF_HEAD = "hangs up in the middle of a head"
    HALF_BODY = "hangs up in the middle of an answer"
    RESET = "resets the connection"
    STALL = "does not answer"


ANSWERS = (Fault.NONE, Fault.SPLIT, Fault.ODD, Fault.PREFIXED)
HARMLESS = (*ANSWERS, Fault.LATE, Fault.CLOSE_AFTER)


@dataclass(frozen=True)
class Action:
    """What one client does."""

    client: int
    session: int
    operation: Operation
    has_cookie: bool  # the one that it was given last, else a wrong one
    size: int
    cuts: tuple[int, ...]  # where the request is cut into pieces
    leaves: bool  # before the answer
    finishes: bool  # sending, before the answer
    repeats: bool  # sends it twice at once
    garbles: bool  # its head
    fault: Fault
    at: int  # the backend that fails, where but one does


def plan(seed: int, length: int, faults: Sequence[Fault] = tuple(Fault)) -> list[Action]:
    """Some actions. Creates take two requests, between which a fault would be a race; they go well."""
    dice = Random(seed)
    sessions, actions = [1, 2, 3], []
    for number in range(length):
        place = dice.randrange(len(sessions))
        operation = dice.choice(list(Operation))
        goes_well = operation is Operation.CREATE_UNINITIALIZED or dice.random() < 0.6
        fault = Fault.NONE if goes_well else dice.choice(faults)
        is_odd = dice.random() < 0.15
        leaves = not goes_well and dice.random() < 0.3
        action = Action(
            client=dice.randrange(3),
            session=sessions[place],
            operation=operation,
            has_cookie=dice.random() < 0.8,
            size=dice.choice([7, 7, 2000, HELD_BODY, HELD_BODY + 1]),
            cuts=tuple(sorted(dice.randrange(400) for _ in range(dice.choice([0, 0, 1, 2])))),
            leaves=leaves,
            finishes=not goes_well and dice.random() < 0.1,
            repeats=not leaves and dice.random() < 0.05,  # or whether the second is answered were a race
            garbles=is_odd and dice.random() < 0.3,
            fault=fault,
            at=dice.randrange(2),
        )
        if action.leaves or action.finishes:
            action = replace(action, fault=Fault.LATE)  # or whether it has left before the answer were a race
        actions.append(action)
        if action.fault not in HARMLESS or action.leaves or action.finishes:
            sessions[place] = 10 + number
    return actions


@dataclass
class TellingBackend:
    """A state server that fails as it is told, and writes down what it is asked."""

    asked: list[bytes] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)  # the next one's first
    under_way: int = 0

    def __post_init__(self) -> None:
        table = SessionTable()
        self._server = StateServer(table, Observer(), clock=lambda: 1000.0)

    async def serve(self, stream: trio.SocketStream) -> None:
        reader = request_reader(Dialect.STOCK)
        async with stream:
            try:
                while await self._serve_one(stream, reader):
                    pass
            except trio.BrokenResourceError:
                pass

    async def _serve_one(self, stream: trio.SocketStream, reader: object) -> bool:
        heard = await _hear(stream, reader)
        if heard is None:
            return False
        head, body = heard
        if head.target == CANARY_TARGET:
            await stream.send_all(ok(LIFE))
            return True
        self.under_way += 1
        try:
            self.asked.append(head.raw + body)
            fault = self.faults.pop(0) if self.faults else Fault.NONE
            return await self._answer(stream, Request(head, body, None, 0.0), fault)
        finally:
            self.under_way -= 1

    async def _answer(self, stream: trio.SocketStream, asked: Request, fault: Fault) -> bool:
        if fault is Fault.HANG_UP:
            return False
        if fault is Fault.RESET:
            _reset(stream)
            return False
        response = await self._server.respond(asked)
        head, answer = response.head.raw, response.head.raw + response.body
        match fault:
            case Fault.SPLIT:
                for piece in (answer[:5], answer[5 : len(head) + 3], answer[len(head) + 3 :]):
                    await stream.send_all(piece)
                    await trio.sleep(2 * A_MOMENT)
            case Fault.LATE:
                await trio.sleep(20 * A_MOMENT)
                await stream.send_all(answer)
            case Fault.ODD:
                await stream.send_all(answer.replace(b"Content-Length", b"content-length"))
            case Fault.PREFIXED:
                await stream.send_all(b"HTTP/1.1 " + answer)
            case Fault.EXTRA:
                await stream.send_all(answer + b"and more")
            case Fault.ERROR:
                await stream.send_all(b"503 Server Too Busy\r\nContent-Length: 0\r\n\r\n")
            case Fault.HALF_HEAD:
                await stream.send_all(answer[:20])
            case Fault.HALF_BODY:
                await stream.send_all(answer[:-1])
            case Fault.STALL:
                await _wait_for_end(stream)
            case Fault.HANG_UP_LATER:
                pass
            case _:
                await stream.send_all(answer)
        return fault in (*HARMLESS[:-1], Fault.EXTRA, Fault.ERROR)


async def _hear(stream: trio.SocketStream, reader: object) -> tuple[RequestHead, bytes] | None:
    """The next request; None at the end."""
    head: RequestHead | None = None
    body = b""
    while True:
        event = reader.next_event()  # type: ignore[attr-defined]
        if event is Event.NEED_DATA:
            data = await stream.receive_some()
            if not data:
                return None
            reader.feed(bytes(data))  # type: ignore[attr-defined]
        elif isinstance(event, RequestHead):
            head = event
        elif isinstance(event, BodyPiece):
            body += event.data
        else:
            assert head is not None
            return head, body


async def _wait_for_end(stream: trio.SocketStream) -> None:
    while await stream.receive_some():
        pass


def _reset(stream: trio.SocketStream) -> None:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@dataclass
class Seen:
    """What was seen in one run."""

    clients: list[bytes] = field(default_factory=list)  # what came, by action
    backends: list[list[bytes]] = field(default_factory=list)  # what each was asked
    operations: list[str] = field(default_factory=list)  # that were reported
    marks: set[tuple[bytes, str]] = field(default_factory=set)  # that were left at the end: key and server


class Shadow(Observer):
    """One run of a plan."""

    def __init__(
        self, *, is_express: bool, backends: int, copies: int, is_settled: bool, all_fail: bool
    ) -> None:
        """Where not all of them fail when one is to, the others do as they should."""
        self._all_fail = all_fail
        self._is_express = is_express
        self._backends = [TellingBackend() for _ in range(backends)]
        self._copies = copies
        self._life = 1e-9 if is_settled else 3600.0
        self._clients: dict[int, trio.SocketStream] = {}
        self._cookies: dict[int, int] = {}
        self.seen = Seen(backends=[each.asked for each in self._backends])
        self.express: ExpressLane | None = None

    # --- facts that are compared ---

    def exchange_finished(self, operation: Operation, status: int, duration: float, size: int) -> None:
        self.seen.operations.append(f"{operation.value} {status} {size}")

    def exchange_closed(self, peer: str, operation: Operation | None, reason: str) -> None:
        self.seen.operations.append(f"{operation and operation.value} closed: {reason}")

    def request_rejected(self, peer: str, reason: str) -> None:
        self.seen.operations.append(f"rejected: {reason}")

    def conversation_crashed(self, peer: str, error: Exception) -> None:
        raise error

    # --- a run ---

    async def run(self, actions: list[Action]) -> Seen:
        """Carry out all actions; what was seen."""
        async with trio.open_nursery() as nursery:
            self._lane = await self._open_lane(nursery)
            policy = DownstreamPolicy((LOOPBACK,), 100, POLICY)
            if self._is_express:
                self.express = relay_lane(self._lane, POLICY)
            self._downstream = Downstream(self._lane.router.respond, policy, self, self.express)
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self._address = listening_address(listener)
            nursery.start_soon(self._downstream.serve, [listener])
            for action in actions:
                await self._act(action)
                await self._come_to_rest()
            ledger = self._lane.ledger
            servers = self._lane.roster.upstreams
            self.seen.marks = {(key, each) for each in servers for key in ledger.keys_marked_on(each)}
            for client in self._clients.values():
                await client.aclose()
            for upstream in self._lane.roster.upstreams.values():
                upstream.cut()
            nursery.cancel_scope.cancel()
        return self.seen

    async def _open_lane(self, nursery: trio.Nursery) -> Lane:
        health = HealthPolicy(fall=10**6)
        addresses = []
        for telling in self._backends:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, telling.serve, [listener])
            addresses.append(listening_address(listener))
        members = [replace(backend(number + 1), address=address) for number, address in enumerate(addresses)]
        policy = LanePolicy(
            health, UpstreamPolicy(1.0, 10.0, 16), LedgerPolicy(self._life, self._life), copy=EXCHANGE
        )
        pool = first_pool(members, health, self._copies, trio.current_time())
        lane = Lane(pool, policy, Connector(dial_tcp, Canary(ROUTER_NAME)), self, nursery)
        for member in members:
            lane.roster.probe_succeeded(member.name, LIFE)
        await trio.sleep(A_MOMENT)
        return lane

    async def _act(self, action: Action) -> None:
        for number, telling in enumerate(self._backends):
            telling.faults = [action.fault] if self._all_fail or number == action.at else []
        stream = self._clients.get(action.client) or await self._connect(action.client)
        asked = self._request(action)
        try:
            await _send_in_pieces(stream, asked * (2 if action.repeats else 1), action.cuts)
            if action.leaves:
                await self._leave(action, stream)
                return
            if action.finishes:
                await stream.send_eof()
            answers = [await self._receive(action, stream) for _ in range(2 if action.repeats else 1)]
        except trio.BrokenResourceError:
            answers = [b"", b"reset"]
        self.seen.clients.append(b" and ".join(answers))
        if action.finishes or action.garbles or b"" in answers:
            await self._leave(action, stream)

    def _request(self, action: Action) -> bytes:
        cookie = self._cookies.get(action.session, 0) if action.has_cookie else 77
        body = b"%d" % action.session + b"x" * action.size
        asked = request(action.operation, target(action.session), cookie=cookie, body=body)
        return asked.replace(b"HTTP/1.1", b"HTTP/1.0") if action.garbles else asked

    async def _connect(self, number: int) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self._address.port)
        self._clients[number] = stream
        return stream

    async def _leave(self, action: Action, stream: trio.SocketStream) -> None:
        await stream.aclose()
        del self._clients[action.client]

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

    async def _come_to_rest(self) -> None:
        """Wait until nothing is under way any more."""
        with trio.fail_after(PATIENCE):
            quiet = 0
            while quiet < 3:
                is_busy = (
                    len(self._lane.gate)
                    or self._downstream.exchanges_under_way
                    or self._downstream.connections != len(self._clients)
                    or any(each.under_way for each in self._backends)
                    or any(upstream.leased for upstream in self._lane.roster.upstreams.values())
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
