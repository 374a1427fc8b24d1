"""How a pipe is opened: connect, say who we are, and look at whom we have reached.

What an operator has to mend is found here, and said in one sentence: a wrong password, a replica, the port of
a Sentinel, a version that is too old.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from partitioner.errors import (
    EngineLost,
    EngineUnfit,
    EngineUnreachable,
    NotListening,
    OutOfFiles,
    Unreachable,
)
from partitioner.membership.backend import Address
from partitioner.store.calls import OtherCall, Reply, ReplyError
from partitioner.store.facts import SECTIONS, EngineFacts, read_facts
from partitioner.store.pipe import Pipe, is_refusal
from partitioner.store.policy import Credentials, StorePolicy, Tls
from partitioner.store.resp import write_command
from partitioner.store.scripts import GET, NO_ID, SCRIPTS
from partitioner.transport.channel import Channel, Dial

CLIENT_NAME = b"partitioner"

OLDEST = {"redis": (7, 0), "valkey": (7, 2)}
"""The first versions of each engine whose scripts have flags, as ours need."""

NOT_NOW = ("LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "NOREPLICAS", "READONLY", "MISCONF", "TRYAGAIN")
"""Errors that say that the engine does not serve now, and has done nothing."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an engine says of itself."""

    engine: str  # "valkey" or "redis", as it calls itself
    version: str
    mode: str  # "standalone", "cluster" or "sentinel"
    replicas: int  # that are connected to it
    facts: EngineFacts | None  # of a primary


class Connector:
    """Opens pipes to engines, and to Sentinels."""

    def __init__(self, dial: Dial, policy: StorePolicy) -> None:
        self._dial = dial
        self._policy = policy

    async def open(self, address: Address) -> tuple[Pipe, Greeting]:
        """A pipe to a primary that is fit to serve.

        Raises EngineUnreachable, EngineLost or EngineUnfit.
        """
        policy = self._policy
        pipe = await self._connect(address, policy.credentials)
        try:
            with _within(policy.connect_timeout + policy.answer_timeout, address):
                return pipe, await self._introduce(pipe, address)
        except BaseException:
            pipe.close()
            raise

    async def open_sentinel(self, address: Address, credentials: Credentials) -> Pipe:
        """A pipe to a Sentinel. Raises as `open` does."""
        pipe = await self._connect(address, credentials)
        if credentials.password:
            try:
                with _within(self._policy.answer_timeout, address):
                    _require(address, (await pipe.introduce([_auth(credentials)]))[0])
            except BaseException:
                pipe.close()
                raise
        return pipe

    async def open_node(self, address: Address) -> Pipe:
        """A pipe to any node of a Cluster, whose role does not matter. Raises as `open` does."""
        pipe = await self._connect(address, self._policy.credentials)
        try:
            with _within(self._policy.answer_timeout, address):
                hello = self._hello()
                greeting = _read_hello(address, (await pipe.introduce([hello]))[0])
            if greeting.mode != "cluster":
                raise EngineUnfit(f"{address} is not a node of a Cluster: name it at `store.primary`")
        except BaseException:
            pipe.close()
            raise
        return pipe

    async def _connect(self, address: Address, credentials: Credentials) -> Pipe:
        doing = "take the connection"
        try:
            with trio.fail_after(self._policy.connect_timeout):
                channel = await self._dial(address)
                if self._policy.tls is not None:
                    doing = "begin with TLS (perhaps it does not speak TLS there: `store.tls`)"
                    channel = await secure(channel, address, self._policy.tls)
        except trio.TooSlowError as error:
            raise EngineUnreachable(f"{address} did not {doing} in time") from error
        except (NotListening, Unreachable, OutOfFiles) as error:
            raise EngineUnreachable(f"{address} {error}") from error
        return Pipe(channel, self._policy.answer_timeout)

    async def _introduce(self, pipe: Pipe, address: Address) -> Greeting:
        greeting = _read_hello(address, (await pipe.introduce([self._hello()]))[0])
        if greeting.mode == "sentinel":
            raise EngineUnfit(f"{address} is a Sentinel, and not an engine: name it at `store.sentinel`")
        if greeting.mode == "cluster" and not self._policy.cluster:
            raise EngineUnfit(f"{address} is a node of a Cluster: name it at `store.cluster`")
        _require_version(address, greeting)
        if self._policy.database:
            _require(address, (await pipe.introduce([(b"SELECT", b"%d" % self._policy.database)]))[0])
        asked_at = trio.current_time()
        role, time, info = await pipe.introduce([(b"ROLE",), (b"TIME",), (b"INFO", *SECTIONS)])
        pipe.note_time(_require(address, time), asked_at)
        replicas = _replicas(address, _require(address, role))
        facts = read_facts(_require(address, info))
        if facts.trouble is not None:
            raise EngineUnfit(f"{address}: {facts.trouble}")
        for reply in await pipe.introduce([(b"SCRIPT", b"LOAD", each.source) for each in SCRIPTS]):
            _require(address, reply)
        now = trio.current_time()
        probe = OtherCall(GET, self._policy.prefix + b"probe", (NO_ID,), now, now + 60.0)
        by_source = write_command(b"EVAL", b"return 1", b"1", probe.name)
        for found in await pipe.introduce_raw(probe.write(pipe.clock_offset) + by_source, 2):
            if not is_refusal(found, "MOVED", "ASK"):
                _require(address, found)
        (waited,) = await pipe.introduce([(b"WAIT", b"0", b"1")])
        _require(address, waited)
        return Greeting(greeting.engine, greeting.version, greeting.mode, replicas, facts)

    def _hello(self) -> tuple[bytes, ...]:
        credentials = self._policy.credentials
        auth = _auth(credentials) if credentials.password else ()
        return (b"HELLO", b"2", *auth, b"SETNAME", CLIENT_NAME)


async def secure(channel: Channel, address: Address, tls: Tls) -> Channel:
    """Speak TLS over a channel from now on; the caller owns the time-out.

    Raises EngineUnfit or EngineLost.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        channel.close()
        raise EngineUnfit(f"a file of `store.tls` cannot be used: {error}") from error
    connected = channel.maybe_detach()
    assert connected is not None  # what was dialled has a socket
    raw = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
    stream = trio.SSLStream(raw, context, server_hostname=address.host, https_compatible=True)
    try:
        await stream.do_handshake()
    except (trio.BrokenResourceError, ssl.SSLError, ssl.CertificateError) as error:
        connected_why = error.__cause__ or error
        await trio.aclose_forcefully(raw)
        if isinstance(connected_why, ssl.SSLCertVerificationError):
            raise EngineUnfit(f"the certificate of {address}: {connected_why.verify_message}") from error
        raise EngineLost(f"{address} does not speak TLS: {connected_why}") from error
    except BaseException:
        raw.socket.close()
        raise
    return Channel(_Secured(stream), channel.peer, lambda: False, raw.socket.close)


class _Secured(trio.abc.HalfCloseableStream):
    """A TLS stream where one is asked for that can be half-closed, which this one never is."""

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_eof(self) -> None:
        raise NotImplementedError("TLS has no half-closed connections")

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextmanager
def _within(timeout: float, address: Address) -> Iterator[None]:
    """Give what is awaited in it so many seconds. Raises EngineUnreachable after that."""
    with trio.move_on_after(timeout) as scope:
        yield
    if scope.cancelled_caught:
        raise EngineUnreachable(f"{address} took the connection and did not reply in time")


def _auth(credentials: Credentials) -> tuple[bytes, ...]:
    """The words that say who we are: a command, and a part of HELLO as well."""
    return b"AUTH", (credentials.user or "default").encode(), credentials.password.encode()


def _read_hello(address: Address, reply: Reply) -> Greeting:
    _require(address, reply)
    if not isinstance(reply, list):
        raise EngineUnfit(f"{address} does not greet as Valkey and Redis do: {reply!r}")
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else "" for each in reply]
    said = dict(zip(texts[::2], texts[1::2], strict=False))
    return Greeting(said.get("server", ""), said.get("version", ""), said.get("mode", ""), 0, None)


def _require_version(address: Address, greeting: Greeting) -> None:
    oldest = OLDEST.get(greeting.engine)
    if oldest is None:
        return  # another engine that speaks the protocol; whether it can do all we need shows in what follows
    numbers = tuple(int(each) for each in re.findall(r"[0-9]+", greeting.version)[:2])
    if numbers < oldest:
        expected = ".".join(map(str, oldest))
        raise EngineUnfit(
            f"{address} is {greeting.engine} {greeting.version}; expected {expected} or newer, whose scripts "
            "have flags"
        )


def _replicas(address: Address, role: Reply) -> int:
    """How many replicas a primary has. Raises EngineUnfit if it is none."""
    kind = role[0] if isinstance(role, list) else role
    if not isinstance(role, list) or kind != b"master":
        said = kind.decode() if isinstance(kind, bytes) else repr(kind)
        raise EngineLost(f"{address} is a replica, and not a primary (its role is {said})")
    return len(role[2]) if isinstance(role[2], list) else 0


def _require(address: Address, reply: Reply) -> Reply:
    """Raise EngineLost or EngineUnfit if a reply is an error."""
    if not isinstance(reply, ReplyError):
        return reply
    text = str(reply)
    code = text.partition(" ")[0]
    if code in NOT_NOW:
        raise EngineLost(f"{address} does not serve now: {text}")
    if code == "WRONGPASS":
        raise EngineUnfit(f"{address} refuses user or password (`store.user`, `store.password`): {text}")
    if code == "NOAUTH":
        raise EngineUnfit(f"{address} wants a password (`store.password`): {text}")
    if code == "NOPERM":
        raise EngineUnfit(
            f"{address} does not allow all that is needed; see the ACL in docs/store.md: {text}"
        )
    if "DB index" in text:
        raise EngineUnfit(f"{address} has no such database (`store.database`): {text}")
    raise EngineUnfit(f"{address} refuses what is needed: {text}")
