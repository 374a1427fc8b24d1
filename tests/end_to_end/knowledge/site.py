"""The processes of a farm: state servers at ports that they keep, and routers in front of them.

Servers are started side by side and then waited for. Nothing here depends on what the programs log,
except for the one line that says that a reload is over.
"""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.end_to_end.processes import LISTING_HEADERS, Program, kept_port, listing_token_file, started
from tests.end_to_end.processes import running as forked_or_started

OTHER_CHECKOUT = os.environ.get("PARTITIONER_CHECKOUT")
CHECKOUT = Path(OTHER_CHECKOUT or Path(__file__).parents[3])
"""Whose `partitioner` package the processes run."""

ENVIRONMENT = {"PYTHONPATH": str(CHECKOUT)}

LOOPBACK = "127.0.0.1"
LONGEST_WAIT = 60.0
"""Seconds until something must have come about that is waited for. A machine that is free needs a few."""

LOOK_EVERY = 0.02
QUICK_PROBES = "health: {interval: 200ms, timeout: 1s, hold_down: 0s}\n"

_SESSION = re.compile(r"session[0-9]{17}")

Json = dict[str, Any]


def command(*arguments: str, entry: str | None = None) -> list[str]:
    """How to run `partitioner` with these arguments; `entry` is a file of this package that runs it."""
    run = ["-m", "partitioner"] if entry is None else [str(Path(__file__).parent / entry)]
    # -P: without it the current directory would come before PYTHONPATH.
    return [sys.executable, "-P", *run, *arguments]


def running(
    *arguments: str, entry: str | None = None, environment: Mapping[str, str] | None = None
) -> AbstractContextManager[Program]:
    """Start `partitioner` of the checkout that is tested; whatever is left of it at the end is killed.

    It is forked from a process that has imported this checkout, but where it is run by an `entry`.
    """
    if entry is None and OTHER_CHECKOUT is None:
        return forked_or_started(*arguments, environment=environment)
    return started(command(*arguments, entry=entry), {**ENVIRONMENT, **(environment or {})})


def wait_until(come_about: Callable[[], bool], what: str, within: float = LONGEST_WAIT) -> None:
    """Raises AssertionError if it does not come about within so many seconds."""
    deadline = time.monotonic() + within
    while not come_about():
        assert time.monotonic() < deadline, f"waited {within:g} s in vain until {what}"
        time.sleep(LOOK_EVERY)


@dataclass
class Server:
    """A state server of our own, which keeps its ports through restarts."""

    name: str
    port: int
    admin_port: int
    file: Path  # where it leaves its sessions when it is stopped in order
    program: Program

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"


@dataclass
class Router:
    """A router that runs, and its configuration file."""

    program: Program
    port: int
    admin: str  # host and port
    file: Path
    settings: str  # what its file says besides the backends
    reloads: int = 0

    def status(self) -> Json:
        """What GET /api/v1/status says; raises httpx.TransportError where nothing listens."""
        return self._get("/api/v1/status").json()  # type: ignore[no-any-return]

    def readiness(self) -> str:
        """What /readyz says."""
        return self._get("/readyz").text

    def metric(self, name: str) -> float:
        """The sum of all series of a metric."""
        lines = self._get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[{{ ]", line))

    def has_said(self, words: str) -> bool:
        """Whether these words stand in its log, or in /readyz now."""
        return words in self.program.output or words in self.readiness()

    def backend(self, name: str) -> Json | None:
        """What the status says of the configured backend of this name; None if there is none."""
        for each in self.status()["backends"]:
            if each["name"] == name and not each["removed"]:
                return each  # type: ignore[no-any-return]
        return None

    def health(self, name: str) -> str:
        """`up`, `down`, `recovering`, or nothing where nothing is known of that backend."""
        backend = self.backend(name)
        return "" if backend is None or backend["health_for"] is None else backend["health"]

    def wait_until_health(self, name: str, *wanted: str) -> str:
        """Wait until a backend's health is one of these; returns which."""
        wait_until(lambda: self.health(name) in wanted, f"{name} is {' or '.join(wanted)}")
        return self.health(name)

    def is_redundant(self) -> bool:
        return self.status()["redundant_since"] is not None

    def stop(self) -> None:
        assert self.program.stop() == 0

    def wait_until_serving(self, count: int) -> None:
        wait_until(lambda: self.serves(count), f"{count} backends serve")

    def wait_until_forgotten(self, name: str) -> None:
        """Wait until nothing is asked of a server any more that was removed from the file."""
        wait_until(
            lambda: all(each["name"] != name for each in self.status()["backends"]), f"{name} is forgotten"
        )

    def begin_reload(self) -> None:
        """Have the configuration file read anew, whatever comes of it."""
        self.program.process.send_signal(signal.SIGHUP)

    def reload(self) -> None:
        """Have the configuration file read anew whatever it puts at stake, and wait until it is in force."""
        self.reloads += 1
        httpx.post(f"http://{self.admin}/api/v1/reload", json={"force": True}, timeout=30.0)
        wait_until(
            lambda: self.program.output.count("configuration reloaded") >= self.reloads,
            "the configuration is reloaded",
        )

    def serves(self, count: int) -> bool:
        """Whether so many backends serve just now."""
        try:
            serving: int = self.status()["serving"]
        except httpx.TransportError:
            assert self.program.process.poll() is None, self.program.output
            return False
        return serving >= count

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://{self.admin}{path}", timeout=20.0, trust_env=False, verify=False)


class Site:
    """All processes; whatever is left of them at the end is killed."""

    def __init__(self, directory: Path, stack: ExitStack, settings: str, state_files: bool) -> None:
        self.servers: dict[str, Server] = {}
        self.backends: dict[str, str] = {}  # addresses by name: what stands in the next file of a router
        self.directory = directory
        self._stack = stack
        self._settings = settings
        self._keeps_files = state_files
        self._files = 0

    # --- state servers ---

    def free_port(self) -> int:
        """A port at which nothing listens, and that is kept until the end."""
        return self._stack.enter_context(kept_port())

    def start_servers(self, names: Sequence[str], entry: str | None = None) -> None:
        """Start new servers, side by side, and list them for routers."""
        for name in names:
            port, admin_port, file = self.free_port(), self.free_port(), self.directory / f"{name}.sessions"
            program = self._begin_server(port, admin_port, file if self._keeps_files else None, entry)
            self.servers[name] = Server(name, port, admin_port, file, program)
            self.backends[name] = self.servers[name].address
        for name in names:
            self._wait_until_listening(self.servers[name])

    def start_server(self, name: str, *, with_file: bool = True, port: int | None = None) -> None:
        """Start a server that has ended, at its old port or another one, with its file or without."""
        server = self.servers[name]
        server.port = port or server.port
        file = server.file if with_file and self._keeps_files else None
        server.program = self._begin_server(server.port, server.admin_port, file)
        self._wait_until_listening(server)

    def stop_server(self, name: str) -> None:
        """Stop a server in order: it leaves its sessions in its file, if it was given one."""
        assert self.servers[name].program.stop() == 0

    def kill_server(self, name: str) -> None:
        self.servers[name].program.kill()

    def freeze(self, name: str) -> None:
        self.servers[name].program.freeze()

    def thaw(self, name: str) -> None:
        self.servers[name].program.thaw()

    def sessions_on(self, name: str) -> set[str]:
        """The session IDs that a server holds."""
        url = f"http://{LOOPBACK}:{self.servers[name].admin_port}/api/v1/keys"
        answer = httpx.get(
            url,
            params={"limit": 10_000},
            headers=LISTING_HEADERS,
            timeout=20.0,
            trust_env=False,
            verify=False,
        )
        return set(_SESSION.findall(answer.raise_for_status().text))

    def _begin_server(
        self, port: int, admin_port: int, file: Path | None, entry: str | None = None
    ) -> Program:
        listen = ("--listen", f"{LOOPBACK}:{port}", "--admin", f"{LOOPBACK}:{admin_port}")
        token = ("--admin-token-file", str(listing_token_file()))
        kept = () if file is None else ("--state-file", str(file))
        return self._stack.enter_context(running("state-server", *listen, *token, *kept, entry=entry))

    def _wait_until_listening(self, server: Server) -> None:
        def is_listening() -> bool:
            assert server.program.process.poll() is None, server.program.output
            with socket.socket() as attempt:
                return attempt.connect_ex((LOOPBACK, server.admin_port)) == 0

        wait_until(is_listening, f"{server.name} listens")

    # --- routers ---

    def write_file(self, file: Path, settings: str = "") -> None:
        """Write a router's configuration, with the backends that are listed now."""
        listings = {each.address: f"{LOOPBACK}:{each.admin_port}" for each in self.servers.values()}
        lines = []
        for name, address in self.backends.items():
            admin = listings.pop(address.replace("localhost", LOOPBACK), "none")
            lines.append(f"  - {{name: {name}, address: '{address}', admin: '{admin}'}}\n")
        token = f"backend_token_file: {listing_token_file()}\n"
        file.write_text(f"{token}{settings or self._settings}backends:\n{''.join(lines)}")

    def begin_router(
        self,
        *,
        home: str = "home",
        settings: str = "",
        entry: str | None = None,
        like: Router | None = None,
    ) -> Router:
        """Start a router; `wait_until_serving` is for the caller to call.

        `home` is the machine that it runs on: where state is kept that has no configured place.
        `like` is a router that has ended, whose ports and file it takes over; the file is written anew.
        """
        self._files += 1
        port, admin, file = (
            (self.free_port(), f"{LOOPBACK}:{self.free_port()}", self.directory / f"router-{self._files}.yml")
            if like is None
            else (like.port, like.admin, like.file)
        )
        written = f"listen: {LOOPBACK}:{port}\nadmin: {admin}\n{settings or self._settings}"
        self.write_file(file, written)
        environment = {"XDG_STATE_HOME": str(self.directory / home), "HOME": str(self.directory / home)}
        program = self._stack.enter_context(
            running("serve", "-c", str(file), entry=entry, environment=environment)
        )
        return Router(program, port, admin, file, written)

    def rewrite_file(self, router: Router) -> None:
        """Write a running router's file anew, with the backends that are listed now."""
        self.write_file(router.file, router.settings)

    def start_router(
        self,
        *,
        home: str = "home",
        settings: str = "",
        like: Router | None = None,
        serving: int | None = None,
    ) -> Router:
        """The same, and wait until so many backends serve: all, unless another number is given."""
        router = self.begin_router(home=home, settings=settings, like=like)
        router.wait_until_serving(len(self.backends) if serving is None else serving)
        return router


@contextmanager
def site_in(
    directory: Path,
    servers: int,
    settings: str = QUICK_PROBES,
    *,
    state_files: bool = False,
    entry: str | None = None,
) -> Iterator[Site]:
    """So many state servers, state-1 and so on; routers are for the test to start."""
    with ExitStack() as stack:
        site = Site(directory, stack, settings, state_files)
        stack.callback(_thaw_all, site)
        site.start_servers([f"state-{number}" for number in range(1, servers + 1)], entry)
        yield site


def _thaw_all(site: Site) -> None:
    for server in site.servers.values():
        if server.program.process.poll() is None:
            server.program.thaw()
