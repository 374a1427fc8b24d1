"""The processes of a run: state servers, a router in front of them, and another one that stands by."""

import re
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import trio

from partitioner.membership.backend import Address
from tests.end_to_end.processes import Program, StateServerProcess, kept_port, running, state_server

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
A_MOMENT = 0.02
LONGEST_WAIT = 420.0
"""Seconds until a line of the log that is waited for must have come.

A server that has flapped is held down for up to five minutes."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a router runs, one process after the other."""

    address: Address
    admin: Address
    file: Path  # its configuration
    settings: str

    def write_file(self, backends: str) -> None:
        self.file.write_text(f"admin: {self.admin}\n{self.settings}backends:\n{backends}")


class Site:
    """All processes. Whatever is left of them at the end is killed."""

    def __init__(
        self, directory: Path, settings: str, servers: int, *, state_dirs: bool = False, standby: bool = False
    ) -> None:
        """Nothing runs yet. The routers' files are put in the directory, with these settings in them."""
        self._stack = ExitStack()
        self.router: Program  # whom the users ask
        self._standby: Program | None = None
        self._has_standby = standby
        self._routers: list[Program] = []  # that there have been, apart from one that stands by
        self.router_died_at = float("-inf")
        self.router_is_down = True
        self.router_starts: list[float] = []
        self.router_crashes: list[float] = []  # when the next one had begun
        self._has_crashed = False
        self.intents: dict[str, str] = {}  # of the servers that are configured, by name
        self.weights: dict[str, float] = {}  # where they are not 1
        self.hosts: dict[str, str] = {}  # where they are not spelt 127.0.0.1
        self._seats = [self._new_seat(directory, settings, number, state_dirs) for number in (1, 2)]
        self._directory = directory
        self._numbers = count(1)  # of servers and their names
        self._ports: dict[str, int] = {}
        self._files: dict[str, Path] = {}
        self._servers: dict[str, StateServerProcess] = {}
        self._programs: list[Program] = []  # state servers that there have been
        for _ in range(servers):
            self.intents[self.new_name()] = "ready"

    def _new_seat(self, directory: Path, settings: str, number: int, state_dirs: bool) -> Seat:
        state_dir = f"state_dir: {directory / f'state-of-router-{number}'}\n" if state_dirs else ""
        address, admin = Address(LOOPBACK, self._port()), Address(LOOPBACK, self._port())
        return Seat(address, admin, directory / f"router-{number}.yml", settings + state_dir)

    @property
    def address(self) -> Address:
        """Where the users find the router."""
        return self._seats[0].address

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
        if self._has_standby:
            await self._start_standby()

    # --- state servers ---

    def new_name(self) -> str:
        """The name of one more server, which gets a port."""
        name = f"state-{next(self._numbers)}"
        self._ports[name] = self._port()
        self._files[name] = self._directory / name
        return name

    def rename(self, name: str) -> str:
        """Call a server by a new name from the next reload on; returns it."""
        new_name = f"{name.split('.')[0]}.{next(self._numbers)}"
        for each in (self.intents, self.weights, self.hosts, self._ports, self._files, self._servers):
            if name in each:
                _rename_key(each, name, new_name)
        return new_name

    def swap(self, one: str, other: str) -> None:
        """Let two servers have each other's names from the next reload on."""
        for each in (self.hosts, self._ports, self._files, self._servers):
            _swap_values(each, one, other)

    async def start_server(self, name: str) -> None:
        """Start a server at its port; one that was stopped in order takes up what it has left."""
        file = str(self._files[name])
        self._servers[name] = await self._begin(state_server(self._ports[name], "--state-file", file))
        self._programs.append(self._servers[name].program)

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
        """Start the router that the users ask."""
        self.router = await self._begin_router(self._seats[0])
        await self._take_up_users()

    async def stop_router(self) -> None:
        """Stop it in order."""
        self._note_router_down()
        assert await trio.to_thread.run_sync(self.router.stop) == 0

    def kill_router(self) -> None:
        self._note_router_down()
        self._has_crashed = True
        self.router.kill()

    async def take_over(self) -> None:
        """Kill the router; the users find the one that stood by, and the dead one stands by anew."""
        assert self._standby is not None
        self.kill_router()
        self._seats.reverse()
        self.router = self._standby
        await self._take_up_users()
        await self._start_standby()

    async def _take_up_users(self) -> None:
        self._routers.append(self.router)
        self.router_starts.append(trio.current_time())
        await self.log_says("router started", 0)
        self.router_is_down = False
        if self._has_crashed:
            self.router_crashes.append(trio.current_time())
            self._has_crashed = False

    async def _start_standby(self) -> None:
        self._standby = await self._begin_router(self._seats[1])

    async def _begin_router(self, seat: Seat) -> Program:
        seat.write_file(self._backends())
        return await self._begin(running("serve", "-c", str(seat.file), "--listen", str(seat.address)))

    def _note_router_down(self) -> None:
        self.router_is_down = True
        self.router_died_at = trio.current_time()

    async def reload(self) -> None:
        """Have the routers take in the servers, names and intents as they are now, whatever that costs."""
        for seat in self._seats:
            seat.write_file(self._backends())
        here = self.end_of_log
        async with httpx.AsyncClient(timeout=30.0) as client:
            for seat in self._seats if self._standby is not None else self._seats[:1]:
                await client.post(f"http://{seat.admin}/api/v1/reload", json={"force": True})
        await self.log_says("configuration reloaded", here)

    @property
    def log(self) -> str:
        """All that the routers have written, one after the other, and the state servers after them."""
        return "".join(each.output for each in (*self._routers, *self._programs))

    @property
    def end_of_log(self) -> int:
        """How many lines the router has written."""
        return len(self.router.lines)

    async def log_says(self, pattern: str, since: int) -> None:
        """Wait until a line of the router's log matches, among those since then."""
        give_up_at = trio.current_time() + LONGEST_WAIT
        while not any(re.search(pattern, line) for line in self.router.lines[since:]):
            if trio.current_time() > give_up_at or self.router.process.poll() is not None:
                raise AssertionError(
                    f"no {pattern!r} in the router's log{self._whose_end}:\n{self.router.output}"
                )
            await trio.sleep(A_MOMENT)

    @property
    def _whose_end(self) -> str:
        """Which state servers have ended, and how, in words."""
        codes = {name: server.program.process.poll() for name, server in self._servers.items()}
        ended = [f"{name} ended with {code}" for name, code in codes.items() if code is not None]
        return f" ({', '.join(ended)})" if ended else ""

    async def redundant_since(self) -> float | None:
        """Ask the router since when the next server may fail; None if it may not, or there is no router."""
        url = f"http://{self._seats[0].admin}"
        try:
            async with httpx.AsyncClient(base_url=url, verify=False, trust_env=False) as client:
                told = (await client.get("/api/v1/status")).json()["redundant_since"]
        except httpx.TransportError:
            return None
        return None if told is None else trio.current_time() - told

    def _backends(self) -> str:
        """The servers, as they stand in the file."""
        lines = []
        for name, intent in self.intents.items():
            address = f"{self.hosts.get(name, LOOPBACK)}:{self._ports[name]}"
            weight = self.weights.get(name, 1.0)
            lines.append(
                f"  - {{name: {name}, address: '{address}', weight: {weight:g}, intent: {intent}}}\n"
            )
        return "".join(lines)

    def _port(self) -> int:
        """A port that is kept until the end."""
        return self._stack.enter_context(kept_port())

    async def _begin(self, program: AbstractContextManager[T]) -> T:
        """Start a process in a thread, since its first words are waited for."""
        return await trio.to_thread.run_sync(partial(self._stack.enter_context, program))


def _rename_key(values: dict[str, Any], name: str, new_name: str) -> None:
    """Give a value another key, in its old place."""
    items = list(values.items())
    values.clear()
    values.update((new_name if each == name else each, value) for each, value in items)


def _swap_values(values: dict[str, Any], one: str, other: str) -> None:
    """What one key has, the other one gets; nothing where it has nothing."""
    before = dict(values)
    for gets, has in ((one, other), (other, one)):
        values.pop(gets, None)
        if has in before:
            values[gets] = before[has]
