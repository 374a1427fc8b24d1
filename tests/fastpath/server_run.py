"""One state server on loopback, by one path or by both, with everything that its clients see written down.

Actions are carried out one after the other, each over before the next begins, so that runs can be compared.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from random import Random

import trio

from partitioner.fastpath.state_server import state_server_fast_path
from partitioner.fastpath.task import FastPathTask
from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import canonical_key, server_key
from partitioner.sessions.table import SessionTable
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.channel import listening_address
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.listener import Downstream, DownstreamPolicy
from partitioner.transport.sockets import SocketStream
from partitioner.transport.state_server import StateServer
from tests.doubles.clients import Client
from tests.doubles.observers import Fact, RecordingObserver
from tests.doubles.sessions import APPLICATION, request
from tests.fastpath.router_setup import reset

LOOPBACK = ip_network("127.0.0.0/8")
A_MOMENT = 0.001
PATIENCE = 30.0
LARGEST = 200_000
MEMORY = 150_000
"""Bytes for sessions: some of the larger ones do not fit."""

_PASSING = re.compile(rb"LockDate: [0-9]+")
_COOKIE = re.compile(rb"\r\nLockCookie: ([0-9]+)\r\n")

SPELLINGS = {
    "HTTP/1.0": (b"HTTP/1.1", b"HTTP/1.0"),
    "lower case": (b"Exclusive:", b"exclusive:"),
    "a blank more": (b"LockCookie:", b"LockCookie: "),
    "another name": (b"LockCookie:", b"Lock-Cookie:"),
    "no blank": (b"Exclusive: ", b"Exclusive:"),
    "not a number": (b"Timeout:20", b"Timeout:x"),
    "no host": (b"Host: localhost\r\n", b""),
    "two hosts": (b"Host: localhost\r\n", b"Host: localhost\r\nHost: other\r\n"),
    "no cookie": (b"LockCookie:", b"X:"),
    "another slash": (b"%2fLM", b"/%2FLM"),
}
"""Ways to say it otherwise: some mean the same, some something else, some nothing."""


@dataclass(frozen=True)
class Action:
    """What one client does."""

    client: int
    session: int
    operation: Operation
    has_cookie: bool  # the one that it was given last, else a wrong one
    minutes: int
    size: int
    cuts: tuple[int, ...]  # where the request is cut into pieces
    spelling: str  # one of SPELLINGS, or none
    repeats: int  # how often it is sent at once
    finishes: bool  # sending, before the answer
    leaves_at: int | None  # after so many bytes of it


def plan(seed: int, length: int) -> list[Action]:
    """Some actions."""
    rng = Random(seed)
    return [
        Action(
            client=rng.randrange(3),
            session=rng.randrange(4),
            operation=rng.choice(list(Operation)),
            has_cookie=rng.random() < 0.8,
            minutes=rng.choice([20, 20, 20, 0, 1, 525_600, 525_601]),
            size=rng.choice([0, 7, 7, 2000, HELD_BODY - 2, HELD_BODY - 1, LARGEST - 2, LARGEST - 1]),
            cuts=tuple(sorted(rng.randrange(400) for _ in range(rng.choice([0, 0, 1, 2])))),
            spelling=rng.choice(list(SPELLINGS)) if rng.random() < 0.25 else "",
            repeats=rng.choice([1] * 8 + [2, 3]),
            finishes=rng.random() < 0.05,
            leaves_at=rng.randrange(1, 150) if rng.random() < 0.05 else None,
        )
        for _ in range(length)
    ]


class Loopback(SocketStream):
    """A client's end of a connection."""

    def reset(self) -> None:
        """Tear the connection down, as the death of a process with unread bytes does."""
        reset(self.detach())


@dataclass
class RunRecord:
    """What was seen in one run."""

    answers: list[bytes] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)  # that were reported
    sessions: dict[bytes, tuple[object, ...]] = field(default_factory=dict)  # in the end


class StateServerRun:
    """One run of a plan."""

    def __init__(self, *, is_fast: bool, is_liberal: bool) -> None:
        self._observer = RecordingObserver()
        self._table = SessionTable(MEMORY)
        key_of = canonical_key if is_liberal else server_key
        server = StateServer(self._table, self._observer, key_of, clock=lambda: 1000.0)
        dialect = Dialect.LIBERAL if is_liberal else Dialect.STOCK
        conversation = ConversationPolicy(dialect, PATIENCE, 60.0, LARGEST, LARGEST)
        self.fast_path: FastPathTask | None = None
        if is_fast:
            self.fast_path = state_server_fast_path(server, conversation, self._observer)
        policy = DownstreamPolicy((LOOPBACK,), 100, conversation)
        self._downstream = Downstream(server.respond, policy, self._observer, self.fast_path)
        self._clients: dict[int, Client] = {}
        self._cookies: dict[int, int] = {}
        self._answers: list[bytes] = []

    async def run(self, actions: Sequence[Action]) -> RunRecord:
        """Carry out all actions; what was seen."""
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self._port = listening_address(listener).port
            nursery.start_soon(self._downstream.serve, [listener])
            for action in actions:
                with trio.fail_after(PATIENCE):
                    await self._act(action)
                    await self._come_to_rest()
            for number in tuple(self._clients):
                self._leave(number)
            nursery.cancel_scope.cancel()
        return RunRecord(self._answers, [_timeless(fact) for fact in self._observer.facts], self._sessions())

    async def _act(self, action: Action) -> None:
        if action.client not in self._clients:
            connected = await trio.open_tcp_stream("127.0.0.1", self._port)
            self._clients[action.client] = Client(Loopback(connected.socket))
        client = self._clients[action.client]
        asked = self._request(action)
        if action.leaves_at is not None:
            await client.send(asked[: min(action.leaves_at, len(asked) - 1)])
            self._leave(action.client, by_reset=action.leaves_at % 2 == 1)
            return
        answer = b""
        try:
            await _send_in_pieces(client, asked * action.repeats, action.cuts)
            if action.finishes:
                await client.finish()
            for _ in range(action.repeats):
                answer = await self._receive(action, client)
                self._answers.append(answer)
        except trio.BrokenResourceError:
            self._answers.append(b"reset")
        if action.finishes or answer == b"" or answer.startswith(b"400"):
            self._leave(action.client)

    def _request(self, action: Action) -> bytes:
        cookie = self._cookies.get(action.session, 0) if action.has_cookie else 77
        target = APPLICATION + b"s%d" % action.session
        body = b"%d," % action.session + b"x" * action.size
        asked = request(action.operation, target, cookie=cookie, body=body, minutes=action.minutes)
        if action.spelling:
            return asked.replace(*SPELLINGS[action.spelling])
        return asked

    async def _receive(self, action: Action, client: Client) -> bytes:
        """The next answer; nothing if the connection was closed instead."""
        answer = await client.receive_answer(is_to_head=action.operation is Operation.RESET_TIMEOUT)
        cookie = _COOKIE.search(answer)
        if cookie is not None and answer.startswith(b"200"):
            self._cookies[action.session] = int(cookie[1])
        return _PASSING.sub(b"", answer)

    def _leave(self, number: int, *, by_reset: bool = False) -> None:
        client = self._clients.pop(number)
        if by_reset:
            client.reset()
        else:
            client.leave()

    async def _come_to_rest(self) -> None:
        """Wait until nothing is under way any more."""
        quiet = 0
        while quiet < 3:
            is_busy = self._downstream.exchanges_under_way or self._downstream.connections != len(
                self._clients
            )
            quiet = 0 if is_busy else quiet + 1
            await trio.sleep(A_MOMENT)

    def _sessions(self) -> dict[bytes, tuple[object, ...]]:
        return {
            key: (
                session.body,
                session.lock_cookie,
                session.locked_since,
                session.is_uninitialized,
                session.expires_at,
            )
            for key, session in self._table.sessions()
        }


def _timeless(fact: Fact) -> Fact:
    """The fact without the time that an exchange took."""
    if fact[0] != "exchange_finished":
        return fact
    name, operation, status, _, size = fact
    return name, operation, status, size


async def _send_in_pieces(client: Client, data: bytes, cuts: tuple[int, ...]) -> None:
    begin = 0
    for cut in (*cuts, len(data)):
        if begin < cut:
            await client.send(data[begin:cut])
            begin = cut
            await trio.sleep(2 * A_MOMENT)
