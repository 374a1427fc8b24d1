"""A small web farm of real processes: a router in front of three state servers."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from partitioner.placement.rendezvous import Ranking
from tests.end_to_end.processes import (
    CONFIGURATION,
    RouterProcess,
    StateServerProcess,
    router,
    state_servers,
)
from tests.end_to_end.web_server import WebServer

NAMES = ("state-1", "state-2", "state-3")
RANKING = Ranking(dict.fromkeys(NAMES, 1.0))
QUICK_PROBES = "health: {interval: 200ms, timeout: 1s, hold_down: 0s}\n"
ONE_COPY = QUICK_PROBES + "copies: 1\n"
FAST_PATH = ("fast_path: off\n", "fast_path: on\n")


@dataclass
class Farm:
    """What runs, and a connection of a web server."""

    in_front: RouterProcess
    servers: dict[str, StateServerProcess]
    web: WebServer
    file: Path  # the router's configuration

    def wait_until(self, pattern: str) -> None:
        """Wait until the router's log says so."""
        self.in_front.program.wait_for(pattern)


@contextmanager
def farm_in(
    directory: Path, settings: str = QUICK_PROBES, state_server_arguments: Sequence[str] = ()
) -> Iterator[Farm]:
    """Start a farm; its configuration file is put in the directory."""
    with ExitStack() as stack:
        started = stack.enter_context(state_servers(len(NAMES), *state_server_arguments))
        servers = dict(zip(NAMES, started, strict=True))
        ports = [server.port for server in servers.values()]
        admin_ports = [server.admin_port for server in servers.values()]
        in_front = stack.enter_context(router(directory, ports, settings, admin_ports))
        web = stack.enter_context(WebServer(in_front.port))
        yield Farm(in_front, servers, web, directory / CONFIGURATION)


def first_choice(session_id: bytes) -> str:
    """The server on which a session belongs."""
    return RANKING.preference_list(session_id, 1)[0]


def session_on(name: str) -> str:
    """A session ID whose first choice is this server."""
    candidates = (f"session{index:017d}" for index in range(1000))
    return next(each for each in candidates if first_choice(each.encode()) == name)
