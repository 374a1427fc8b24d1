"""The processes of a run: state servers, and a router in front of them."""

import re
import signal
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx
import trio

from partitioner.membership.backend import Address
from tests.end_to_end.processes import (
    CONFIGURATION,
    Program,
    StateServerProcess,
    kept_port,
    running,
    state_server,
)

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
A_MOMENT = 0.02
LONGEST_WAIT = 120.0
"""Seconds until a line of the log that is waited for must have come."""


class Site:
    """All processes. Whatever is left of them at the end is killed."""

    def __init__(self, directory: Path, settings: str, servers: int) -> None:
        """Nothing runs yet. The router's file is put in the directory, with these settings in it."""
        self._stack = ExitStack()
        self.address = Address(LOOPBACK, self._port())
        self.router: Program
        self._routers: list[Program] = []  # that there have been
        self.router_died_at = float("-inf")
        self.router_is_down = True
        self.router_starts: list[float] = []
        self.intents: dict[str, str] = {}  # of the servers that are configured, by name
        self._file = directory / CONFIGURATION
        admin = Address(LOOPBACK, self._port())
        self._admin = f"http://{admin}"
        self._settings = f"admin: {admin}\n{settings}"
        self._directory = directory
        self._ports: dict[str, int] = {}
        self._servers: dict[str, StateServerProcess] = {}
        for _ in range(servers):
            self.intents[self.new_name()] = "ready"

    def __enter__(self) -> "Site":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            server.program.thaw()
        self._stack.close()

    async def start(self) -> None:
        """Start everything."""
        async with trio.open_nursery() as starting:
            for name in self.intents:
                starting.start_soon(self.start_server, name)
        await self.start_router()

    # --- state servers ---

    def new_name(self) -> str:
        """The name of one more server, which gets a port."""
        name = f"state-{len(self._ports) + 1}"
        self._ports[name] = self._port()
        return name

    async def start_server(self, name: str) -> None:
        """Start a server at its port; one that was stopped in order takes up what it has left."""
        file = str(self._directory / name)
        self._servers[name] = await self._begin(state_server(self._ports[name], "--state-file", file))

    async def stop(self, name: str) -> None:
        assert await trio.to_thread.run_sync(self._servers[name].program.stop) == 0

    def kill(self, name: str) -> None:
        self._servers[name].program.kill()

    def freeze(self, name: str) -> None:
        self._servers[name].program.freeze()

    def thaw(self, name: str) -> None:
        self._servers[name].program.thaw()

    # --- the router ---

    async def start_router(self) -> None:
        self._write_file()
        self.router = await self._begin(
            running("serve", "-c", str(self._file), "--listen", str(self.address))
        )
        self._routers.append(self.router)
        self.router_starts.append(trio.current_time())
        await self.log_says("router started", 0)
        self.router_is_down = False

    def kill_router(self) -> None:
        self.router_is_down = True
        self.router_died_at = trio.current_time()
        self.router.kill()

    async def reload(self) -> None:
        """Have the router take in the servers and intents as they are here now."""
        self._write_file()
        here = self.end_of_log
        self.router.process.send_signal(signal.SIGHUP)
        await self.log_says("configuration reloaded", here)

    @property
    def log(self) -> str:
        """All that the routers have written, one after the other."""
        return "".join(each.output for each in self._routers)

    @property
    def end_of_log(self) -> int:
        """How many lines the router has written."""
        return len(self.router.lines)

    async def log_says(self, pattern: str, since: int) -> None:
        """Wait until a line of the router's log matches, among those since then."""
        give_up_at = trio.current_time() + LONGEST_WAIT
        while not any(re.search(pattern, line) for line in self.router.lines[since:]):
            if trio.current_time() > give_up_at or self.router.process.poll() is not None:
                raise AssertionError(f"no {pattern!r} in the router's log:\n{self.router.output}")
            await trio.sleep(A_MOMENT)

    async def redundant_since(self) -> float | None:
        """Ask the router since when the next server may fail; None if it may not, or there is no router."""
        try:
            async with httpx.AsyncClient(base_url=self._admin, verify=False, trust_env=False) as client:
                told = (await client.get("/api/v1/status")).json()["redundant_since"]
        except httpx.TransportError:
            return None
        return None if told is None else trio.current_time() - told

    def _write_file(self) -> None:
        backends = "".join(
            f"  - {{name: {name}, address: '{LOOPBACK}:{self._ports[name]}', intent: {intent}}}\n"
            for name, intent in self.intents.items()
        )
        self._file.write_text(f"{self._settings}backends:\n{backends}")

    def _port(self) -> int:
        """A port that is kept until the end."""
        return self._stack.enter_context(kept_port())

    async def _begin(self, program: AbstractContextManager[T]) -> T:
        """Start a process in a thread, since its first words are waited for."""
        return await trio.to_thread.run_sync(partial(self._stack.enter_context, program))
