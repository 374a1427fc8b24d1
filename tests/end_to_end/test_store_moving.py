"""Moving onto an engine and off it again, as docs/store.md says: nobody is logged out.

A state server whose sessions are on an engine is a state server like others. So a router in front moves the
sessions: it joins the pool, the others are drained, and then web servers need no router any more.
"""

from pathlib import Path

import pytest

from tests.end_to_end.engines import engine
from tests.end_to_end.processes import StateServerProcess, state_server
from tests.end_to_end.store_servers import store_server
from tests.end_to_end.test_moving import SESSIONS, Farm, at, moved_in
from tests.end_to_end.web_server import WebServer


@pytest.mark.slow
def test_onto_an_engine_and_off_it_again(tmp_path: Path) -> None:
    """A pool of one is moved onto an engine, is served from there alone, and is moved to another server."""
    with (
        engine(tmp_path) as running,
        moved_in(tmp_path) as (farm, first, cookies),
        store_server(running.url) as (program, port),
        state_server() as last,
    ):
        on_engine = StateServerProcess(program, port, 0)
        for session, cookie in cookies.items():  # the pages that began before end
            farm.save(session, b"from before the router", cookie)
        move(farm, at("state-1", first), at("engine", on_engine))
        assert farm.logged_out() == []  # whoever is used has moved
        first.program.kill()

        # No router any more.
        with WebServer(port) as direct:
            alone = Farm(farm.in_front, farm.file, direct, farm.saved)
            assert alone.logged_out() == []
            for session in SESSIONS[:50]:
                alone.page(session, b"from the engine " + session.encode())

        # And back.
        move(farm, at("engine", on_engine), at("last", last))
        # Nothing is moved while the first server, which has left, may still answer: so each is used twice.
        assert farm.logged_out() + farm.logged_out() == []
        with WebServer(last.port) as direct:
            assert Farm(farm.in_front, farm.file, direct, farm.saved).logged_out() == []


def move(farm: Farm, source: str, destination: str) -> None:
    """Have a server join, and another one hand its sessions over."""
    name = destination.partition("name: ")[2].partition(",")[0]
    farm.reload(source, destination, reads=f"{name} change='joins", force=True)
    farm.in_front.program.wait_for(f"backend is up.*{name}")
    farm.reload(f"{source}, intent: drain", destination, reads="intent ready -> drain", force=True)
