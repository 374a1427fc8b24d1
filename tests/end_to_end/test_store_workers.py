"""Several processes at one port, their sessions on one engine: who notices what, and who is told what."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from partitioner.protocol.messages import Operation
from tests.end_to_end.engines import Engine, engine
from tests.end_to_end.processes import kept_port, run_to_end
from tests.end_to_end.service_manager import ear, listening, service
from tests.end_to_end.store_load import LoadPlan, StoreLoad
from tests.end_to_end.store_servers import StoreServer, configured_store_server
from tests.end_to_end.web_server import Closed, WebServer
from tests.simulation.checker import Kind

PATIENCE = 90.0
CLIENTS = 24  # that all are spread to one of three workers happens once in 10^10 times

SESSION = "abcdefghijklmnopqrstuvwx"


@contextmanager
def served_by(workers: int, directory: Path, settings: str = "") -> Iterator[tuple[StoreServer, Engine]]:
    with engine(directory) as running:
        store = f"workers: {workers}\n{settings}store:\n  primary: 127.0.0.1:{running.port}\n"
        with configured_store_server(directory, store) as server:
            wait_until(lambda: bool(status(server)["ready"]))
            yield server, running


def status(server: StoreServer) -> dict[str, object]:
    told = httpx.get(f"{server.admin}/api/v1/status", trust_env=False, timeout=PATIENCE).json()
    assert isinstance(told, dict)
    return told


def workers(server: StoreServer) -> list[dict[str, int]]:
    told = status(server)["workers"]
    assert isinstance(told, list)
    return told


def metric(server: StoreServer, name: str) -> float:
    page = httpx.get(f"{server.admin}/metrics", trust_env=False, timeout=PATIENCE).text
    return sum(
        float(line.split()[-1]) for line in page.splitlines() if line.startswith(f"partitioner_{name}")
    )


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def gets_an_answer(web: WebServer) -> bool:
    try:
        return web.ask(Operation.GET, SESSION).status == 200
    except Closed:
        return False


def test_a_worker_that_dies_takes_its_own_clients_along(tmp_path: Path) -> None:
    """The others go on, new clients are served at once, it is started again, and no sum ever falls."""
    with served_by(3, tmp_path) as (server, _), ExitStack() as stack:
        clients = [stack.enter_context(WebServer(server.port)) for _ in range(CLIENTS)]
        clients[0].save(SESSION, b"content")
        assert all(gets_an_answer(web) for web in clients)
        wait_until(lambda: sum(each["clients"] for each in workers(server)) == CLIENTS)
        victim = max(workers(server), key=lambda each: each["clients"])
        asked = metric(server, 'requests_total{operation="get",outcome="ok"}')
        assert (victim["clients"] < CLIENTS, asked) == (True, CLIENTS)

        os.kill(victim["pid"], signal.SIGKILL)
        number = victim["number"]
        server.program.wait_for(f"worker ended worker={number} cause='it was killed by SIGKILL'")
        closed = sum(not gets_an_answer(web) for web in clients)
        assert all(gets_an_answer(web) for web in clients)
        wait_until(lambda: metric(server, "workers_serving") == 3)

        assert victim["clients"] == closed
        assert metric(server, "worker_restarts_total") == 1
        assert metric(server, 'requests_total{operation="get",outcome="ok"}') == 3 * CLIENTS - closed
        shown = run_to_end("status", "--admin", server.admin).stdout
        assert [each["restarts"] for each in workers(server)].count(1) == 1
        assert "restarts" in shown


@pytest.mark.slow
def test_workers_are_killed_under_load(tmp_path: Path) -> None:
    """One after the other: no session is lost or stale, and no lock is given twice; few pages fail.

    Who has died gives no lock back that it was just handing over.
    """
    with served_by(2, tmp_path) as (server, _):
        load = StoreLoad([server.port], LoadPlan())

        async def work() -> None:
            async with trio.open_nursery() as working:
                await working.start(load.run)
                for number in (0, 1, 0):
                    await trio.sleep(load.plan.calm)
                    seen = await trio.to_thread.run_sync(workers, server)
                    os.kill(seen[number]["pid"], signal.SIGKILL)
                    await trio.to_thread.run_sync(wait_until, lambda: metric(server, "workers_serving") == 2)
                load.end()
            await load.look_at_all()
            load.close()

        trio.run(work)

        assert [] == [each for each in load.violations() if each.kind is not Kind.STUCK_LOCK]
        assert len(load.failed) <= 3 * load.plan.workers


def test_signals_reach_all(tmp_path: Path) -> None:
    """SIGHUP: all go by the new file. SIGTERM: all finish what is under way, and end."""
    with served_by(3, tmp_path) as (server, running), ExitStack() as stack:
        pids = [each["pid"] for each in workers(server)]
        clients = [stack.enter_context(WebServer(server.port)) for _ in range(CLIENTS)]
        clients[0].save(SESSION, b"content")
        assert all(gets_an_answer(web) for web in clients)
        file = tmp_path / "store-1" / "partitioner.yml"
        file.write_text(file.read_text() + "allow_clients: [10.0.0.0/8]\n")
        server.program.process.send_signal(signal.SIGHUP)
        server.program.wait_for("reloaded cause=SIGHUP")
        for _ in range(CLIENTS):
            with WebServer(server.port) as stranger:
                assert not gets_an_answer(stranger)

        running.freeze()
        with ThreadPoolExecutor(CLIENTS) as threads:
            asked = [threads.submit(gets_an_answer, web) for web in clients]
            wait_until(lambda: metric(server, "requests_in_progress") == CLIENTS)
            server.program.process.send_signal(signal.SIGTERM)
            server.program.wait_for(f"stopping cause=SIGTERM exchanges_under_way={CLIENTS}")
            running.thaw()
            assert all(each.result() for each in asked)
        assert 0 == server.program.process.wait(PATIENCE)
        assert all(has_ended(pid) for pid in pids)


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    """Whatever is under way; and workers whose supervisor was killed end as well."""
    with served_by(2, tmp_path) as (server, running):
        pids = [each["pid"] for each in workers(server)]
        running.freeze()
        with WebServer(server.port) as web, ThreadPoolExecutor(1) as threads:
            asked = threads.submit(gets_an_answer, web)
            wait_until(lambda: metric(server, "requests_in_progress") == 1)
            server.program.process.send_signal(signal.SIGTERM)
            server.program.wait_for("stopping cause=SIGTERM exchanges_under_way=1")
            server.program.process.send_signal(signal.SIGTERM)

            assert not asked.result()
            running.thaw()
            assert 0 == server.program.process.wait(PATIENCE)
        assert all(has_ended(pid) for pid in pids)
    other = tmp_path / "other"
    other.mkdir()
    with served_by(2, other) as (server, _):
        pids = [each["pid"] for each in workers(server)]
        server.program.kill()

        wait_until(lambda: all(has_ended(pid) for pid in pids))


def test_what_hinders_workers_is_said(tmp_path: Path) -> None:
    """A port that is taken, and a state_dir that cannot be used: one sentence, and no process is left."""
    with served_by(2, tmp_path) as (server, running):
        store = f"workers: 2\nadmin: 127.0.0.1:0\nstore:\n  primary: 127.0.0.1:{running.port}\n"
        file = tmp_path / "partitioner.yml"
        file.write_text(f"{store}listen: 127.0.0.1:{server.port}\n")
        taken = run_to_end("serve", "-c", str(file))
        with kept_port() as port:
            file.write_text(f"{store}listen: 127.0.0.1:{port}\nstate_dir: {file}/state\n")
            unusable = run_to_end("serve", "-c", str(file))

        assert (1, 1) == (taken.returncode, unusable.returncode)
        assert f"cannot listen on 127.0.0.1:{server.port}" in taken.stderr
        assert "has ended before it served" in unusable.stderr
        assert f"{file}/state" in unusable.stderr


def test_the_service_manager_hears_the_supervisor(tmp_path: Path) -> None:
    """READY when all serve at the socket that it has opened, how they all are, and STOPPING."""
    with engine(tmp_path) as running, ear(str(tmp_path / "notify")) as notified, listening() as state:
        file = tmp_path / "partitioner.yml"
        store = f"store:\n  primary: 127.0.0.1:{running.port}\n"
        file.write_text(f"workers: 2\nadmin: 127.0.0.1:0\nstate_dir: none\n{store}")
        arguments = ("serve", "-c", str(file))
        with service(*arguments, sockets=[state], names="state", NOTIFY_SOCKET=notified.name) as program:
            notified.wait_for_name("READY")
            with WebServer(state.getsockname()[1]) as web:
                web.save(SESSION, b"content")
            notified.wait_for(
                lambda said: said.get("STATUS", "").startswith("2 of 2 workers serve, the engine")
            )
            assert 0 == program.stop()
            assert "STOPPING" in notified.wait_for_name("STOPPING")


@pytest.mark.slow
def test_a_worker_that_stands_still_is_killed(tmp_path: Path) -> None:
    """Its clients would wait for ever; they are closed then, and it is started again."""
    with served_by(2, tmp_path) as (server, _):
        frozen = workers(server)[0]["pid"]
        os.kill(frozen, signal.SIGSTOP)

        server.program.wait_for("worker ended worker=1 cause='it has not answered for", PATIENCE)
        assert has_ended(frozen)
        wait_until(lambda: metric(server, "workers_serving") == 2)
