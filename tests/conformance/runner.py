"""Runs conformance vectors against whatever listens at an address; the rules are in README.md beside this."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import choice
from typing import Any

import trio

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text())["vectors"]

Advance = Callable[[float], Awaitable[None]]
"""Lets so many seconds pass for the server."""

ANSWER_TIMEOUT = 60.0
QUIET_TIME = 0.05
"""Seconds to wait, after the last step, for bytes that nobody asked for."""

_PLACEHOLDER = re.compile(
    rb"\{(?:(?P<sid>sid[0-9]*)|(?P<i>i)|fill:(?P<count>[0-9]+):(?P<seed>[0-9]+)|\$(?P<saved>[a-z0-9]+)(?P<offset>[+-][0-9]+)?)\}"
)


class Deviation(AssertionError):
    """The server did not do what a vector expects."""


@dataclass(frozen=True)
class Answer:
    """An answer as it came, with its header names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name.lower()]


@dataclass
class Connection:
    """A client's connection, with what was received and not asked for yet."""

    stream: trio.SocketStream
    buffer: bytes = b""

    async def receive(self) -> bool:
        """Take in more; return whether there was more."""
        with trio.fail_after(ANSWER_TIMEOUT):
            try:
                data = bytes(await self.stream.receive_some())
            except trio.BrokenResourceError:
                data = b""
        self.buffer += data
        return data != b""

    async def answer(self, *, is_head: bool) -> Answer | None:
        """Read one answer; None if the connection was closed without a byte of it."""
        while b"\r\n\r\n" not in self.buffer:
            if not await self.receive():
                if self.buffer:
                    raise Deviation(f"closed in the middle of a head: {self.buffer!r}")
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = [
            (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        ]
        status = int(status_line.removeprefix("HTTP/1.1 ")[:3])
        lengths = [int(value) for name, value in headers if name == "content-length"]
        if len(lengths) != 1:
            raise Deviation(f"{len(lengths)} Content-Length headers in {head!r}")
        length = 0 if is_head else lengths[0]
        while len(self.buffer) < length:
            if not await self.receive():
                raise Deviation(f"closed after {len(self.buffer)} of {length} bytes of content")
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Answer(status, headers, body)


@dataclass
class Run:
    """One run of one vector."""

    host: str
    port: int
    advance: Advance = trio.sleep
    names: dict[str, bytes] = field(default_factory=dict)  # session identifiers and saved headers
    connections: dict[str, Connection] = field(default_factory=dict)
    last_sent: dict[str, bytes] = field(default_factory=dict)

    async def steps(self, steps: list[dict[str, Any]], number: int = 0) -> None:
        for step in steps:
            match step:
                case {"repeat": count, "steps": repeated}:
                    for index in range(count):
                        await self.steps(repeated, index)
                case {"close": name, **rest}:
                    await self.connections.pop(name).stream.aclose()
                    await trio.sleep(rest.get("settle_ms", 0) / 1000)
                case {"advance": seconds}:
                    for name in list(self.connections):
                        await self.connections.pop(name).stream.aclose()
                    await self.advance(seconds)
                case {"together": together}:
                    await self.together(together)
                case _:
                    await self.exchange(step, number)

    async def exchange(self, step: dict[str, Any], number: int) -> None:
        name = step.get("conn", "a")
        data = self.expand(step["send"], number)
        connection = await self.connection(name)
        self.last_sent[name] = self.last_sent.get(name, b"") + data
        for index, piece in enumerate(_pieces(data, step.get("chunks"))):
            if index:
                await trio.sleep(step.get("pause_ms", 0) / 1000)
            await connection.stream.send_all(piece)
        if "expect" not in step:
            return
        is_head = self.last_sent.pop(name).startswith(b"HEAD ")
        answer = await connection.answer(is_head=is_head)
        self.judge(answer, step["expect"], number)
        if answer is not None:
            for saved, header in step.get("save", {}).items():
                self.names[saved] = answer.values(header)[0].encode()
        if answer is None or answer.status == 400:
            await self.connections.pop(name).stream.aclose()

    async def together(self, together: dict[str, Any]) -> None:
        """All connections send at the same moment."""
        connections = [await self.open() for _ in range(together["count"])]
        answers: list[Answer | None] = [None] * len(connections)

        async def one(index: int) -> None:
            data = self.expand(together["send"], index)
            await connections[index].stream.send_all(data)
            answers[index] = await connections[index].answer(is_head=data.startswith(b"HEAD "))

        async with trio.open_nursery() as nursery:
            for index in range(len(connections)):
                nursery.start_soon(one, index)
        answered = [answer for answer in answers if answer is not None]
        for status, count in together.get("counters", {}).items():
            seen = sum(answer.status == int(status) for answer in answered)
            _require(seen == count, f"{seen} answers of {status}, expected {count}")
        for header, count in together.get("header_count", {}).items():
            seen = sum(len(answer.values(header)) > 0 for answer in answered)
            _require(seen == count, f"{seen} answers carry {header}, expected {count}")
        for status, expected in together.get("each", {}).items():
            for index, answer in enumerate(answers):
                if answer is not None and answer.status == int(status):
                    self.judge(answer, expected, index)
        for saved, (status, header) in together.get("save", {}).items():
            values = [answer.values(header)[0] for answer in answered if answer.status == int(status)]
            self.names[saved] = values[0].encode()
        for connection in connections:
            await connection.stream.aclose()

    def judge(self, answer: Answer | None, expected: dict[str, Any], number: int) -> None:
        if answer is None:
            _require(expected.get("or_closed", False), "closed the connection without an answer")
            return
        _require(
            answer.status == expected["status"], f"status {answer.status}, expected {expected['status']}"
        )
        for name, wanted in expected.get("headers", {}).items():
            values = answer.values(name)
            _require(len(values) == 1, f"{len(values)} headers {name}, expected one")
            _require(self.fits(values[0], wanted, number), f"{name} is {values[0]!r}, expected {wanted!r}")
        for name in expected.get("absent", []):
            _require(not answer.values(name), f"{name} is there: {answer.values(name)!r}")
        if "body" in expected:
            body = self.expand(expected["body"], number)
            _require(answer.body == body, f"content {answer.body[:80]!r}, expected {body[:80]!r}")

    def fits(self, value: str, wanted: str | dict[str, Any], number: int) -> bool:
        match wanted:
            case {"re": pattern}:
                return re.fullmatch(pattern, value) is not None
            case {"int": [low, high]}:
                return value.isdecimal() and low <= int(value) <= high
            case str():
                return value == self.expand(wanted, number).decode("latin-1")
        raise ValueError(f"an expectation of an unknown kind: {wanted!r}")

    def expand(self, text: str, number: int) -> bytes:
        return _PLACEHOLDER.sub(partial(self.placeholder, number), text.encode("latin-1"))

    def placeholder(self, number: int, match: re.Match[bytes]) -> bytes:
        if match["sid"]:
            return self.names.setdefault(match["sid"].decode(), _new_session_id())
        if match["i"]:
            return b"%d" % number
        if match["count"]:
            return fill(int(match["count"]), int(match["seed"]))
        value = self.names[match["saved"].decode()]
        return b"%d" % (int(value) + int(match["offset"])) if match["offset"] else value

    async def connection(self, name: str) -> Connection:
        if name not in self.connections:
            self.connections[name] = await self.open()
        return self.connections[name]

    async def open(self) -> Connection:
        return Connection(await trio.open_tcp_stream(self.host, self.port))

    async def finish(self) -> None:
        """No connection may hold bytes that nobody asked for."""
        for connection in self.connections.values():
            with trio.move_on_after(QUIET_TIME):
                await connection.receive()
            _require(not connection.buffer, f"surplus bytes: {connection.buffer[:80]!r}")
            await connection.stream.aclose()


async def run_vector(vector: dict[str, Any], host: str, port: int, advance: Advance = trio.sleep) -> None:
    """Run one vector; `advance` lets seconds pass for the server.

    Raises Deviation, which names the vector.
    """
    run = Run(host, port, advance)
    try:
        await run.steps(vector["steps"])
        await run.finish()
    except Deviation as deviation:
        raise Deviation(f"{vector['id']} ({vector['title']}): {deviation}") from deviation
    finally:
        for connection in run.connections.values():
            await trio.aclose_forcefully(connection.stream)


def fill(count: int, seed: int) -> bytes:
    return bytes((31 * k + 17 * seed + k // 256) % 256 for k in range(count))


def _new_session_id() -> bytes:
    return "".join(choice("abcdefghijklmnopqrstuvwxyz012345") for _ in range(24)).encode()


def _pieces(data: bytes, chunks: str | list[int] | None) -> list[bytes]:
    if chunks is None:
        return [data]
    if chunks == "byte":
        return [data[index : index + 1] for index in range(len(data))]
    assert isinstance(chunks, list)
    cuts = sorted(offset if offset >= 0 else len(data) + offset for offset in chunks)
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _require(is_met: bool, otherwise: str) -> None:
    if not is_met:
        raise Deviation(otherwise)
